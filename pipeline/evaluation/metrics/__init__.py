"""Metrics of a registered pair: a file for each kind, found by its being here.

Each is a function of a :class:`~smoothmorph.pipeline.evaluation.measured_pair.MeasuredPair` that returns a
number, or a number by structure: then rows have ``name/structure`` for each and their mean, without NaN, as ``name``.
A file loads torch only when its function is called.
"""
