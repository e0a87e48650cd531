"""Meter: what a step comes to for each agreement, counted where the decision falls.

``bytes_source`` counts the source key and value of the records that were delivered, so that it can be set beside
``bytes_delivered``; both are uncompressed, framing included. Denied records are counted by the step as a whole, since the
right is missing for all of it.
"""

from hub.exchange.plan import PlannedAgreement
from hub.model.reasons import DeniedBy
from hub.model.usage import UsageEntry


class Tally:
    """Running counts of one agreement in one step."""

    __slots__ = ("bytes_delivered", "bytes_source", "delivered", "filtered", "quarantined", "suppressed")

    def __init__(self) -> None:
        """Begin at zero."""
        self.delivered = 0
        self.filtered = 0
        self.suppressed = 0
        self.quarantined = 0
        self.bytes_source = 0
        self.bytes_delivered = 0

    def deliver(self, *, source: int, delivered: int) -> None:
        """Count one delivered record and its bytes."""
        self.delivered += 1
        self.bytes_source += source
        self.bytes_delivered += delivered

    def entry(self, agreement: PlannedAgreement, *, records: int, denied_by: DeniedBy | None) -> UsageEntry:
        """Return the usage entry; of ``records`` all are denied where a right was missing."""
        return UsageEntry(
            agreement_id=agreement.id,
            agreement_version=agreement.version,
            delivered=self.delivered,
            filtered=self.filtered,
            denied=0 if denied_by is None else records,
            denied_by=None if denied_by is None or records == 0 else denied_by,
            suppressed=self.suppressed,
            quarantined=self.quarantined,
            bytes_source=self.bytes_source,
            bytes_delivered=self.bytes_delivered,
        )
