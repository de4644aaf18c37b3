"""Rows (one trial, one test pair) and their summaries."""
