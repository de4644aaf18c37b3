"""Fuzzing of every reader: valid files are changed at random, read in limited child processes, and judged.

``make fuzz`` runs it; :mod:`fuzz.judge` defines the requirements.
"""
