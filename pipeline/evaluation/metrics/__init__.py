"""Metrics of a registered pair, one file for each kind. Every file in this folder is imported.

A metric is a function of a :class:`~smoothmorph.pipeline.evaluation.measured_pair.MeasuredPair`. It returns a number,
or one number per structure. In the second case, rows have a column ``name/structure`` for each, and ``name`` is their
mean without NaN. A file loads torch only when its function is called.
"""
