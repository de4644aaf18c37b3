"""Reading and writing networks: model files, official VoxelMorph weights, exported graphs."""
