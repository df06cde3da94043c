"""Numbers as text with four significant digits."""

from __future__ import annotations

import math


def significant(value: float, digits: int = 4) -> str:
    """Format a number with significant digits, in scientific notation below 1e-5 and from 1e9 on.

    Parameters
    ----------
    value : float
    digits : int, default=4

    Returns
    -------
    str
        Empty for NaN.

    Examples
    --------
    >>> [significant(x) for x in (0.27914, 12345.6, 3.0, 0.0, 1.5e-7, 1e12)]
    ['0.2791', '12350', '3.000', '0', '1.500e-07', '1.000e+12']
    """
    if math.isnan(value):
        return ""
    if value == 0 or math.isinf(value):
        return f"{value:g}"
    size = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    if not -5 <= size <= 8:
        return f"{value:.{digits - 1}e}"
    grouped = "," if size >= 6 else ""
    return f"{round(value, digits - 1 - size):{grouped}.{max(digits - 1 - size, 0)}f}"


def percent(share: float) -> str:
    """Format a share in percent with one decimal; only exact values become 0 % and 100 %.

    Examples
    --------
    >>> [percent(x) for x in (0.0, 0.00004, 0.123, 1.0)]
    ['0 %', '<0.1 %', '12.3 %', '100 %']
    """
    if 0 < share < 0.0005:
        return "<0.1 %"
    if 1 > share > 0.9995:
        return ">99.9 %"
    return f"{100 * share:.1f} %" if 0 < share < 1 else f"{100 * share:.0f} %"


def seconds(value: float) -> str:
    """Format seconds with three significant digits, but no finer than milliseconds.

    Examples
    --------
    >>> [seconds(x) for x in (0.00042, 0.38, 6.7634, 1234.5)]
    ['0.000', '0.380', '6.76', '1230']
    """
    return f"{value:.3f}" if value < 1 else significant(value, 3)
