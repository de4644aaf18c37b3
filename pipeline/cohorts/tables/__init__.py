"""CSV tables of subjects, made of files by a pattern or of a BIDS folder."""
