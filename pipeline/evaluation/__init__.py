"""Measurement of registered pairs. ``metrics`` has one file for each kind of metric.

Importing this package reads the vocabulary of metrics and loads neither torch nor MONAI.
"""

from .metrics.cost import SECONDS
from .metrics.overlap import DICE
from .metrics.regularity import FOLDING, SDLOGJ, VELOCITY_FOLDING
from .vocabulary import METRICS, REFINED, MetricEntry

__all__ = ["DICE", "FOLDING", "METRICS", "REFINED", "SDLOGJ", "SECONDS", "VELOCITY_FOLDING", "MetricEntry"]
