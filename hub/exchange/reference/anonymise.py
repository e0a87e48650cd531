"""Anonymise: the form of a record that an agreement grants, compiled once per agreement and writer schema.

Only granted fields are written, so a field that nobody granted cannot be there. Fields that are kept whole are copied, neighbours
together; a field that is granted in part, or transformed, is written by ``forms``. The record key follows the key rule; headers and
timestamp never travel.
A tombstone (a record without value) is delivered as one where the key is granted and no row rule applies, else suppressed:
under a rule nobody can tell whether its record was ever shown.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final, TypeAlias

from hub.exchange.plan import PlannedAgreement
from hub.exchange.reference.decode import Decoded, Rejected
from hub.exchange.reference.forms import compile_leaf, compile_write
from hub.model.field_types import FieldType, SourceSchema
from hub.model.framing import frame_header
from hub.model.granted import Granted, Leaf, copies, granted_of
from hub.model.pseudonym import InvalidIdentifier, holds_control, normal_form, pseudonym
from hub.model.reasons import Reject

Piece: TypeAlias = Callable[[bytes, Decoded], bytes]
"""Writes a part of the output body from a framed value and what was read of it."""
Form: TypeAlias = Callable[[bytes, Decoded], bytes]
"""Writes the framed output value."""
KeyForm: TypeAlias = Callable[[bytes | None], bytes | None]
"""Writes the output key. Raises Rejected like a Form."""

PSEUDONYMS_KEPT: Final = 4_096
"""Pseudonyms remembered per key: city data repeats its identifiers, and one costs ten times a look-up."""


def compile_form(agreement: PlannedAgreement, *, writer_id: int, schema: SourceSchema) -> Form:
    """Return the function that writes what ``agreement`` grants of a record of ``schema``."""
    header = frame_header(agreement.output_ids[writer_id])
    pieces = tuple(_pieces(agreement, schema))
    if len(pieces) == 1:
        (only,) = pieces
        return lambda value, decoded: header + only(value, decoded)
    return lambda value, decoded: header + b"".join([piece(value, decoded) for piece in pieces])


def compile_key(agreement: PlannedAgreement, *, key_identifier: str | None) -> KeyForm:
    """Return the function that writes the record key as ``agreement`` grants it."""
    if agreement.terms.key == "drop" or key_identifier is None:
        return lambda _key: None
    if agreement.terms.key == "keep":
        return _kept_key
    write = _pseudonyms(agreement.pseudonym_keys[key_identifier], key_identifier)
    return lambda key: None if key is None else write(_key_text(key)).encode()


def delivers_tombstones(agreement: PlannedAgreement) -> bool:
    """Tell whether a record without value, but with a key, is delivered under ``agreement``."""
    return agreement.terms.key != "drop" and agreement.terms.rows is None


def _pieces(agreement: PlannedAgreement, schema: SourceSchema) -> list[Piece]:
    parts = dict(granted_of(schema, agreement.terms.fields).fields)
    pieces: list[Piece] = []
    run: int | None = None
    for place, field in enumerate(schema.fields):
        granted = parts.get(place)
        if granted is not None and copies(granted, field.type):
            run = place if run is None else run
            continue
        if run is not None:
            pieces.append(_copied(run, place))
            run = None
        if granted is not None:
            pieces.append(_piece(granted, place, field.type, agreement))
    if run is not None:
        pieces.append(_copied(run, len(schema.fields)))
    return pieces


def _copied(first: int, behind: int) -> Piece:
    """Copy the bytes of neighbouring fields as they stand: exact, also for the payload of a NaN."""
    return lambda value, decoded: value[decoded.ends[first] : decoded.ends[behind]]


def _piece(granted: Granted, place: int, kind: FieldType, agreement: PlannedAgreement) -> Piece:
    def pseudonyms(identifier: str) -> Callable[[str], str]:
        return _pseudonyms(agreement.pseudonym_keys[identifier], identifier)

    if isinstance(granted, Leaf):
        encode = compile_leaf(granted, kind, pseudonyms)
        return lambda _value, decoded: encode(decoded.values[place])
    write = compile_write(granted, kind, pseudonyms)

    def piece(value: bytes, decoded: Decoded) -> bytes:
        out = bytearray()
        write(value, decoded.ends[place], out)
        return bytes(out)

    return piece


def _pseudonyms(key: bytes, kind: str) -> Callable[[str], str]:
    @lru_cache(maxsize=PSEUDONYMS_KEPT)
    def write(text: str) -> str:
        try:
            return pseudonym(key, normal_form(kind, text))
        except InvalidIdentifier:
            raise Rejected(Reject.IDENTIFIER_INVALID) from None

    return write


def _kept_key(key: bytes | None) -> bytes | None:
    if key is not None:
        _key_text(key)
    return key


def _key_text(key: bytes) -> str:
    """Return the key as text; a key with a declared identifier kind is UTF-8 without control characters, or the record is refused.

    A serializer's frame before the text is UTF-8 by chance, and would be part of the identifier.
    """
    try:
        text = key.decode()
    except UnicodeDecodeError:
        raise Rejected(Reject.VALUE_INVALID) from None
    if holds_control(text):
        raise Rejected(Reject.VALUE_INVALID)
    return text
