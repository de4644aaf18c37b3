"""Trials on a Ray cluster: `executor` is the entry, `worker` and `mailbox` run on its nodes.

Imports nothing: the mailbox's process does without the numerical libraries.
"""
