"""Statistics of a study: intervals, paired comparisons, penalties at equal smoothness, Pareto fronts, a recommendation.

`analyse` makes every table and the sentences that sum them up, from rows alone.
"""

from .analysis import Analysis, analyse
from .curves import accuracies
from .recommendation import Limit, Recommendation, recommend

__all__ = ["Analysis", "Limit", "Recommendation", "accuracies", "analyse", "recommend"]
