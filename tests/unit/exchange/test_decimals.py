"""Floating numbers as the decimals that were written: sweeps, edges, and every power of two."""

import math
import struct
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.exchange.reference.decimals import lower_ends, nearest, place_of, written
from hub.exchange.reference.transforms import truncation
from hub.model.agreement import Truncate
from hub.model.field_types import FieldType

DOUBLE, FLOAT = FieldType(base="double"), FieldType(base="float")
FLOATS = st.integers(0, 2**32 - 1).map(lambda bits: float(struct.unpack("<f", struct.pack("<I", bits))[0])).filter(math.isfinite)
DOUBLES = st.floats(allow_nan=False, allow_infinity=False)
STEPS = st.sampled_from(["0.1", "0.01", "0.25", "1", "3", "100", "0.0000001", "7e-30", "9e30"]).map(Fraction)


def single(number: float) -> float:
    """Return the float nearest to a double that is no decimal between two floats."""
    return float(struct.unpack("<f", struct.pack("<f", number))[0])


@pytest.mark.parametrize(("units", "scale"), [(1_001, 1), (18_001, 2)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_number_written_with_the_digits_of_the_step_stays_as_it_is(units: int, scale: int, sign: int) -> None:
    """0.0, 0.1 … 100.0 by 0.1 and 0.00 … 180.00 by 0.01: the agreement changes nothing."""
    texts = [f"{sign * number}e-{scale}" for number in range(units)]
    step = Truncate(step=str(Decimal(f"1e-{scale}")))
    doubles, floats = truncation(step, DOUBLE), truncation(step, FLOAT)

    assert [text for text in texts if doubles(float(text)) != float(text)] == []
    assert [text for text in texts if floats(single(float(text))) != single(float(text))] == []


@given(number=DOUBLES, step=STEPS)
def test_a_double_is_rounded_down_to_whole_steps_of_what_was_written(number: float, step: Fraction) -> None:
    """The place is that of the exact decimal: never above it, and less than a step below."""
    exact, place = Fraction(repr(number)), place_of(number, step, narrow=False)

    assert place * step <= exact < (place + 1) * step


@given(number=FLOATS, step=STEPS)
def test_a_float_is_rounded_down_to_whole_steps_of_what_was_written(number: float, step: Fraction) -> None:
    """As above, where the decimal is the float's and not that of the double of the same size."""
    exact, place = Fraction(written(number, narrow=True)), place_of(number, step, narrow=True)

    assert place * step <= exact < (place + 1) * step


def nearest_by_bits(exact: Fraction) -> list[float]:
    """Return the float or floats nearest to a fraction, found among the neighbours of a rough guess."""
    (bits,) = struct.unpack("<i", struct.pack("<f", abs(float(exact))))
    near = [float(struct.unpack("<f", struct.pack("<i", one))[0]) for one in range(max(0, bits - 2), bits + 3)]
    least = min(abs(Fraction(one) - abs(exact)) for one in near)
    return [math.copysign(one, exact) for one in near if abs(Fraction(one) - abs(exact)) == least]


@given(number=FLOATS)
def test_no_shorter_decimal_reads_back_as_the_float(number: float) -> None:
    """What was written reads back; of fewer digits neither neighbour does; of as many none is nearer."""
    found = written(number, narrow=True)
    _, digits, exponent = found.normalize().as_tuple()
    assert isinstance(exponent, int)

    assert nearest(Fraction(found), narrow=True) == number
    shorter = Fraction(10) ** (exponent + 1)
    below = Fraction(number) // shorter * shorter
    if len(digits) > 1:
        assert all(abs(one) > Fraction(single(3.4e38)) or number not in nearest_by_bits(one) for one in (below, below + shorter))
    assert abs(Fraction(found) - Fraction(number)) <= Fraction(10) ** exponent


@pytest.mark.parametrize("exponent", range(-149, 128))
def test_a_power_of_two_reads_back(exponent: int) -> None:
    """Below one, floats lie closer than above it, so that the nearest decimal may be too far below."""
    number = 2.0**exponent
    assert nearest(Fraction(written(number, narrow=True)), narrow=True) == number
    assert nearest(Fraction(written(-number, narrow=True)), narrow=True) == -number


@given(exact=st.fractions(-(10**6), 10**6, max_denominator=10**9))
def test_a_fraction_has_its_nearest_float(exact: Fraction) -> None:
    """Never rounded twice: a decimal next to the middle of two floats is not taken to lie on it."""
    assert nearest(exact, narrow=True) in nearest_by_bits(exact)


def test_a_decimal_next_to_the_middle_of_two_floats_is_rounded_once() -> None:
    """By way of the nearest double it would lie on the middle, and go to the even float."""
    middle = Fraction(1) + Fraction(3, 2**24)
    assert nearest(middle - Fraction(1, 10**30), narrow=True) == 1 + 2**-23
    assert nearest(middle + Fraction(1, 10**30), narrow=True) == 1 + 2**-22
    assert nearest(middle, narrow=True) == 1 + 2**-22


@given(number=DOUBLES, beyond=st.integers(-3, 3), narrow=st.booleans())
def test_an_edge_takes_what_was_written_as_the_edge_or_more(number: float, beyond: int, *, narrow: bool) -> None:
    """Held against exact decimals on both sides of the edge's end."""
    near = min(max(number, -1e30), 1e30)
    near = single(near) if narrow else near
    edge = Fraction(written(near, narrow=narrow)) + beyond * Fraction(1, 10**40)
    (end,) = lower_ends([edge], narrow=narrow)

    assert Fraction(written(end, narrow=narrow)) >= edge
    below = math.nextafter(end, -math.inf)
    if not narrow:
        assert Fraction(written(below, narrow=False)) < edge
