"""Generate pages of the documentation site from the code, the notebooks and the committed results."""
