"""The settings of a trial, and the trial id that is computed from them."""
