"""Basics that all packages use: errors, bounds, atomic writes, registries."""
