"""After a crash: the controller alone fences the broker that died, before a broker starts again on the folder.

Why. Kafka keeps controller and broker in one process here, so nobody fences a broker that was killed. The next one begins with
the cluster as it stood, believes that it leads every partition, loads its coordinators, is fenced by its own controller two
seconds later, and is elected again. Two faults of Kafka 4.2 and 4.3 make that costly; each was seen to deliver records twice:

* Markers of a transaction that was committing are sent while no partition has a leader: they are skipped as if the topics had
  been deleted, and the transaction is called complete (KAFKA-20734). The offset in it is lost, the records in it are not.
* The first load of the group coordinator, stale by then, ends while the second runs and declares it done: committed offsets
  are read as they stood seconds ago, or not at all.

A broker that is fenced before it starts is elected once, and neither can happen.
"""

import time
from pathlib import Path
from typing import Final, Protocol

CLEAN_MARK: Final = ".kafka_cleanshutdown"
"""Kafka writes it into its data folder when it has stopped cleanly, and removes it at the next start."""
RUN_MARK: Final = "recovery-point-offset-checkpoint"
"""Kafka makes it at its first start."""
FENCED: Final = "Fencing broker"
ACTIVE: Final = "Performing controller activation"
NOTHING_TO_FENCE_AFTER_S: Final = 2.0
SETTLE_S: Final = 0.2
LOOK_S: Final = 0.02


class Process(Protocol):
    """A Java process."""

    @property
    def is_running(self) -> bool:
        """Tell whether it runs."""

    def stop(self, *, within_s: float) -> None:
        """End it."""


def crashed(data: Path) -> bool:
    """Tell whether the broker whose data folder this is has run and was not stopped cleanly."""
    return (data / RUN_MARK).exists() and not (data / CLEAN_MARK).exists()


def wait_fenced(controller: Process, *, out: Path, within_s: float) -> bool:
    """Return True once the controller has fenced the broker, or has been active for long enough to know that it need not."""
    deadline = time.monotonic() + within_s
    active_since: float | None = None
    while controller.is_running and time.monotonic() < deadline:
        told = out.read_text(encoding="utf-8", errors="replace") if out.exists() else ""
        if FENCED in told:
            time.sleep(SETTLE_S)
            return True
        if ACTIVE in told:
            active_since = active_since or time.monotonic()
            if time.monotonic() - active_since > NOTHING_TO_FENCE_AFTER_S:
                return True
        time.sleep(LOOK_S)
    return False
