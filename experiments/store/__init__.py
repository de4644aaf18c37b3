"""The folder of a run: what it holds, who writes in it, what is kept of it."""
