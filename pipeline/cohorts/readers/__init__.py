"""Readers of cohorts: each turns a folder into a cohort without opening its images. Reading them loads no torch."""
