"""The settings of a trial, and the id that they give it."""
