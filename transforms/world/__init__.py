"""Where voxels lie in the world: grids, and displacement fields on them."""
