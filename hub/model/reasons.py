"""Why a record was not delivered: stable codes and whose fault it is.

Told in docs/reference/shapes.md "Missing rights" and "Codes of quarantine". Codes end up in
``hub.Quarantined`` and in metrics and never change meaning.
"""

from enum import StrEnum
from typing import Final


class Fault(StrEnum):
    """Who has to mend it."""

    PUBLISHER = "publisher"
    CONSUMER = "consumer"
    HUB = "hub"


class DeniedBy(StrEnum):
    """Which right was missing at that moment."""

    STATE = "state"
    TERM = "term"
    QUOTA = "quota"
    UNDELIVERABLE = "undeliverable"


class Reject(StrEnum):
    """Why a record, or a whole batch, was quarantined."""

    BATCH_CORRUPT = "batch_corrupt"
    """A record batch fails its CRC or cannot be parsed: quarantined whole."""
    BATCH_TOO_LARGE = "batch_too_large"
    """A record batch is beyond a bound (``BATCH_…_MAX`` of ``hub.settings``): quarantined whole."""
    FRAMING = "framing"
    """The value does not begin with 0x00 and a schema id."""
    SCHEMA_UNKNOWN = "schema_unknown"
    """The schema id is not known, or not under this dataset's subject."""
    TRUNCATED = "truncated"
    """The body ends inside a field."""
    TRAILING = "trailing_bytes"
    """Bytes follow the last field."""
    VALUE_INVALID = "value_invalid"
    """A byte sequence is no value of its type: bad UTF-8, bad varint, boolean or union or enum index out of range."""
    LIMIT = "limit_exceeded"
    """A length or count is over the hub's limits."""
    IDENTIFIER_INVALID = "identifier_invalid"
    """A value is no valid form of its identifier kind, so it has no pseudonym."""
    TRANSFORM_FAILED = "transform_failed"
    """A value has no form under its transform: NaN has no bucket, the first possible instant no day that begins."""
    RULE_FAILED = "rule_failed"
    """A row rule could not be evaluated on this record."""
    OUTPUT_TOO_LARGE = "output_too_large"
    """The record as granted is over the limit of the share topic."""
    OUTPUT_SCHEMA_MISSING = "output_schema_missing"
    """The agreement has no output schema for the record's writer schema: its terms were not compiled for it."""


FAULT_OF: Final[dict[Reject, Fault]] = {
    Reject.BATCH_CORRUPT: Fault.PUBLISHER,
    Reject.BATCH_TOO_LARGE: Fault.PUBLISHER,
    Reject.FRAMING: Fault.PUBLISHER,
    Reject.SCHEMA_UNKNOWN: Fault.PUBLISHER,
    Reject.TRUNCATED: Fault.PUBLISHER,
    Reject.TRAILING: Fault.PUBLISHER,
    Reject.VALUE_INVALID: Fault.PUBLISHER,
    Reject.LIMIT: Fault.PUBLISHER,
    Reject.IDENTIFIER_INVALID: Fault.PUBLISHER,
    Reject.TRANSFORM_FAILED: Fault.PUBLISHER,
    Reject.RULE_FAILED: Fault.HUB,
    Reject.OUTPUT_TOO_LARGE: Fault.HUB,
    Reject.OUTPUT_SCHEMA_MISSING: Fault.HUB,
}
