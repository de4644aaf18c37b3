"""A trained network in the forms that other software reads."""
