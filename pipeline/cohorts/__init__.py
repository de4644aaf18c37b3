"""Cohorts: from a data folder to pairs of images in memory."""
