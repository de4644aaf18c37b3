"""Run the trials of a study on this machine or on a cluster."""
