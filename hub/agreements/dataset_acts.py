"""Acts on datasets: apply an entry, publish it.

Order of ``publish``: the act is intended, topics are made, every lane is opened at the earliest offset with
step 0, then schema and dataset entries are appended together, and the act is done. Done again after a crash, it opens only the
lanes that have no position yet: a lane's position is never reset.
"""

from collections.abc import Mapping

import msgspec
from sqlalchemy import Connection

from hub.agreements.desk import now_ms
from hub.agreements.outputs import schema_drafts
from hub.agreements.publisher import Draft
from hub.agreements.upkeep import set_back
from hub.agreements.wiring import Wiring
from hub.broker.topics import dept_topic, quarantine_topic
from hub.catalogue.datasets import CatalogueRow, shipped_schema
from hub.catalogue.entry_file import parse_dataset_entry
from hub.catalogue.gate import check_schema
from hub.catalogue.registry import Registered
from hub.catalogue.topics import remember_topic
from hub.model.dataset import DatasetEntry
from hub.model.entry import DatasetBody, Kind
from hub.model.errors import HubError, Problem
from hub.model.names import TopicPartition, dataset_parts
from hub.model.usage import ZERO_HASH, Position
from hub.observe.failpoints import failpoint
from hub.store.acts import Act, Actor, content_hash
from hub.store.engine import reading, writing


class DatasetChange(msgspec.Struct, frozen=True, kw_only=True):
    """What an act on a dataset came to."""

    dataset: str
    outcome: str
    """``new``, ``changed``, ``exists`` or ``published``; ``would be …`` in a dry run."""
    state: str
    topic: str
    subject: str
    schema_ids: tuple[int, ...]
    partitions: int
    plan_offset: int | None = None
    """Offset of the dataset's entry in hub.plan, where this act appended one."""


class DatasetActs:
    """Applies and publishes datasets."""

    def __init__(self, wiring: Wiring) -> None:
        """Work with ``wiring``."""
        self._w = wiring

    def apply(self, text: str, *, file: str, schema: str | None, actor: Actor, dry_run: bool = False) -> DatasetChange:
        """Store an entry and register its schema: ``schema`` as sent, else the one that the hub ships under the entry's path."""
        w = self._w
        act = Act(verb="apply.dataset", object_type="dataset", object_id="(file)")
        with w.desk.acting(act, actor=actor, dry_run=dry_run) as opened:
            entry = self._read(text, file=file, schema=schema)
            opened.act = msgspec.structs.replace(act, object_id=entry.dataset, after_hash=content_hash(entry))
            schema_text = schema if schema is not None else shipped_schema(entry.schema)
            if schema_text is not None:
                with reading(w.desk.engine) as connection:
                    self._require_gate(connection, entry, schema_text)
            with w.slow_lock, w.desk.changing(), writing(w.desk.engine) as connection:
                outcome = w.catalogue.check_change(connection, entry)
                self._require_schema(connection, entry, schema_text)
                self._require_shared(connection, entry)
                if dry_run:
                    return self._change(connection, entry, f"would be {outcome}")
                if outcome != "exists":
                    w.catalogue.put(connection, entry, at_ms=now_ms())
                subject = w.names.dept_subject(entry.dataset)
                known = w.registry.versions(connection, subject)
                if not known and schema_text is not None:
                    wording = w.registry.first_wording(connection, schema_text)
                    w.registry.register(connection, subject=subject, schema=wording, at_ms=now_ms())
                    outcome = "changed" if outcome == "exists" else outcome
                if outcome != "exists":
                    w.desk.done_within(connection, opened)
                return self._change(connection, entry, outcome)

    def publish(self, dataset: str, *, actor: Actor, dry_run: bool = False) -> DatasetChange:
        """Open a dataset for records; done again it changes nothing and answers ``exists``."""
        w = self._w
        act = Act(verb="publish.dataset", object_type="dataset", object_id="(no dataset name)")
        with w.desk.acting(act, actor=actor, dry_run=dry_run) as opened, w.slow_lock:
            dataset_parts(dataset)
            opened.act = msgspec.structs.replace(act, object_id=dataset)
            with writing(w.desk.engine) as connection:
                row = w.catalogue.require(connection, dataset)
                versions = self._require_versions(connection, row.entry)
                if row.published or dry_run:
                    return self._change(connection, row.entry, "exists" if row.published else "would be published")
                w.desk.intend(connection, opened)
            self._make_topics(row.entry)
            topic_id = self._open_lanes(row.entry)
            with w.desk.changing(), writing(w.desk.engine) as connection:
                w.catalogue.mark_published(connection, dataset, at_ms=now_ms())
                remember_topic(connection, scope=w.names.scope, dataset=dataset, topic=w.names.dept(dataset), topic_id=topic_id)
                staged = w.publisher.stage(connection, self._drafts(connection, row.entry, versions), correlation_id=opened.correlation_id)
                opened.staged = True
            failpoint("plan.stored")
            offset = w.append(staged)
            w.desk.done(opened)
            with reading(w.desk.engine) as connection:
                return msgspec.structs.replace(self._change(connection, row.entry, "published"), plan_offset=offset)

    def entries(self) -> tuple[CatalogueRow, ...]:
        """Return every dataset of the catalogue."""
        with reading(self._w.desk.engine) as connection:
            return self._w.catalogue.all(connection)

    def _read(self, text: str, *, file: str, schema: str | None) -> DatasetEntry:
        """Read an entry; with its faults those of the schema that came with it are told, so that both are mended in one round."""
        try:
            return parse_dataset_entry(text, file=file, kind_kept=self._kind_kept)
        except HubError as error:
            if schema is None or error.code != "HUB-DATASET-001":
                raise
            problems = (*error.problems, *_schema_problems(schema, file))
            raise HubError(error.code, error.message, error.fix, problems=problems) from None

    def _kind_kept(self, dataset: str) -> str | None:
        with reading(self._w.desk.engine) as connection:
            known = self._w.catalogue.find(connection, dataset)
        return None if known is None else known.entry.key_identifier

    def _require_gate(self, connection: Connection, entry: DatasetEntry, schema: str) -> None:
        """Hold that a schema passes the gate; one that is registered did."""
        subject = self._w.names.dept_subject(entry.dataset)
        if self._w.registry.find(connection, subject=subject, schema=schema) is None:
            earlier = [version.schema for version in self._w.registry.versions(connection, subject)]
            check_schema(schema, where=entry.schema, earlier=earlier)

    def _require_schema(self, connection: Connection, entry: DatasetEntry, schema: str | None) -> None:
        """Hold that the dataset has, or now gets, a schema; a further version is registered by itself."""
        subject = self._w.names.dept_subject(entry.dataset)
        known = self._w.registry.versions(connection, subject)
        if schema is not None:
            if known and self._w.registry.find(connection, subject=subject, schema=schema) is None:
                fix = f"`cityhub schema register {entry.dataset} FILE`, then apply the entry"
                raise HubError("HUB-DATASET-004", f"schema `{entry.schema}` is not a registered version of `{subject}`", fix)
        elif not known:
            raise HubError(
                "HUB-SCHEMA-003",
                f"schema `{entry.schema}` of dataset `{entry.dataset}` is not there",
                "put it under `avro_schemas/` beside the entry, or register it under the dataset's subject",
            )

    def _require_shared(self, connection: Connection, entry: DatasetEntry) -> None:
        """Hold that a dataset which is no longer shared has no live agreement."""
        live = self._w.shelf.live_on(connection, entry.dataset) if entry.sharing == "not_shared" else ()
        if live:
            ids = ", ".join(f"`{row.terms.id}`" for row in live)
            raise HubError("HUB-AGREE-006", f"dataset `{entry.dataset}` has live agreements: {ids}", "end them first")

    def _require_versions(self, connection: Connection, entry: DatasetEntry) -> tuple[Registered, ...]:
        subject = self._w.names.dept_subject(entry.dataset)
        versions = self._w.registry.versions(connection, subject)
        if not versions:
            raise HubError("HUB-SCHEMA-003", f"subject `{subject}` has no schema", "register one: `cityhub schema register`")
        return versions

    def _make_topics(self, entry: DatasetEntry) -> None:
        """Make both topics; one that is there has what serve may set set back, as an older version may have made it otherwise."""
        w = self._w
        kept = {"partitions": entry.partitions, "replication": w.replication}
        specs = [dept_topic(w.names, entry.dataset, **kept), quarantine_topic(w.names, entry.dataset, **kept)]
        set_back(w.admin, specs)
        w.admin.create_topics(specs)

    def _open_lanes(self, entry: DatasetEntry) -> str:
        """Commit the earliest offset with step 0 for each lane that has no position; returns the topic's id."""
        w = self._w
        topic = w.names.dept(entry.dataset)
        lanes = [TopicPartition(topic, partition) for partition in range(entry.partitions)]
        topic_id = w.admin.topic_ids([topic])[topic]
        standing = w.admin.committed(w.names.exchange_group, lanes)
        for lane, (offset, metadata) in standing.items():
            position = Position.parse(offset=offset, metadata=metadata, lane=str(lane))
            if position.topic_id != topic_id:
                raise HubError(
                    "HUB-LANE-002", f"`{lane}` has a position of an earlier topic", f"look at `cityhub exchange status`, then adopt {lane}"
                )
        begins = w.admin.begin_offsets([lane for lane in lanes if lane not in standing])
        plan = TopicPartition(w.names.plan, 0)
        plan_offset = max(w.admin.end_offsets([plan])[plan] - 1, 0)
        opening: Mapping[TopicPartition, Position] = {
            lane: Position(offset=begin, topic_id=topic_id, step=0, plan_offset=plan_offset, plan_from=begin, head=ZERO_HASH)
            for lane, begin in begins.items()
        }
        if opening:
            w.gate.open(opening, names=w.names)
        return str(topic_id)

    def _drafts(self, connection: Connection, entry: DatasetEntry, versions: tuple[Registered, ...]) -> list[Draft]:
        w = self._w
        schemas = schema_drafts(w, connection, {found.schema_id: found.schema for found in versions})
        return [*schemas, Draft(Kind.DATASET, entry.dataset, dataset_body(w, entry, tuple(found.schema_id for found in versions)))]

    def _change(self, connection: Connection, entry: DatasetEntry, outcome: str) -> DatasetChange:
        w = self._w
        row = w.catalogue.find(connection, entry.dataset)
        subject = w.names.dept_subject(entry.dataset)
        return DatasetChange(
            dataset=entry.dataset,
            outcome=outcome,
            state=row.state if row is not None else "new",
            topic=w.names.dept(entry.dataset),
            subject=subject,
            schema_ids=tuple(found.schema_id for found in w.told.versions(connection, subject)),
            partitions=entry.partitions,
        )


def _schema_problems(schema: str, file: str) -> tuple[Problem, ...]:
    try:
        check_schema(schema, where=f"schema of {file}")
    except HubError as error:
        return error.problems or (Problem(f"schema of {file}", "", error.message, error.fix),)
    return ()


def dataset_body(w: Wiring, entry: DatasetEntry, schema_ids: tuple[int, ...]) -> DatasetBody:
    """Return what hub.plan says about a published dataset."""
    return DatasetBody(
        dataset=entry.dataset,
        topic=w.names.dept(entry.dataset),
        quarantine_topic=w.names.quarantine(entry.dataset),
        partitions=entry.partitions,
        schema_ids=schema_ids,
        key_identifier=entry.key_identifier,
    )
