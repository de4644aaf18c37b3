"""A number is shown with the decimals that its interval supports; every answer here can be computed by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smoothmorph.experiments.rows.rounding import decimals, is_clear, rounded, span, with_interval


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (0.0123, 0.004, 0.021, "0.012 (0.004 to 0.021)"),  # half width 0.0085
        (0.69216, 0.67493, 0.70764, "0.692 (0.675 to 0.708)"),  # 0.016: the first digit is 1, so one decimal more
        (0.69216, 0.65, 0.73, "0.69 (0.65 to 0.73)"),  # 0.04
        (0.00231, 0.0021, 0.0025, "0.00231 (0.00210 to 0.00250)"),  # 0.0002
        (3.6666, 1.2, 6.1, "3.7 (1.2 to 6.1)"),  # 2.45
        (10.12, 4.0, 16.2, "10 (4 to 16)"),  # 6.1
        (123.4, 100.0, 146.0, "123 (100 to 146)"),  # 23: no decimals, and never fewer
        (-0.0003, -0.05, 0.05, "0.00 (-0.05 to 0.05)"),  # not -0.00
        (0.0103, 0.0004, 0.0206, "0.0103 (0.0004 to 0.0206)"),  # three decimals would show the low end as 0
        (0.0112, 0.0, 0.021, "0.011 (0.000 to 0.021)"),  # an end that is 0 is shown as 0
        (0.25, 0.25, 0.25, "0.25 (0.25 to 0.25)"),  # no width: three significant digits
        (1e-11, 0.0, 2e-11, "1.00e-11 (0.00e+00 to 2.00e-11)"),
    ],
)
def test_a_number_has_the_decimals_of_its_interval(value, low, high, text):
    assert with_interval({"mean": value, "low": low, "high": high}) == text


def test_other_columns_have_intervals_too():
    assert with_interval({"hypervolume": 0.2281, "low": 0.183, "high": 0.274}, "hypervolume") == "0.23 (0.18 to 0.27)"


@pytest.mark.parametrize(("low", "high"), [(0.1, 0.1), (0.2, 0.1), (float("nan"), 1.0), (0.0, float("inf"))])
def test_without_an_interval_there_is_no_number_of_decimals(low, high):
    assert decimals(low, high) is None
    assert rounded(0.123456, low, high) == "0.123"


ENDS = st.floats(-1e3, 1e3, allow_subnormal=False)


@given(ENDS, st.floats(1e-6, 1e3), st.floats(0, 1))
def test_rounding_changes_a_number_by_at_most_a_sixth_of_half_the_interval(low, width, share):
    high, value = low + width, low + share * width
    assert abs(float(rounded(value, low, high)) - value) <= (high - low) / 12 * (1 + 1e-9) + 1e-12
    assert span(low, high).split(" to ")[0] == rounded(low, low, high)


@pytest.mark.parametrize(
    ("low", "high", "clear"),
    [(0.1, 0.2, True), (-0.2, -0.1, True), (-0.1, 0.1, False), (0.0, 0.1, False), (float("nan"), float("nan"), False)],
)
def test_a_difference_is_clear_if_its_interval_is_on_one_side_of_zero(low, high, clear):
    assert is_clear({"low": low, "high": high}) is clear
