"""Studies: from a YAML file to typed trials."""
