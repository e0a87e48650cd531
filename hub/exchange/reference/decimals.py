"""Floating numbers as the decimals that were written, cut by decimals: 36.3 is 363 tenths, whatever bits stand for it.

What was written is the shortest decimal that reads back as the number (of two the nearer, of two as near the one with an even last
digit), as every language prints it; of a float, that reads back as the float. It is cut by exact arithmetic, and what comes of it is
the nearest number. The native side is ``native/src/values/steps.rs``. Source: D. Gay, Correctly rounded binary-decimal and
decimal-binary conversions, 1990 (Python's ``repr``).
"""

import math
import struct
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Final

_FLOAT_NORMAL_MIN: Final = 2.0**-126
_FLOAT_DIGITS: Final = 6
"""Of a normal float no two decimals of so many digits are the same, so that a shorter one need not be looked for."""
_FLOAT_DIGITS_MAX: Final = 9


def written(number: float, *, narrow: bool) -> Decimal:
    """Return the decimal that a finite float (``narrow``) or double was written as."""
    return _written_float(number) if narrow else Decimal(repr(number))


def place_of(number: float, step: Fraction, *, narrow: bool) -> int:
    """Return how many whole steps lie below the decimal that ``number`` was written as; below zero it counts down."""
    numerator, denominator = written(number, narrow=narrow).as_integer_ratio()
    return numerator * step.denominator // (denominator * step.numerator)


def nearest(exact: Fraction, *, narrow: bool) -> float:
    """Return the float or double nearest to a fraction, ties to even; OverflowError beyond the largest."""
    double = exact.numerator / exact.denominator
    return _nearest_float(double, exact) if narrow else double


def lower_ends(edges: Sequence[Fraction], *, narrow: bool) -> list[float]:
    """Return for each edge the least number that was written as the edge or more."""
    return [_lower_end(edge, narrow=narrow) for edge in edges]


def _lower_end(edge: Fraction, *, narrow: bool) -> float:
    at = nearest(edge, narrow=narrow)
    return at if Fraction(written(at, narrow=narrow)) >= edge else _next(at, narrow=narrow)


def _next(number: float, *, narrow: bool) -> float:
    if not narrow:
        return math.nextafter(number, math.inf)
    (bits,) = struct.unpack("<i", struct.pack("<f", number))
    above = bits + 1 if bits >= 0 else bits - 1
    return _float_of(above)


def _float_of(bits: int) -> float:
    return float(struct.unpack("<f", struct.pack("<i", bits))[0])


def _written_float(number: float) -> Decimal:
    """Try ever more digits: the nearest decimal of so many, then the one further from zero, where a float has more room.

    Below a power of two floats lie closer than above it, so that the nearest decimal may read back as the one below.
    """
    for digits in range(_FLOAT_DIGITS if abs(number) >= _FLOAT_NORMAL_MIN else 1, _FLOAT_DIGITS_MAX):
        head, _, exponent = f"{number:.{digits - 1}e}".partition("e")
        units = int(head.replace(".", ""))
        for one in (units, units + (1 if number > 0 else -1)):
            found = Decimal(f"{one}e{int(exponent) - digits + 1}")
            if _reads_as(found, number):
                return found
    return Decimal(f"{number:.{_FLOAT_DIGITS_MAX - 1}e}")


def _reads_as(text: Decimal, number: float) -> bool:
    try:
        return nearest(Fraction(text), narrow=True) == number
    except OverflowError:
        return False


def _nearest_float(double: float, exact: Fraction) -> float:
    """Round once more, from the neighbouring double whose last bit is set, so that nothing is rounded twice."""
    beyond = exact - Fraction(double)
    if beyond and not struct.unpack("<Q", struct.pack("<d", double))[0] & 1:
        double = math.nextafter(double, math.inf if beyond > 0 else -math.inf)
    return float(struct.unpack("<f", struct.pack("<f", double))[0])
