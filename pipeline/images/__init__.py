"""Image files with their place in the world, and the affine alignment of two of them."""
