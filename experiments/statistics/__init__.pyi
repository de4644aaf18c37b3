"""Statistics of a study."""

from .analysis import Analysis, analyse
from .curves import accuracies
from .recommendation import Limit, Recommendation, recommend

__all__ = ["Analysis", "Limit", "Recommendation", "accuracies", "analyse", "recommend"]
