"""Commands on displacement fields and landmarks in files."""
