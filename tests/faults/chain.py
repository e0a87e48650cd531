"""The chain of usage steps of one source partition, as the checker of the fault tests follows it."""

import hashlib
from datetime import datetime, timedelta, timezone
from typing import Final

from due import Report
from foreign import Read, Value

SHANGHAI: Final = timezone(timedelta(hours=8))


class Chain:
    """The usage steps of one source partition, followed by hash, step number and offset."""

    def __init__(self, place: str, topic_id: str) -> None:
        """Begin at offset 0 with the zero hash."""
        self.place, self.topic_id = place, topic_id
        self.steps: list[Value] = []
        self.months: list[str] = []
        """Month of account of each step: by append time, never earlier than the step before."""
        self.step, self.next_offset, self.head = 0, 0, bytes(32)
        self._metered_ms = 0

    def follow(self, step: Value, record: Read, report: Report) -> None:
        """Take the next step; after a break go on from there, so that each break counts once."""
        wrong = []
        if step["step"] != self.step + 1:
            wrong.append(f"step {step['step']} after {self.step}")
        if step["first_offset"] != self.next_offset:
            wrong.append(f"begins at {step['first_offset']}, due {self.next_offset}")
        if step["prev_hash"] != self.head:
            wrong.append("hash of the step before is another")
        if str(step["source_topic_id"]) != self.topic_id:
            wrong.append("topic id changed")
        span = step["next_offset"] - step["first_offset"]
        sides = [step["records"] + step["gaps"] + step["lost"]]
        names = ("delivered", "filtered", "denied", "suppressed", "quarantined")
        sides += [sum(entry[name] for name in names) + step["gaps"] + step["lost"] for entry in step["entries"]]
        if any(side != span for side in sides):
            wrong.append(f"conservation: {sides} is not {span}")
        if wrong:
            report.wrong("chain_breaks", f"{self.place} step {step['step']}: {'; '.join(wrong)}")
        self.steps.append(step)
        self.step, self.next_offset, self.head = step["step"], step["next_offset"], hashlib.sha256(record.value or b"").digest()
        self._metered_ms = max(self._metered_ms, record.appended_ms)
        self.months.append(datetime.fromtimestamp(self._metered_ms / 1000, SHANGHAI).strftime("%Y-%m"))

    def check_position(self, offset: int, metadata: str, *, end: int | None, report: Report) -> None:
        """Hold the chain's end against the lane's committed position and the end of the source."""
        position = f"1;{self.topic_id};{self.step};"
        if offset != self.next_offset or not metadata.startswith(position) or self.head.hex() not in metadata:
            report.wrong("chain_breaks", f"{self.place}: position {offset} is not the chain's end {self.next_offset}")
        if end is not None and self.next_offset != end:
            report.wrong("unmetered", f"{self.place}: metered to {self.next_offset}, the source ends at {end}")
