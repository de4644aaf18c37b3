"""The outputs of a run: tables, figures, and their view in a terminal."""
