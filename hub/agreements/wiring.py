"""What the acts of the control plane work with: wired once by ``hub.app``, passed as one value."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from hub.agreements.desk import Desk
from hub.agreements.publisher import Publisher, Staged, batches_of
from hub.agreements.shelf import Shelf
from hub.agreements.withdrawals import Withdrawals
from hub.broker.admin import Admin
from hub.broker.fencing import LaneGate
from hub.catalogue.datasets import Catalogue
from hub.catalogue.registry import Registry
from hub.catalogue.told import Told
from hub.model.names import Names
from hub.store.turns import Turns


class KnownTariff(Protocol):
    """Asks the ledger whether a tariff exists, without knowing the ledger."""

    def __call__(self, tariff: str) -> bool:
        """Tell whether ``name`` or ``name@version`` has a price."""
        ...


@dataclass(frozen=True, kw_only=True)
class Connections:
    """The control plane's own connections to Kafka, kept open."""

    admin: Admin
    revocation_admin: Admin
    """For reading where a right ended; nothing else may keep it busy."""
    gate: LaneGate


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """The parts, each made once."""

    desk: Desk
    publisher: Publisher
    catalogue: Catalogue
    registry: Registry
    told: Told
    shelf: Shelf
    admin: Admin
    gate: LaneGate
    withdrawals: Withdrawals
    names: Names
    replication: int
    key_epoch: int
    knows_tariff: KnownTariff
    agreements_per_dataset_max: int
    slow_lock: Turns
    """Serialises the acts that make topics or give out schema ids, so that those that narrow rights never wait for one."""

    def append(self, staged: Sequence[Staged]) -> int:
        """Append entries batch by batch, in their order, and return the offset of the last one.

        The write lock is held for one batch at a time, so that a withdrawal comes in between.
        """
        offset = 0
        for run in batches_of(staged):
            with self.desk.changing():
                offset = self.publisher.append(run)
        return offset
