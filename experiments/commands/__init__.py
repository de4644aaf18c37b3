"""The commands, one module per group. A command imports heavy modules only when it runs, so --help is fast.

The docstring of a command is its help; the section ``Example:`` ends it.
"""
