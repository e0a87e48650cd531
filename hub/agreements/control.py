"""The control plane: everything that may be done to datasets, schemas, agreements and the keys' check values.

One object per process that writes. It keeps its connections to Kafka open and warm, so that a revocation pays for nothing but
its append and its fences.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import Engine

from hub.agreements.adoption import Adoption
from hub.agreements.agreement_acts import AgreementActs
from hub.agreements.dataset_acts import DatasetActs
from hub.agreements.desk import Desk, OpenAct, now_ms
from hub.agreements.fences import Revocations, SharedFence
from hub.agreements.outside_acts import OutsideActs
from hub.agreements.publisher import Draft, Publisher
from hub.agreements.repair import Effects, PlanKeeper
from hub.agreements.schema_acts import SchemaActs
from hub.agreements.shelf import Shelf
from hub.agreements.wiring import Connections, KnownTariff, Wiring
from hub.agreements.withdrawals import Withdrawals
from hub.broker.plan_log import LogEntry, PlanLog
from hub.catalogue.datasets import Catalogue
from hub.catalogue.registry import Registry
from hub.catalogue.told import Told
from hub.model.entry import KeysBody, Kind
from hub.model.errors import HubError
from hub.model.names import Names
from hub.model.pseudonym import check_value
from hub.model.records import PlanEntry
from hub.settings import AGREEMENTS_PER_DATASET_MAX
from hub.store.acts import Act, Actor
from hub.store.engine import fence_of, reading, writing
from hub.store.turns import Turns

log = structlog.get_logger()
MISSING_TOLD_MAX: Final = 20
"""Lost versions that an act names; it counts them all."""


class ControlPlane:
    """Acts on the control plane of one scope."""

    def __init__(
        self,
        *,
        engine: Engine,
        names: Names,
        connections: Connections,
        officer_key: Ed25519PrivateKey,
        master_keys: Mapping[int, bytes],
        replication: int,
        knows_tariff: KnownTariff,
        agreements_per_dataset_max: int = AGREEMENTS_PER_DATASET_MAX,
    ) -> None:
        """Wire the rooms."""
        gate = connections.gate
        lease = fence_of(engine)

        def append(data: bytes) -> int:
            lease.require()
            try:
                return gate.append_plan(data, names=names)
            except HubError as error:
                if error.code == "HUB-SERVE-005":
                    lease.shut(error.message)
                raise

        desk = Desk(engine=engine, scope=names.scope, key=officer_key)
        fence = SharedFence(lambda lanes: gate.fence(lanes, names=names))
        publisher = Publisher(
            engine=engine,
            scope=names.scope,
            key=officer_key,
            master_keys=master_keys,
            append=append,
        )
        catalogue = Catalogue(scope=names.scope)
        self._revocations = Revocations(fence=fence, admin=connections.revocation_admin, names=names)
        registry = Registry(scope=names.scope)
        self._wiring = Wiring(
            desk=desk,
            publisher=publisher,
            catalogue=catalogue,
            registry=registry,
            told=Told(registry, names),
            shelf=Shelf(scope=names.scope),
            admin=connections.admin,
            gate=gate,
            withdrawals=Withdrawals(desk=desk, publisher=publisher, revocations=self._revocations, catalogue=catalogue, names=names),
            names=names,
            replication=replication,
            key_epoch=max(master_keys),
            knows_tariff=knows_tariff,
            agreements_per_dataset_max=agreements_per_dataset_max,
            slow_lock=Turns(),
        )
        self.desk = desk
        self.registry = self._wiring.registry
        self.datasets = DatasetActs(self._wiring)
        self.schemas = SchemaActs(self._wiring)
        self.agreements = AgreementActs(self._wiring)
        self.outside = OutsideActs(self._wiring)

    def keeper(self, plan_log: PlanLog, trust: Mapping[str, Ed25519PublicKey], *, effects: Effects) -> PlanKeeper:
        """Return the keeper of hub.plan, reading over ``plan_log``; ``effects`` tell what acts came to that were left open."""
        w = self._wiring
        return PlanKeeper(
            desk=w.desk,
            publisher=w.publisher,
            registry=w.registry,
            plan_log=plan_log,
            trust=trust,
            fence=self.fence_datasets,
            withdrawals=w.withdrawals,
            effects=effects,
        )

    def adopt_plan(self, keeper: PlanKeeper, *, actor: Actor, lost: str | None = None) -> int:
        """Take what hub.plan says beyond SQL into SQL, as an act; return how many objects it was about.

        ``lost`` tells which acts are gone, and stands in this one.
        """
        w = self._wiring

        def take(entries: list[tuple[LogEntry, PlanEntry]]) -> None:
            if not entries and lost is None:
                return
            opened = OpenAct(Act(verb="adopt.plan", object_type="plan", object_id=w.names.plan), actor)
            with writing(w.desk.engine) as connection:
                adoption = Adoption(w, connection, correlation_id=opened.correlation_id, at_ms=now_ms())
                adoption.take(entries)
                w.desk.done_within(connection, opened, reason=_told(lost, adoption.missing_versions()))

        return keeper.adopt(take)

    def fence_datasets(self, datasets: Collection[str]) -> None:
        """Fence every lane of the datasets named; returns when each has answered 0."""
        w = self._wiring
        with reading(w.desk.engine) as connection:
            rows = [w.catalogue.find(connection, dataset) for dataset in datasets]
        self._revocations.fence(
            {w.names.dept(row.entry.dataset): row.entry.partitions for row in rows if row is not None and row.published}
        )

    def publish_keys(self, master_keys: Mapping[int, bytes], *, actor: Actor, anew: bool = False) -> None:
        """Put the check value of each master key into hub.plan, once; HUB-KEY-002 when another key is known under its epoch.

        With ``anew`` again, under the officer's key of now: from then on hub.plan knows it.
        """
        w = self._wiring
        for epoch, key in sorted(master_keys.items()):
            body = KeysBody(key_epoch=epoch, check_value=check_value(key))
            with reading(w.desk.engine) as connection:
                known = w.publisher.body_of(connection, Kind.KEYS, str(epoch))
            if known == body and not anew:
                continue
            act = Act(verb="publish.keys", object_type="keys", object_id=str(epoch))
            with w.desk.acting(act, actor=actor) as opened:
                if known not in {None, body}:
                    fix = "restore `keys/` from the backup that belongs to this hub: another key changes every pseudonym"
                    raise HubError("HUB-KEY-002", f"master key of epoch {epoch} is not the one that hub.plan knows", fix)
                with w.desk.changing():
                    with writing(w.desk.engine) as connection:
                        w.desk.intend(connection, opened)
                        staged = w.publisher.stage(connection, [Draft(Kind.KEYS, str(epoch), body)], correlation_id=opened.correlation_id)
                        opened.staged = True
                    w.publisher.append(staged)
                w.desk.done(opened)


def _told(lost: str | None, missing: Sequence[str]) -> str | None:
    """Return what an adoption could not bring back, for its act and the log."""
    shown = ", ".join(missing[:MISSING_TOLD_MAX])
    more = f" and {len(missing) - MISSING_TOLD_MAX} more" if len(missing) > MISSING_TOLD_MAX else ""
    versions = f"signed terms that hub.plan does not hold any more: {shown}{more}" if missing else None
    told = "; ".join(part for part in (lost, versions) if part is not None)
    if told:
        log.warning("adopted_with_losses", reason=told)
    return told or None
