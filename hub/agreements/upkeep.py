"""The upkeep of topics: what the hub needs of Kafka is there, as wide as it must be, also after somebody deleted or changed it.

A duty of the serve that leads, every few seconds. It makes what is gone again, adds partitions that are missing, and sets back the
settings without which records would be refused or deleted before their time. Nothing that a topic holds is ever touched: no topic
and no record is deleted, no partition taken away, no retention changed. A department's topic is never made again: its offsets
would be those of other records, and the lanes of the old one stop (HUB-LANE-002) until a person adopts.
"""

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from hub.agreements.shelf import Shelf
from hub.broker.admin import Admin, TopicState
from hub.broker.topics import TopicSpec, dept_topic, plan_topic, quarantine_topic, share_topic, usage_topic
from hub.catalogue.datasets import Catalogue
from hub.model.errors import HubError
from hub.model.names import Names
from hub.observe import metrics
from hub.store.engine import reading, writing
from hub.store.topics_seen import note_topics

log = structlog.get_logger()
EVERY_S: Final = 3.0
SHARE_MAX: Final = 0.05
"""Of the time: where a look takes long, the next one comes later."""
SET_BACK: Final = ("message.timestamp.type", "max.message.bytes", "cleanup.policy", "retention.bytes")
"""Settings that serve sets back: with another one records are refused, or go before their time. Others are told by `cityhub doctor`."""


class Flaw(msgspec.Struct, frozen=True, kw_only=True):
    """One topic that is not as the hub needs it."""

    topic: str
    what: str
    """``gone``, ``partitions`` or the names of settings."""
    mended: bool
    """True where upkeep mends it, or has."""


class _Wanted(msgspec.Struct, frozen=True):
    spec: TopicSpec
    remade: bool = True
    """Made again where it is gone."""


class Upkeep:
    """Compares the topics of one hub with what it needs, and mends them."""

    def __init__(
        self,
        *,
        admin: Admin,
        engine: Engine,
        names: Names,
        catalogue: Catalogue,
        shelf: Shelf,
        replication: int,
        plan_lost: Callable[[], None] = lambda: None,
    ) -> None:
        """Ask SQL what there must be, ``admin`` what there is; ``plan_lost`` is told when hub.plan is another one than before."""
        self._admin = admin
        self._engine = engine
        self._names = names
        self._catalogue = catalogue
        self._shelf = shelf
        self._replication = replication
        self._plan_lost = plan_lost
        self._plan_id: uuid.UUID | None = None
        self._told: dict[str, str] = {}
        """What cannot be mended, by topic: said once."""
        self._ids: dict[str, str] = {}
        """Ids of the share topics, as the last look found them."""
        self._noted: dict[str, str] = {}

    def begin(self) -> None:
        """Make hub.plan and hub.usage where they are missing, and touch nothing else: whether this hub may lead is not known yet."""
        own = [one.spec for one in self._own()]
        there = self._admin.topic_states(own)
        self._admin.create_topics([spec for spec in own if spec.name not in there])

    def hold_own(self) -> None:
        """Mend hub.plan and hub.usage, which repair writes to; HUB-BROKER-008 for what nobody may mend."""
        own = self._own()
        self._settle_all(own, self._compare(own))
        self._admin.create_topics([one.spec for one in own])

    def look(self) -> tuple[Flaw, ...]:
        """Return what is amiss, and change nothing."""
        return self._compare(self._wanted())

    def mend(self) -> tuple[Flaw, ...]:
        """Mend what can be mended; return what was amiss. Each is counted, and said in the log."""
        wanted = self._wanted()
        flaws = self._compare(wanted)
        self._note_ids()
        self._settle_all(wanted, flaws)
        unmended = {flaw.topic: flaw.what for flaw in flaws if not flaw.mended}
        self._told = {topic: what for topic, what in self._told.items() if topic in unmended}
        metrics.TOPICS_AMISS.set(len(unmended))
        return flaws

    def run(self, stop: threading.Event) -> None:
        """Mend every few seconds until ``stop`` is set; what does not answer is asked again."""
        while not stop.is_set():
            began = time.monotonic()
            try:
                self.mend()
            except HubError as error:
                log.warning("topics_not_looked_at", code=error.code, message=error.message)
            except SQLAlchemyError as error:
                log.warning("topics_not_looked_at", code="HUB-STORE-001", error=type(error).__name__)
            except Exception as error:
                log.exception("topics_not_looked_at", error=type(error).__name__)  # a duty that ends in silence would mend nothing any more
            stop.wait(max(EVERY_S, (time.monotonic() - began) / SHARE_MAX))

    def _compare(self, wanted: Sequence[_Wanted]) -> tuple[Flaw, ...]:
        found = self._admin.topic_states([one.spec for one in wanted])
        self._ids = {name: str(state.topic_id) for name, state in found.items() if name.startswith(f"{self._names.prefix}share.")}
        plan = found.get(self._names.plan)
        if plan is not None:
            if self._plan_id not in {None, plan.topic_id}:
                log.error("plan_alarm", code="HUB-PLAN-001", reason="hub.plan was deleted and made again")
                metrics.PLAN_ALARMS.labels(code="HUB-PLAN-001").inc()
                self._plan_lost()
            self._plan_id = plan.topic_id
        return tuple(flaw for one in wanted for flaw in _flaws(one, found.get(one.spec.name)))

    def _note_ids(self) -> None:
        """Keep each id that a share topic was seen under: `ledger check` tells by it what went with a topic that was made again."""
        new = {topic: topic_id for topic, topic_id in self._ids.items() if self._noted.get(topic) != topic_id}
        if new:
            with writing(self._engine) as connection:
                note_topics(connection, new, scope=self._names.scope)
            self._noted |= new

    def _settle_all(self, wanted: Sequence[_Wanted], flaws: Sequence[Flaw]) -> None:
        specs = {one.spec.name: one.spec for one in wanted}
        for flaw in flaws:
            self._settle(flaw, specs[flaw.topic])

    def _settle(self, flaw: Flaw, spec: TopicSpec) -> None:
        if not flaw.mended:
            if self._told.get(flaw.topic) != flaw.what:
                self._told[flaw.topic] = flaw.what
                log.error("topic_amiss", topic=flaw.topic, reason=flaw.what, fix="see `cityhub doctor`")
            return
        try:
            if flaw.what == "gone":
                self._admin.create_topics([spec])
            elif flaw.what == "partitions":
                self._admin.add_partitions(spec.name, spec.partitions)
            else:
                self._admin.alter_topic_config(spec.name, {key: spec.config[key] for key in flaw.what.split(", ")})
        except HubError as error:
            log.warning("topic_not_mended", topic=flaw.topic, reason=flaw.what, code=error.code, message=error.message)
            return
        kind = flaw.what if flaw.what in {"gone", "partitions"} else "setting"
        metrics.TOPICS_MENDED.labels(what=kind).inc()
        log.error("topic_mended", topic=flaw.topic, reason=flaw.what, fix="find out who deletes or changes the hub's topics")

    def _own(self) -> list[_Wanted]:
        names, replication = self._names, self._replication
        return [_Wanted(plan_topic(names, replication=replication)), _Wanted(usage_topic(names, replication=replication))]

    def _wanted(self) -> list[_Wanted]:
        with reading(self._engine) as connection:
            datasets = {row.entry.dataset: row.entry for row in self._catalogue.all(connection) if row.published}
            live = [row.terms for row in self._shelf.all(connection) if row.live and row.terms.dataset in datasets]
        names, replication = self._names, self._replication
        wanted = self._own()
        for entry in datasets.values():
            kept = {"partitions": entry.partitions, "replication": replication}
            wanted.append(_Wanted(dept_topic(names, entry.dataset, **kept), remade=False))
            wanted.append(_Wanted(quarantine_topic(names, entry.dataset, **kept)))
        wanted += [
            _Wanted(
                share_topic(
                    names,
                    consumer=terms.consumer,
                    agreement=terms.id,
                    partitions=datasets[terms.dataset].partitions,
                    replication=replication,
                )
            )
            for terms in live
        ]
        return wanted


def set_back(admin: Admin, specs: Sequence[TopicSpec]) -> None:
    """Set back of the topics that are there the settings that serve would set back, and nothing else."""
    found = admin.topic_states(specs)
    for spec in specs:
        there = found.get(spec.name)
        back = _may_set_back(spec, spec.differs(there.config)) if there is not None else []
        if back:
            admin.alter_topic_config(spec.name, {key: spec.config[key] for key in back})


def _may_set_back(spec: TopicSpec, other: Sequence[str]) -> list[str]:
    return [key for key in other if key in SET_BACK and spec.config[key] != "compact"]


def _flaws(wanted: _Wanted, found: TopicState | None) -> Sequence[Flaw]:
    spec = wanted.spec
    if found is None:
        return [Flaw(topic=spec.name, what="gone", mended=wanted.remade)]
    flaws = []
    if found.partitions < spec.partitions:
        flaws.append(Flaw(topic=spec.name, what="partitions", mended=wanted.remade))
    other = spec.differs(found.config)
    back = _may_set_back(spec, other)
    left = [key for key in other if key not in back]
    flaws += [Flaw(topic=spec.name, what=", ".join(keys), mended=mended) for keys, mended in ((back, True), (left, False)) if keys]
    return flaws
