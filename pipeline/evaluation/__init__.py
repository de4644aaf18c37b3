"""What is measured on a registered pair: the words, the pair, and a file for each kind of metric in ``metrics``.

Importing this reads the vocabulary of metrics, and loads neither torch nor MONAI.
"""

from .metrics.cost import SECONDS
from .metrics.overlap import DICE
from .metrics.regularity import FOLDING, SDLOGJ, VELOCITY_FOLDING
from .vocabulary import METRICS, REFINED, MetricEntry

__all__ = ["DICE", "FOLDING", "METRICS", "REFINED", "SDLOGJ", "SECONDS", "VELOCITY_FOLDING", "MetricEntry"]
