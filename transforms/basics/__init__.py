"""What all rooms build on: errors, bounds, atomic writes, registries."""
