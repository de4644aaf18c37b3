"""Image files with their position in the world, and the affine alignment of two images."""
