"""Cohort readers. Each makes a cohort of a folder without opening its images. Importing them does not load torch."""
