"""CSV tables of subjects, made from a file name pattern or from a BIDS folder."""
