"""The registration methods of a study, one file each. Importing these files does not load torch."""
