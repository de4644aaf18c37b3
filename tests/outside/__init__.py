"""What another package adds to smoothmorph: one entry a file. Nothing here imports more of it than its public names."""
