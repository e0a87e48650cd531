"""The plan book: what a worker believes of hub.plan, entry by entry, and the plans compiled from it.

An entry changes the book only if it is signed by a trusted key, belongs to this scope, and its revision is newer than the one
known. The same revision with the same bytes again is a repair: it moves the offset and nothing else, so that a worker that
started after compaction and one that did not agree on the plan offset. Anything else is refused with an alarm.
A plan's offset is that of the last entry that it contains: ended agreements count, since they narrowed it.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hub.exchange.plan import Limits, Plan, compile_plan
from hub.model.entry import AgreementBody, Body, DatasetBody, KeysBody, Kind, SchemaBody, decode_body, plan_key, signing_bytes
from hub.model.errors import HubError
from hub.model.lifecycle import State
from hub.model.pseudonym import check_value
from hub.model.records import PlanEntry, decode_plan_entry
from hub.model.signing import verify_entry
from hub.settings import ExchangeSettings

UNREADABLE: Final = "HUB-PLAN-002"


class _Known(NamedTuple):
    entry: PlanEntry
    body: Body
    offset: int


class PlanBook:
    """Entries of hub.plan by object, and what follows from them."""

    def __init__(
        self,
        *,
        scope: str,
        trust: Mapping[str, Ed25519PublicKey],
        master_keys: Mapping[int, bytes],
        limits: Limits,
        alarm: Callable[[HubError], None],
    ) -> None:
        """``alarm`` is called with every refusal; the limits are those of every plan."""
        self._scope = scope
        self._trust = trust
        self._master_keys = master_keys
        self._limits = limits
        self._alarm = alarm
        self._known: dict[bytes, _Known] = {}
        self._plans: dict[str, Plan | HubError] = {}

    def apply(self, value: bytes, *, offset: int) -> bool:
        """Take one record of hub.plan; True when it changed the book. A refusal is alarmed, never raised."""
        try:
            known = self._prove(value, offset)
        except HubError as error:
            self._alarm(error)
            return False
        self._known[plan_key(Kind(known.entry.kind), known.entry.object_id)] = known
        return True

    def compile(self) -> frozenset[str]:
        """Compile what changed; returns the topics whose plan is another now. A plan that fails to compile stops its dataset."""
        changed = set()
        for known in list(self._known.values()):
            if not isinstance(known.body, DatasetBody):
                continue
            topic, offset = known.body.topic, self._plan_offset(known.body)
            before = self._plans.get(topic)
            if isinstance(before, Plan) and before.plan_offset == offset:
                continue
            try:
                self._plans[topic] = self._compile(known.body, offset)
            except HubError as error:
                self._alarm(error)
                self._plans[topic] = error
            changed.add(topic)
        return frozenset(changed)

    def plan(self, topic: str) -> Plan:
        """Return the plan of a dataset's topic; HubError when there is none or it does not compile."""
        found = self._plans.get(topic)
        if found is None:
            raise HubError("HUB-DATASET-003", f"no dataset is published on `{topic}`", "publish it: `cityhub dataset publish`")
        if isinstance(found, HubError):
            raise found
        return found

    @property
    def topics(self) -> frozenset[str]:
        """Topics of published datasets."""
        return frozenset(known.body.topic for known in self._known.values() if isinstance(known.body, DatasetBody))

    @property
    def key_fault(self) -> HubError | None:
        """Why this worker's master keys are not the hub's, None when they are."""
        published = {known.body.key_epoch: known.body.check_value for known in self._known.values() if isinstance(known.body, KeysBody)}
        if not published:
            return HubError("HUB-KEY-002", "hub.plan holds no check value of a master key", "start `cityhub serve` once")
        for epoch, value in published.items():
            key = self._master_keys.get(epoch)
            if key is None or check_value(key) != value:
                what = "is missing" if key is None else "is another than the hub's"
                return HubError(
                    "HUB-KEY-002", f"master key of epoch {epoch} {what}", f"copy `keys/master-{epoch}.key` from the hub's first machine"
                )
        return None

    def _prove(self, value: bytes, offset: int) -> _Known:
        """Return the entry if it is to be taken; HubError when it is refused."""
        try:
            entry = decode_plan_entry(value)
            kind = Kind(entry.kind)
        except (ValueError, EOFError, IndexError, TypeError) as error:
            raise HubError(
                UNREADABLE, f"record at offset {offset} of hub.plan is no plan entry", "find out who wrote to hub.plan"
            ) from error
        verify_entry(entry, self._trust)
        if entry.scope != self._scope:
            raise HubError(UNREADABLE, f"entry `{kind}/{entry.object_id}` is of scope `{entry.scope}`", "find out who wrote to hub.plan")
        before = self._known.get(plan_key(kind, entry.object_id))
        if before is not None and entry.revision <= before.entry.revision:
            if signing_bytes(entry) == signing_bytes(before.entry):
                return _Known(before.entry, before.body, offset)
            raise HubError(
                "HUB-PLAN-001",
                f"entry `{kind}/{entry.object_id}` revision {entry.revision} at offset {offset} is not newer than {before.entry.revision}",
                "nothing: it is ignored, and `cityhub serve` appends the newest again",
            )
        try:
            return _Known(entry, decode_body(kind, entry.body), offset)
        except msgspec.MsgspecError as error:
            raise HubError(
                UNREADABLE,
                f"body of `{kind}/{entry.object_id}` revision {entry.revision} cannot be read",
                "update this worker: the entry may come from a newer hub",
            ) from error

    def _agreements(self, dataset: DatasetBody) -> list[_Known]:
        return [
            known for known in self._known.values() if isinstance(known.body, AgreementBody) and known.body.terms.dataset == dataset.dataset
        ]

    def _plan_offset(self, dataset: DatasetBody) -> int:
        own = [self._known[plan_key(Kind.DATASET, dataset.dataset)], *self._agreements(dataset)]
        return max(known.offset for known in own)

    def _compile(self, dataset: DatasetBody, offset: int) -> Plan:
        bodies = [known.body for known in self._agreements(dataset) if isinstance(known.body, AgreementBody)]
        live = sorted((body for body in bodies if body.state in {State.ACTIVE, State.SUSPENDED}), key=lambda body: body.terms.id)
        schemas = {known.body.schema_id: known.body.schema for known in self._known.values() if isinstance(known.body, SchemaBody)}
        return compile_plan(
            dataset=dataset,
            agreements=live,
            schemas=schemas,
            master_keys=self._master_keys,
            scope=self._scope,
            plan_offset=offset,
            limits=self._limits,
        )


def limits_of(settings: ExchangeSettings) -> Limits:
    """Return the limits that the settings give every plan."""
    return Limits(
        record_bytes_max=settings.record_bytes_max,
        batch_bytes_max=settings.output_batch_bytes_max,
        output_codec=settings.output_codec,
    )
