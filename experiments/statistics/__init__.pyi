"""Statistics of a study."""

from .analysis import Analysis, analyse
from .curves import accuracies
from .limit import Limit
from .recommendation import Recommendation, recommend

__all__ = ["Analysis", "Limit", "Recommendation", "accuracies", "analyse", "recommend"]
