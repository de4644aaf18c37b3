"""Text, JSON, YAML and CSV files: read with limits on their size, written atomically."""
