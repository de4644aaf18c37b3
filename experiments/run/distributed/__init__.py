"""Trials on a Ray cluster. `executor` runs in the driver; `worker` and `mailbox` run on the nodes.

This module imports nothing, so that the process of the mailbox does not load the numerical libraries.
"""
