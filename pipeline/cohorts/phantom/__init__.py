"""The built-in cohort: synthetic brains with a known deformation."""
