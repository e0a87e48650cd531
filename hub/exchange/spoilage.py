"""How much of what a lane reads in a row cannot be read: a lane that would quarantine nearly everything stops before it does.

A deployment that publishes by a wrong schema, or encrypts its topic, would drain into quarantine at full speed, where 3 days later
nobody has it any more. Counted are source records that no agreement could get, over the steps of a run; the run ends with the step that
brings its share below the bound. A batch that cannot be opened counts as one, however many records its header claims: no single
batch stops a lane.
"""

from hub.exchange.verdict import Verdict
from hub.model.errors import HubError
from hub.model.names import TopicPartition


class Spoilage:
    """Counts one lane's run of quarantined records."""

    def __init__(self, partition: TopicPartition, *, share: float, records: int) -> None:
        """Stop at ``share`` of at least ``records`` records; 0 records: never."""
        self._partition = partition
        self._share = share
        self._records = records
        self._seen = 0
        self._bad = 0

    def hold(self, verdict: Verdict) -> None:
        """Raise HUB-LANE-015 where committing ``verdict`` would carry the run to the bound."""
        seen, bad = self._after(verdict)
        if not self._records or seen < self._records or bad < self._share * seen:
            return
        codes = ", ".join(sorted({row.code for row in verdict.quarantined if row.agreement_id is None}))
        raise HubError(
            "HUB-LANE-015",
            f"`{self._partition}`: {bad} of {seen} records and whole batches in a row, up to offset {verdict.next_offset}, "
            f"cannot be read ({codes})",
            f"mend the publisher or register its schema; `cityhub exchange adopt {self._partition} --at OFFSET` leaves the records out, "
            "and `exchange.quarantine_stop_records: 0` with a restart of the worker lets them be quarantined",
        )

    def took(self, verdict: Verdict) -> None:
        """Count a verdict that was committed."""
        self._seen, self._bad = self._after(verdict)
        if self._bad < self._share * self._seen:
            self.forget()

    def forget(self) -> None:
        """Begin a new run: an act of a person has changed what the lane stands on."""
        self._seen = self._bad = 0

    def _after(self, verdict: Verdict) -> tuple[int, int]:
        spoiled = [row.next_offset - row.first_offset for row in verdict.quarantined if row.agreement_id is None]
        good = max(0, verdict.records - sum(spoiled))
        return self._seen + good + len(spoiled), self._bad + len(spoiled)
