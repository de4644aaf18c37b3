"""Measuring test pairs: a row for each."""
