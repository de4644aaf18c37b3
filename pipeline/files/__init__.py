"""Text, JSON, YAML and CSV files: read within bounds, written atomically."""
