"""Anonymise: the form of a record that an agreement grants, compiled once per agreement and writer schema.

Only granted fields are written, so a field that nobody granted cannot be there. ``keep`` copies a field's bytes, neighbours
together; ``mask`` and ``pseudonym`` write text. The record key follows the key rule; headers and timestamp never travel.
A tombstone (a record without value) is delivered as one where the key is granted and no row rule applies, else suppressed:
under a rule nobody can tell whether its record was ever shown.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, TypeAlias

from hub.exchange.plan import PlannedAgreement
from hub.exchange.reference.decode import Decoded, Rejected
from hub.model.agreement import Grant
from hub.model.framing import frame_header
from hub.model.pseudonym import InvalidIdentifier, normal_form, pseudonym
from hub.model.reasons import Reject
from hub.model.source_schema import FieldType, SourceSchema
from hub.model.terms import identifier_kind

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


def mask_text(text: str, *, keep_first: int, keep_last: int) -> str:
    """Return ``text`` with `*` for every character but the kept ones; all of it where the kept parts would cover it."""
    hidden = len(text) - keep_first - keep_last
    if hidden <= 0:
        return "*" * len(text)
    return text[:keep_first] + "*" * hidden + text[len(text) - keep_last :]


def _pieces(agreement: PlannedAgreement, schema: SourceSchema) -> list[Piece]:
    grants = {grant.name: grant for grant in agreement.terms.fields}
    pieces: list[Piece] = []
    run: int | None = None
    for place, field in enumerate(schema.fields):
        grant = grants.get(field.name)
        if grant is not None and grant.transform == "keep":
            run = place if run is None else run
            continue
        if run is not None:
            pieces.append(_copied(run, place))
            run = None
        if grant is not None:
            pieces.append(_text(place, field.type, _transform(grant, identifier_kind(grant, field), agreement)))
    if run is not None:
        pieces.append(_copied(run, len(schema.fields)))
    return pieces


def _copied(first: int, behind: int) -> Piece:
    """Copy the bytes of neighbouring fields as they stand: exact, also for the payload of a NaN."""
    return lambda value, decoded: value[decoded.ends[first] : decoded.ends[behind]]


def _text(place: int, kind: FieldType, transform: Callable[[str], str]) -> Piece:
    """Write transformed text; null stays null, in the branch where the source has it."""
    null = b"" if kind.null_branch is None else bytes((2 * kind.null_branch,))
    branch = b"" if kind.null_branch is None else bytes((2 - 2 * kind.null_branch,))

    def write(_value: bytes, decoded: Decoded) -> bytes:
        text: Any = decoded.values[place]
        if text is None:
            return null
        encoded = transform(text).encode()
        return branch + _length(len(encoded)) + encoded

    return write


def _length(count: int) -> bytes:
    """Return a zigzag varint of a length."""
    raw = count << 1
    out = bytearray()
    while raw > 0x7F:
        out.append(raw & 0x7F | 0x80)
        raw >>= 7
    out.append(raw)
    return bytes(out)


def _transform(grant: Grant, kind: str | None, agreement: PlannedAgreement) -> Callable[[str], str]:
    if grant.transform == "mask":
        return lambda text: mask_text(text, keep_first=grant.keep_first, keep_last=grant.keep_last)
    if grant.transform == "pseudonym" and kind is not None:
        return _pseudonyms(agreement.pseudonym_keys[kind], kind)
    message = f"transform `{grant.transform}` has no meaning here"
    raise AssertionError(message)


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
    """Return the key as text; a key with a declared identifier kind is UTF-8, or the record is refused."""
    try:
        return key.decode()
    except UnicodeDecodeError:
        raise Rejected(Reject.VALUE_INVALID) from None
