"""Public data sets: download, check, unpack."""
