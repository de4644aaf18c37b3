"""Hostile inputs for every reader: valid files are changed at random, read in children with limits, and judged.

``make fuzz`` runs it; what has to hold of each input is said in :mod:`fuzz.child`.
"""
