"""Statistics of a study: intervals, paired comparisons, penalties at equal smoothness, Pareto fronts, a recommendation.

`analyse` makes every table, and the sentences that sum them up, from the rows alone.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
