"""The native kernel's side in Python: the same call as the reference, decided by the crate in ``native/``.

Owns the lowering of a plan into a program, and the verdict that is made of what the program came to. What a plan means is the
reference's (``hub.exchange.reference``); where the two differ, this one is wrong. A program is compiled when its plan is first run
and lives as long as the plan; the interpreter is free while it runs. Importing this room fails where the crate was not built.
"""

import threading
from collections.abc import Sequence
from typing import Final, cast
from weakref import WeakKeyDictionary

from hub.exchange._native import Program
from hub.exchange.native.lowering import lower
from hub.exchange.plan import Plan
from hub.exchange.reference.authorise import denials
from hub.exchange.verdict import Batch, Chunk, Moment, Source, Verdict
from hub.model.reasons import FAULT_OF
from hub.model.records import Quarantined
from hub.model.usage import UsageEntry

__all__ = ["program_of", "run"]

_PROGRAMS: Final[WeakKeyDictionary[Plan, Program]] = WeakKeyDictionary()
_LOCK: Final = threading.Lock()
_FAULTS: Final = {code.value: fault for code, fault in FAULT_OF.items()}


def run(plan: Plan, chunks: Sequence[Chunk], source: Source, moment: Moment) -> Verdict:
    """Decide every record of ``chunks`` at or above the position under ``plan``. Never raises because of a record."""
    denied = denials(plan, moment)
    lent = [(chunk.data, chunk.first_offset) for chunk in chunks]
    found = program_of(plan).run(lent, source.position, moment.now_ms, [right is not None for right in denied])
    records, stopped, tallies, batches, rows, kept, unknown = found
    end = chunks[-1].next_offset if chunks else source.position
    return Verdict(
        records=records,
        entries=tuple(
            UsageEntry(
                agreement.id,
                agreement.version,
                delivered,
                filtered,
                records if right is not None else 0,
                right if records else None,
                suppressed,
                quarantined,
                bytes_source,
                bytes_delivered,
            )
            for agreement, right, (delivered, filtered, suppressed, quarantined, bytes_source, bytes_delivered) in zip(
                plan.agreements, denied, tallies, strict=True
            )
        ),
        deliveries={
            agreement.share_topic: tuple(Batch(cast("bytes", batch), count) for batch, count in built)  # a buffer, as lanes take it
            for agreement, built in zip(plan.agreements, batches, strict=True)
            if built
        },
        quarantined=tuple(
            Quarantined(
                source.partition.topic,
                source.topic_id,
                source.partition.partition,
                first_offset,
                next_offset,
                code,
                _FAULTS[code],
                None if agreement is None else plan.agreements[agreement].id,
                *kept[place],
            )
            for first_offset, next_offset, code, agreement, place in rows
        ),
        next_offset=end if stopped is None else stopped,
        unknown_schema_ids=frozenset(unknown),
    )


def program_of(plan: Plan) -> Program:
    """Return the program of ``plan``, compiling it the first time; two that ask at once may both compile it, and share one."""
    with _LOCK:
        found = _PROGRAMS.get(plan)
    if found is None:
        compiled = Program(*lower(plan))
        with _LOCK:
            found = _PROGRAMS.setdefault(plan, compiled)
    return found
