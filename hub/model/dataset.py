"""Dataset entries (目录): what a department offers, with what duties, and what its fields are.

Told in docs/reference/shapes.md "Dataset entries"; GB/T 21062 for the words.
"""

from typing import Final

import msgspec

GRADES: Final = ("L1", "L2", "L3", "L4")
SHARING: Final = ("unconditional", "conditional", "not_shared")
SECRECY: Final = ("none", "work_secret", "state_secret")
LEVELS: Final = ("general", "important", "core")
DEFAULT_PARTITIONS: Final = 4


class DatasetEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the catalogue."""

    dataset: str
    """``<org>/<slug>``"""
    title: str
    accountable_person: str
    sharing: str
    schema: str
    """Path of the Avro schema file, relative to ``avro_schemas``: ``<owner>/<record>/v1.avsc``."""
    key_identifier: str | None = None
    """Identifier kind of the record key; None: the key is bytes of no declared meaning."""
    partitions: int = DEFAULT_PARTITIONS
    resource_code: str | None = None
    abstract: str | None = None
    condition: str | None = None
    sharing_basis: str | None = None
    secrecy: str = "none"
    level: str = "general"
    authoritative_source: bool = False
    update_cycle: str | None = None
    retention_class: str = "payload_short"
    quality: str | None = None
