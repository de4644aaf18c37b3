"""What computes a field from two images."""
