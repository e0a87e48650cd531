"""The composition root: the one place where rooms are built and wired.

``Hub`` makes each part when it is first asked for and closes all of them together. Commands of the command line that only read
SQL pay for no connection to Kafka; ``cityhub serve`` asks for everything.
"""

import threading
from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from types import TracebackType
from typing import Final, Self

import msgspec
from sqlalchemy import Connection, Engine

from hub.agreements.anchoring import ActAnchor, Place, Verified, known_places, verify
from hub.agreements.control import ControlPlane
from hub.agreements.repair import Effects, PlanKeeper
from hub.agreements.shelf import Shelf
from hub.agreements.upkeep import Upkeep
from hub.agreements.wiring import Connections
from hub.broker.admin import Admin
from hub.broker.fencing import LaneGate
from hub.broker.plan_log import PlanLog
from hub.catalogue.datasets import Catalogue
from hub.catalogue.registry import Registry
from hub.catalogue.told import Told
from hub.catalogue.topics import remember_topic
from hub.exchange.adopt import Adopted, adopt, was_adopted
from hub.exchange.context import beyond_the_dataset
from hub.exchange.plan import Plan
from hub.exchange.plan_book import PlanBook, limits_of
from hub.exchange.plan_reader import PlanReader
from hub.exchange.status import LaneStatus, lane_statuses, told_by_workers
from hub.ledger.accept_loss import AcceptedLoss, accept_loss, show_loss
from hub.ledger.books import ChainRow
from hub.ledger.chain import STRANGE, ChainId, strangeness, way_on
from hub.ledger.collector import Collector
from hub.ledger.known_topics import known_topics
from hub.ledger.losses import is_loss_id
from hub.ledger.resume import Resumed, find_chain, resume, resumed
from hub.ledger.signed_terms import SignedTerms, read_signed_terms
from hub.ledger.tariffs import released_tariffs
from hub.model.errors import ExitCode, HubError
from hub.model.names import Names, TopicPartition
from hub.model.written import identifier
from hub.settings import Settings
from hub.store.act_anchor import AnchorFile
from hub.store.acts import Act, Actor
from hub.store.engine import open_engine, reading, writing
from hub.store.keys import has_keys, keys_mark, load_master_keys, load_officer_key, load_trust_keys
from hub.store.tables import require_scope
from hub.store.upgrade import require_current

OFFSET_MAX: Final = 2**63 - 1


class Hub:
    """The parts of one hub, made when asked for. A context manager."""

    def __init__(self, settings: Settings) -> None:
        """Make nothing yet."""
        self.settings = settings
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close every part."""
        self.close()

    @property
    def names(self) -> Names:
        """Names of topics, groups and transactional ids."""
        return self.settings.names

    @property
    def officer(self) -> Actor:
        """The configured local officer, who acts while tokens have not come yet."""
        return Actor(person_id=self.settings.officer.person, org_id=self.settings.officer.org)

    @cached_property
    def engine(self) -> Engine:
        """The store, with its tables; HUB-STORE-001 to -005."""
        engine = open_engine(self.settings.store_url)
        require_current(engine)
        require_scope(engine, self.settings.scope)
        return engine

    @cached_property
    def catalogue(self) -> Catalogue:
        """Dataset entries, for reading."""
        return Catalogue(scope=self.names.scope)

    @cached_property
    def registry(self) -> Registry:
        """Schemas, for reading."""
        return Registry(scope=self.names.scope)

    @cached_property
    def told(self) -> Told:
        """Schemas that may be shown."""
        return Told(self.registry, self.names)

    @cached_property
    def shelf(self) -> Shelf:
        """Agreements, for reading."""
        return Shelf(scope=self.names.scope)

    @cached_property
    def admin(self) -> Admin:
        """Administration of Kafka; HUB-BROKER-001 when it does not answer."""
        return Admin(self.settings.bootstrap, client_id="cityhub-serve")

    @cached_property
    def connections(self) -> Connections:
        """The control plane's own connections."""
        revocation_admin = Admin(self.settings.bootstrap, client_id="cityhub-revocation")
        gate = LaneGate(self.settings.bootstrap, timeout_ms=self.settings.exchange.transaction_timeout_ms)
        return Connections(admin=self.admin, revocation_admin=revocation_admin, gate=gate)

    @cached_property
    def control(self) -> ControlPlane:
        """The control plane; its desk is closed until ``take_over``."""
        return ControlPlane(
            engine=self.engine,
            names=self.names,
            connections=self.connections,
            officer_key=load_officer_key(self.settings.keys_folder),
            master_keys=load_master_keys(self.settings.keys_folder),
            replication=self.settings.broker.replication,
            knows_tariff=knows_tariff,
            agreements_per_dataset_max=self.settings.exchange.agreements_per_dataset_max,
        )

    @cached_property
    def anchor(self) -> ActAnchor:
        """The duty that anchors the acts."""
        folder = self.settings.keys_folder
        key, trust = load_officer_key(folder), load_trust_keys(folder)
        return ActAnchor(engine=self.engine, scope=self.names.scope, key=key, trust=trust, places=self._anchors("cityhub-anchor"))

    def verify_acts(self, *, newest: int | None = None, tell: Callable[[int], None] = lambda _: None) -> Verified:
        """Walk all acts, or the newest few, and hold them against their anchors."""
        trust, places = load_trust_keys(self.settings.keys_folder), self._anchors("cityhub-verify")
        return verify(self.engine, scope=self.names.scope, trust=trust, places=places, newest=newest, tell=tell)

    def _anchors(self, client_id: str) -> dict[str, Place]:
        return known_places(self.settings.bootstrap, names=self.names, file=AnchorFile(self.settings.state), client_id=client_id)

    @cached_property
    def plan_log(self) -> PlanLog:
        """The reader of hub.plan that repair uses."""
        return PlanLog(self.settings.bootstrap, self.names.plan)

    def plans(self) -> dict[str, Plan]:
        """Return the plan of each published dataset by its topic, compiled from hub.plan as a worker compiles it."""
        book = self._new_book()
        for entry in self.plan_log.read_all():
            book.apply(entry.value or b"", offset=entry.offset, key=entry.key, headers=entry.headers)
        book.compile()
        return {topic: book.plan(topic) for topic in book.topics}

    @cached_property
    def plan_reader(self) -> PlanReader:
        """What a worker with the keys of this machine believes of hub.plan, without plans."""
        return PlanReader(
            log=lambda: PlanLog(self.settings.bootstrap, self.names.plan),
            book=self._new_book,
            mark=lambda: (keys_mark(self.settings.keys_folder), self.admin.topic_ids([self.names.plan])),
        )

    def _new_book(self) -> PlanBook:
        """Return an empty book, which proves what it takes by the keys of this machine."""
        folder = self.settings.keys_folder
        return PlanBook(
            scope=self.names.scope,
            trust=load_trust_keys(folder),
            master_keys=load_master_keys(folder),
            limits=limits_of(self.settings.exchange),
            alarm=lambda _: None,
        )

    def signed_terms(self) -> SignedTerms:
        """Return every signed version of every agreement, as the ledger rates by them, and where SQL is not what was signed."""
        trust = load_trust_keys(self.settings.keys_folder)
        with reading(self.engine) as connection:
            return read_signed_terms(connection, scope=self.names.scope, trust=trust)

    def collector(self) -> Collector:
        """Return a new ledger collector."""
        return Collector(self.settings.bootstrap, self.names, self.engine)

    @cached_property
    def upkeep(self) -> Upkeep:
        """The upkeep of topics; the serve that leads runs it."""
        return Upkeep(
            admin=self.admin,
            engine=self.engine,
            names=self.names,
            catalogue=self.catalogue,
            shelf=self.shelf,
            replication=self.settings.broker.replication,
            plan_lost=lambda: self.control.desk.unfinished.set(),  # noqa: PLW0108 - the control plane is made later
        )

    def ensure_topics(self) -> None:
        """Make hub.plan and hub.usage where they are missing; HUB-BROKER-002 for a cluster that is too old."""
        self.admin.check_version()
        self.upkeep.begin()

    def take_over(self, *, adopt_plan: bool = False, lead_with: str | None = None) -> PlanKeeper:
        """Become the one writer: topics, repair of hub.plan, check values of the keys. The caller holds the lock of the state folder.

        With ``adopt_plan`` SQL first takes over what hub.plan says beyond it: the way on after a restored backup. HUB-KEY-005 where
        another officer's key signed hub.plan, unless ``lead_with`` names the one here.
        """
        folder = self.settings.keys_folder
        self.ensure_topics()
        self.connections.gate.own_plan(self.names)
        effects = Effects(adopted=self._was_adopted, chain_held=self._chain_held)
        keeper = self.control.keeper(self.plan_log, load_trust_keys(folder), effects=effects)
        new_officer = keeper.require_officer(told=lead_with)
        self.upkeep.hold_own()
        self.anchor.open()
        if adopt_plan:
            lost = self.anchor.lost()
            self.control.adopt_plan(keeper, actor=self.officer, lost=lost)
            if lost is not None:
                self.anchor.renew()
        with writing(self.engine) as connection:
            self.registry.note_forms(connection)
        keeper.repair()
        self.upkeep.mend()
        if self.control.desk.closed is None:
            self.control.publish_keys(load_master_keys(folder), actor=self.officer, anew=new_officer)
        self.remember_topics()
        return keeper

    def remember_topics(self) -> None:
        """Keep the ids of the topics that published datasets have now: usage of other topics is posted to nobody."""
        with reading(self.engine) as connection:
            topics = {self.names.dept(row.entry.dataset): row.entry.dataset for row in self.catalogue.all(connection) if row.published}
            known = known_topics(connection, scope=self.names.scope)
        fresh = {topic: str(topic_id) for topic, topic_id in self.admin.topic_ids(topics).items() if str(topic_id) not in known}
        if fresh:
            with writing(self.engine) as connection:
                for topic, topic_id in fresh.items():
                    remember_topic(connection, scope=self.names.scope, dataset=topics[topic], topic=topic, topic_id=topic_id)

    def resume_chain(self, chain_id: ChainId, *, dataset: str | None = None) -> Resumed:
        """Read a held chain again from where it is held: an act, where there is something to do.

        HUB-LEDGER-005 for one that is not known, HUB-LEDGER-009 where no dataset has its topic and
        ``dataset`` does not say whose it was, and where no lane has its partition or pass.
        """
        row = find_chain(self.engine, chain_id, scope=self.names.scope)
        if row.chain.held is None:
            return resumed(row, posted=0)
        act = Act(verb="resume.chain", object_type="chain", object_id=str(chain_id), object_version=None)
        with self.control.outside.acting(act, actor=self.officer):
            if row.chain.held.reason in STRANGE:
                self._accept(row, dataset)
            return resume(chain_id, bootstrap=self.settings.bootstrap, names=self.names, engine=self.engine)

    def accept_loss(self, loss: str | None, *, dry_run: bool = False) -> AcceptedLoss:
        """Go on without what hub.usage has lost for good: an act, whose effect is one SQL transaction. A dry run shows it.

        HUB-LEDGER-010 where nothing is lost, HUB-LEDGER-011 where ``loss`` is not what is lost now, HUB-LEDGER-006 where it cannot be
        accepted.
        """
        act = Act(verb="accept.loss", object_type="usage", object_id=loss if loss and is_loss_id(loss) else "-")
        desk = self.control.desk
        with desk.acting(act, actor=self.officer, dry_run=dry_run) as opened:

            def record(connection: Connection, told: str) -> None:
                opened.act = msgspec.structs.replace(act, after_hash=told)
                desk.done_within(connection, opened)

            if dry_run:
                return show_loss(self.engine, admin=self.admin, names=self.names)
            return accept_loss(
                loss, engine=self.engine, admin=self.admin, names=self.names, correlation_id=opened.correlation_id, record=record
            )

    def _accept(self, row: ChainRow, dataset: str | None) -> None:
        """Keep that a chain's topic was a dataset's, on the word of who resumes it; nothing is kept where no lane has the chain."""
        with writing(self.engine) as connection:
            known = known_topics(connection, scope=self.names.scope, topic_id=row.id.topic_id)
            if not known:
                if dataset is None or self.names.dept(dataset) != row.source_topic:
                    fix = "where it was a dataset's topic that is gone by now, name the dataset: `--dataset ORG/DATASET`"
                    raise HubError("HUB-LEDGER-009", f"chain `{row.id}` is of a topic that no dataset has or had", fix)
                known = {row.id.topic_id: self.catalogue.require(connection, dataset).entry.partitions}
                topic_id = row.id.topic_id
                remember_topic(connection, scope=self.names.scope, dataset=dataset, topic=row.source_topic, topic_id=topic_id)
            if (found := strangeness(row.id, known)) is not None:
                raise HubError("HUB-LEDGER-009", f"chain `{row.id}` is of a partition or pass that no lane has", way_on(row.id, found))

    def adopt(self, lane: TopicPartition, *, at: int, dry_run: bool = False) -> Adopted:
        """Let a stopped lane go on at ``at``: an act. HUB-LANE-003, -009 and -010 refuse."""
        fits = 0 <= at <= OFFSET_MAX
        act = Act(verb="adopt.position", object_type="lane", object_id=identifier(str(lane)), object_version=at if fits else None)
        desk = self.control.desk
        with desk.acting(act, actor=self.officer, dry_run=dry_run) as opened:
            if not fits:
                raise HubError("HUB-API-001", "an offset is from 0 to 2^63 - 1", "`cityhub exchange status` shows where each lane stands")
            with writing(self.engine) as connection:
                self._require_lane(connection, lane)
                live = [row.terms for row in self.shelf.all(connection) if row.live]
                if not dry_run:
                    desk.intend(connection, opened)
            if not dry_run:
                self.remember_topics()
            try:
                found = adopt(
                    lane,
                    at=at,
                    admin=self.admin,
                    gate=self.connections.gate,
                    names=self.names,
                    agreements=[(terms.id, terms.version) for terms in live if self.names.dept(terms.dataset) == lane.topic],
                    dry_run=dry_run,
                )
            except HubError as error:
                opened.staged = opened.intended and error.entry.exit is ExitCode.DEPENDENCY  # its fate is not known: repair looks
                raise
            if not dry_run:
                desk.done(opened)
        return found

    def _was_adopted(self, lane: TopicPartition, at: int) -> bool:
        return was_adopted(lane, at=at, admin=self.admin, gate=self.connections.gate, names=self.names)

    def _chain_held(self, chain: str) -> str | None:
        try:
            held = find_chain(self.engine, ChainId.parse(chain), scope=self.names.scope).chain.held
        except HubError as error:
            return error.message
        return None if held is None else f"the chain is held at usage offset {held.usage_offset}; steps posted before stay posted"

    def lanes(self) -> tuple[LaneStatus, ...]:
        """Return where each lane of the published datasets stands, as Kafka has it and workers tell, and what hub.plan stops."""
        with reading(self.engine) as connection:
            partitions = self._partitions(connection)
        rows = lane_statuses(self.admin, names=self.names, topics=list(partitions))
        stops = self._plan_stops(partitions)
        placed = tuple(_stopped(_within(row, partitions[row.topic]), stops.get(row.topic)) for row in rows)
        return told_by_workers(placed, admin=self.admin, names=self.names)

    def _plan_stops(self, topics: Collection[str]) -> Mapping[str, HubError]:
        """Return the topics that stand still for what hub.plan says; none where this machine has no keys to read it with."""
        if not has_keys(self.settings.keys_folder):
            return {}
        stopped, key_fault = self.plan_reader.ask(lambda book: (book.stopped, book.key_fault))
        return stopped if key_fault is None else dict.fromkeys(topics, key_fault)

    def _partitions(self, connection: Connection) -> dict[str, int]:
        """Return how many partitions the published datasets have, by topic."""
        return {self.names.dept(row.entry.dataset): row.entry.partitions for row in self.catalogue.all(connection) if row.published}

    def _require_lane(self, connection: Connection, lane: TopicPartition) -> None:
        """Hold that the dataset of a lane has such a partition; HUB-LANE-012 where its topic was given more."""
        partitions = self._partitions(connection).get(lane.topic)
        if partitions is not None and lane.partition >= partitions:
            raise beyond_the_dataset(lane, partitions)

    def forget_connections(self) -> None:
        """Close what speaks to Kafka, so that the next use connects anew."""
        with self._lock:
            if "plan_log" in self.__dict__:
                self.plan_log.close()
            if "connections" in self.__dict__:
                self.connections.gate.close()
                self.connections.revocation_admin.close()
            if "plan_reader" in self.__dict__:
                self.plan_reader.close()
            if "admin" in self.__dict__:
                self.admin.close()
            for name in ("plan_log", "control", "upkeep", "connections", "admin"):
                self.__dict__.pop(name, None)

    def close(self) -> None:
        """Close every part that was made."""
        self.forget_connections()
        if "engine" in self.__dict__:
            self.engine.dispose()


def _within(row: LaneStatus, partitions: int) -> LaneStatus:
    """Say of a lane that its dataset has no such partition, where that is so: no position would help it."""
    if row.partition < partitions:
        return row
    fault = beyond_the_dataset(TopicPartition(row.topic, row.partition), partitions)
    return msgspec.structs.replace(row, code=fault.code, cause=fault.message, fix=fault.fix)


def _stopped(row: LaneStatus, fault: HubError | None) -> LaneStatus:
    """Say of a lane that hub.plan stops it, where nothing else does."""
    if fault is None or row.code is not None:
        return row
    return msgspec.structs.replace(row, code=fault.code, cause=fault.message, fix=fault.fix)


def knows_tariff(tariff: str) -> bool:
    """Tell whether the ledger has a price for a tariff's reference."""
    try:
        released_tariffs().check(tariff)
    except HubError:
        return False
    return True
