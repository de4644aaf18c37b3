"""Running the trials of a study, here or on a cluster."""
