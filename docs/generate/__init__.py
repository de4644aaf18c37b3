"""What the documentation site shows that is generated from the code, the notebooks and the committed results."""
