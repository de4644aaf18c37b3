"""Commands for displacement fields and landmarks in files."""
