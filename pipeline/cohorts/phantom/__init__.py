"""The embedded cohort: synthetic brains with the truth known."""
