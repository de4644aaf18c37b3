"""Backbones: the networks that predict a velocity or displacement field from two images."""
