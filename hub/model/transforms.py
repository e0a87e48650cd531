"""Transforms: on which types each one fits, and which type it gives. What it does to a value is the kernel's.

One entry of ``_FITS`` and one of ``_GIVES`` per transform. Nulls stay null under every transform but ``constant``.
``truncate`` keeps the type, so its output is a coarser value of the same kind; ``mask pseudonym prefix bucket`` give text.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any, Final, TypeAlias

from hub.model.agreement import Bucket, Constant, Grant, Number, Prefix, Truncate
from hub.model.field_types import FieldType, type_words, without_null
from hub.model.granted import Leaf
from hub.model.operands import JSON_INTEGER_MAX, UnfitOperand, operand

CHARACTERS_MAX: Final = 1_000
EDGES_MAX: Final = 1_000
LABEL_CHARACTERS_MAX: Final = 100
NUMBER_DIGITS_MAX: Final = 76
CONSTANT_TYPES: Final = ("string", "boolean", "int", "long", "float", "double")
_CLOCK: Final = ("second", "minute", "hour")
_CALENDAR: Final = ("month", "quarter", "year")
UNITS: Final[Mapping[str, tuple[str, ...]]] = {
    "date": _CALENDAR,
    "time-millis": _CLOCK,
    "time-micros": _CLOCK,
    "timestamp-millis": (*_CLOCK, "day", *_CALENDAR),
    "timestamp-micros": (*_CLOCK, "day", *_CALENDAR),
    "timestamp-nanos": (*_CLOCK, "day", *_CALENDAR),
    "local-timestamp-millis": (*_CLOCK, "day", *_CALENDAR),
    "local-timestamp-micros": (*_CLOCK, "day", *_CALENDAR),
    "local-timestamp-nanos": (*_CLOCK, "day", *_CALENDAR),
}
"""Units that ``truncate`` knows, by logical type. A unit that would change nothing is none of them."""
_LONG_MAX: Final = 2**63 - 1
_INT_MAX: Final = 2**31 - 1

Finding: TypeAlias = tuple[str, str, str]
"""Parameter (empty: the transform itself), message, fix."""


def unfit(leaf: Leaf, kind: FieldType) -> Iterator[Finding]:
    """Yield what is wrong with a transform of values of ``kind``, which holds no record; nothing when it fits."""
    yield from _FITS[leaf.grant.transform](leaf, kind)


def output_type(grant: Grant, kind: FieldType, kept: Callable[[FieldType], Any]) -> Any:
    """Return the Avro type (JSON) that ``grant`` makes of ``kind``; ``kept`` writes a type as the output holds it."""
    return _GIVES[grant.transform](grant, kind, kept)


def gives_text(grant: Grant) -> bool:
    """Tell whether the transform writes text in place of whatever the source has."""
    made_shorter = isinstance(grant.parameters, Truncate) and grant.parameters.characters is not None
    return made_shorter or grant.transform in {"mask", "pseudonym", "prefix", "bucket"}


def exact(number: Number) -> Fraction:
    """Return a number of an agreement as it is written, 0.1 as one tenth; UnfitOperand when it is none, or has too many digits."""
    if isinstance(number, float) and math.isfinite(number):
        found = Fraction(repr(number))
        if abs(found) < 10**NUMBER_DIGITS_MAX and (found * 10**NUMBER_DIGITS_MAX).denominator == 1:
            return found
    units = operand(number, kind=FieldType(base="bytes", logical="decimal", scale=NUMBER_DIGITS_MAX))
    if not isinstance(units, int):
        raise UnfitOperand("write a number of fewer digits")
    return Fraction(units, 10**NUMBER_DIGITS_MAX)


def plain(number: Fraction) -> str:
    """Return a decimal fraction without exponent and without needless zeros."""
    units, scale = number.numerator, 0
    while number.denominator != 1 and (10**scale) % number.denominator:
        scale += 1
    units = number.numerator * 10**scale // number.denominator
    digits = str(abs(units)).rjust(scale + 1, "0")
    text = f"{digits[:-scale]}.{digits[-scale:]}" if scale else digits
    return f"-{text}" if units < 0 else text


def is_number(kind: FieldType) -> bool:
    """Tell whether values of ``kind`` are numbers, and neither dates nor times."""
    return kind.logical == "decimal" or (kind.logical is None and kind.base in {"int", "long", "float", "double"})


def in_units(number: Number, kind: FieldType) -> int | float:
    """Return a number as the values of ``kind`` are: whole, in units of a decimal's last digit, or floating."""
    found = operand(float(exact(number)) if kind.base in {"float", "double"} and isinstance(number, str) else number, kind=kind)
    if isinstance(found, int) or (isinstance(found, float) and kind.base in {"float", "double"}):
        return found
    raise UnfitOperand("write a whole number" if kind.logical is None else f"write a number with at most {kind.scale} decimals")


def bucket_labels(bucket: Bucket) -> tuple[str, ...]:
    """Return the name of each interval between edges, from below the first to above the last."""
    if bucket.labels:
        return bucket.labels
    shown = [plain(exact(edge)) for edge in bucket.edges]
    between = [f"[{low},{high})" for low, high in itertools.pairwise(shown)]
    return (f"<{shown[0]}", *between, f">={shown[-1]}")


def constant_value(constant: Constant) -> Any:
    """Return the value of a constant as its type has it; UnfitOperand when it is none of that type."""
    if constant.avro_type not in CONSTANT_TYPES:
        raise UnfitOperand(f"write a type: {', '.join(CONSTANT_TYPES)}")
    value = operand(constant.value, kind=FieldType(base=constant.avro_type))
    if constant.avro_type in {"int", "long"}:
        most = _INT_MAX if constant.avro_type == "int" else _LONG_MAX
        if not isinstance(value, int) or not -most - 1 <= value <= most:
            raise UnfitOperand(f"write a whole number within the range of {constant.avro_type}")
    if isinstance(value, str) and len(value) > CHARACTERS_MAX:
        raise UnfitOperand(f"write at most {CHARACTERS_MAX} characters")
    return value


def _branches(kind: FieldType) -> tuple[FieldType, ...]:
    """Return the types that values of ``kind`` have, null aside."""
    if kind.base != "union":
        return (without_null(kind),)
    return tuple(branch for branch in kind.branches if branch.base != "null")


def _anything(_leaf: Leaf, _kind: FieldType) -> Iterator[Finding]:
    yield from ()


def _text_only(kind: FieldType, what: str, *, bases: tuple[str, ...] = ("string", "enum")) -> Iterator[Finding]:
    found = _branches(kind)
    if any(branch.base not in bases for branch in found):
        fix = "name its elements, as `codes[]` or `tags{}`" if kind.base in {"array", "map"} else "keep it, or leave it out"
        yield "", f"is {type_words(kind)}: {what}", fix


def _mask(leaf: Leaf, kind: FieldType) -> Iterator[Finding]:
    yield from _text_only(kind, "only text and enums can be masked")
    for name, value in (("keep_first", leaf.grant.keep_first), ("keep_last", leaf.grant.keep_last)):
        if not 0 <= value <= CHARACTERS_MAX:
            yield name, f"`{name}` is out of range", f"write a number of characters from 0 to {CHARACTERS_MAX}"


def _pseudonym(leaf: Leaf, kind: FieldType) -> Iterator[Finding]:
    wrong = list(_text_only(kind, "only text has a pseudonym", bases=("string",)))
    yield from wrong
    if not wrong and leaf.identifier is None:
        message = "declares no identifier kind, and pseudonyms are made per kind"
        yield "", message, "write `pseudonym: {identifier: KIND}`, or ask the provider to declare it in the schema"


def _prefix(leaf: Leaf, kind: FieldType) -> Iterator[Finding]:
    yield from _text_only(kind, "only text and enums have a prefix")
    if not isinstance(leaf.grant.parameters, Prefix):
        yield "characters", "`prefix` asks for a number of characters", "write `prefix: {characters: 4}`"
    else:
        yield from _characters(leaf.grant.parameters.characters)


def _characters(count: int) -> Iterator[Finding]:
    if not 1 <= count <= CHARACTERS_MAX:
        yield "characters", "`characters` is out of range", f"write a number of characters from 1 to {CHARACTERS_MAX}"


def _truncate(leaf: Leaf, kind: FieldType) -> Iterator[Finding]:
    wanted = "step" if is_number(kind) else "to" if kind.logical in UNITS else "characters"
    example = {"step": "{step: 100}", "to": "{to: month}", "characters": "{characters: 20}"}[wanted]
    found = leaf.grant.parameters if isinstance(leaf.grant.parameters, Truncate) else Truncate()
    given = [name for name in ("to", "step", "characters") if getattr(found, name) is not None]
    if wanted == "characters" and any(branch.base != "string" for branch in _branches(kind)):
        yield from _text_only(kind, "only text, numbers, dates and times can be truncated", bases=("string",))
    elif given != [wanted]:
        yield "", f"is {type_words(kind)}: it is truncated by `{wanted}` alone", f"write `truncate: {example}`"
    elif wanted == "to" and found.to not in UNITS[str(kind.logical)]:
        yield "to", f"`to` is no unit for {type_words(kind)}", f"write one of: {', '.join(UNITS[str(kind.logical)])}"
    elif found.step is not None:
        yield from _positive("step", found.step, kind)
    elif found.characters is not None:
        yield from _characters(found.characters)


def _positive(name: str, number: Number, kind: FieldType) -> Iterator[Finding]:
    try:
        exact(number)
        if not 0 < in_units(number, kind) <= (JSON_INTEGER_MAX if kind.base in {"int", "long"} else math.inf):
            raise UnfitOperand("write a number above 0")
    except UnfitOperand as refusal:
        yield name, f"`{name}` does not fit a field {type_words(kind)}", str(refusal)


def _bucket(leaf: Leaf, kind: FieldType) -> Iterator[Finding]:
    if not is_number(kind):
        fix = "name its elements, as `ages[]`" if kind.base in {"array", "map"} else "use `truncate` for dates and times"
        yield "", f"is {type_words(kind)}: only numbers fall into buckets", fix
        return
    found = leaf.grant.parameters if isinstance(leaf.grant.parameters, Bucket) else Bucket()
    if (found.width is None) == (not found.edges):
        yield "", "`bucket` asks for a width or for edges", "write `bucket: {width: 10}` or `bucket: {edges: [18, 60]}`"
    elif found.width is not None:
        yield from _positive("width", found.width, kind)
        if found.labels:
            yield "labels", "`labels` go with edges", "leave them out, or write `edges`"
    else:
        yield from _edges(found, kind)


def _edges(found: Bucket, kind: FieldType) -> Iterator[Finding]:
    try:
        edges = [in_units(edge, kind) for edge in found.edges]
        for edge in found.edges:
            exact(edge)
    except UnfitOperand as refusal:
        yield "edges", f"`edges` do not fit a field {type_words(kind)}", str(refusal)
        return
    if len(edges) > EDGES_MAX or any(low >= high for low, high in itertools.pairwise(edges)):
        yield "edges", "`edges` do not grow, or are too many", f"write 1 to {EDGES_MAX} numbers, each above the one before"
    if found.labels and (len(found.labels) != len(edges) + 1 or any(not 0 < len(label) <= LABEL_CHARACTERS_MAX for label in found.labels)):
        fix = f"write {len(edges) + 1} labels of 1 to {LABEL_CHARACTERS_MAX} characters, from below the first edge to above the last"
        yield "labels", "`labels` do not go with the edges", fix


def _constant(leaf: Leaf, _kind: FieldType) -> Iterator[Finding]:
    if not isinstance(leaf.grant.parameters, Constant):
        yield "value", "`constant` asks for a value", "write `constant: {value: withheld}`"
        return
    try:
        constant_value(leaf.grant.parameters)
    except UnfitOperand as refusal:
        yield "value", "`value` does not fit the constant's type", str(refusal)


_FITS: Final[Mapping[str, Callable[[Leaf, FieldType], Iterator[Finding]]]] = {
    "keep": _anything,
    "mask": _mask,
    "pseudonym": _pseudonym,
    "truncate": _truncate,
    "bucket": _bucket,
    "prefix": _prefix,
    "nullify": _anything,
    "constant": _constant,
}


def _same_type(_grant: Grant, kind: FieldType, kept: Callable[[FieldType], Any]) -> Any:
    return kept(kind)


def _text_type(_grant: Grant, kind: FieldType, _kept: Callable[[FieldType], Any]) -> Any:
    if kind.null_branch is None:
        return "string"
    return ["null", "string"] if kind.null_branch == 0 else ["string", "null"]


def _truncated_type(grant: Grant, kind: FieldType, kept: Callable[[FieldType], Any]) -> Any:
    return _text_type(grant, kind, kept) if gives_text(grant) else kept(kind)


def _null_type(_grant: Grant, kind: FieldType, kept: Callable[[FieldType], Any]) -> Any:
    """Return the source's type with null before it, so that readers keep the type that they know."""
    return "null" if kind.base == "null" else ["null", *(kept(branch) for branch in _branches(kind))]


def _constant_type(grant: Grant, _kind: FieldType, _kept: Callable[[FieldType], Any]) -> Any:
    return grant.parameters.avro_type if isinstance(grant.parameters, Constant) else "string"


_GIVES: Final[Mapping[str, Callable[[Grant, FieldType, Callable[[FieldType], Any]], Any]]] = {
    "keep": _same_type,
    "mask": _text_type,
    "pseudonym": _text_type,
    "truncate": _truncated_type,
    "bucket": _text_type,
    "prefix": _text_type,
    "nullify": _null_type,
    "constant": _constant_type,
}
