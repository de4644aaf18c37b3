"""Rounding by intervals: a number is shown with the decimals that its interval supports, and no more.

The unit of the last decimal is that of the first significant digit of half the interval's width. If this digit is 1 or
2, one more decimal is shown. So rounding changes a number by at most a sixth of the half width. The value and both ends
have the same decimals.
"""

from collections.abc import Mapping
from math import floor, isfinite, isnan, log10
from typing import Any

LEVEL = 0.95
"""Of all intervals."""
PERCENT = f"{100 * LEVEL:g} %"
"""The same in words."""
MORE = 2
"""Decimals that may be added so that an end of the interval which is not 0 is not shown as 0."""
MOST = 9
"""Decimals; a number that needs more is shown in scientific notation."""


def decimals(low: float, high: float) -> int | None:
    """The decimals that the interval from ``low`` to ``high`` supports; None if it has no width or no finite end."""
    half = (high - low) / 2
    if not isfinite(half) or half <= 0:
        return None
    place = floor(log10(half))
    places = max(0, -place + (half / 10.0**place < 3))
    for _ in range(MORE):
        if all(end == 0 or round(end, places) != 0 for end in (low, high)):
            break
        places += 1
    return places


def rounded(value: float, low: float, high: float) -> str:
    """``value`` with the decimals of its interval: ``0.0123`` in 0.004 to 0.021 is ``0.012``.

    A value without an interval has three significant digits.
    """
    places = decimals(low, high)
    if places is None:
        return f"{value + 0.0:.3g}"  # never -0
    if places > MOST:
        return f"{value:.2e}"
    return f"{round(value, places) + 0.0:.{places}f}"  # never -0.00


def rounded_in(line: Mapping[str, Any] | Any, value: str = "mean") -> str:
    """A value of a table's line with the decimals of its interval."""
    return rounded(line[value], line["low"], line["high"])


def is_clear(line: Mapping[str, Any] | Any) -> bool:
    """Whether the interval of a difference is on one side of 0. Without an interval nothing is clear."""
    return bool(line["low"] > 0 or line["high"] < 0)


def span(low: float, high: float) -> str:
    """The ends of an interval: ``0.675 to 0.708``; ends that are NaN come from too few subjects."""
    if isnan(low) or isnan(high):
        return "too few subjects for an interval"
    return f"{rounded(low, low, high)} to {rounded(high, low, high)}"


def with_interval(line: Mapping[str, Any] | Any, value: str = "mean") -> str:
    """A value of a table's line with its interval: ``0.692 (0.675 to 0.708)``."""
    return f"{rounded_in(line, value)} ({span(line['low'], line['high'])})"
