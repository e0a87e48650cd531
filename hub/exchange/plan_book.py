"""The plan book: what a worker believes of hub.plan, entry by entry, and the plans compiled from it.

An entry changes the book only if it is proven, understood, and its revision is newer than the one known (``plan_entry``). The same
revision with the same bytes again is a repair: it moves the offset and nothing else, so that a worker that started after compaction
and one that did not agree on the plan offset. Anything else is refused with an alarm. A newer entry that this hub made and this
worker cannot obey stops the datasets that it names until a newer one of the same object can be read: never does the older right
stay in force, since the newer may have taken it away.
A plan's offset is that of the last entry that it contains: ended agreements count, since they narrowed it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hub.exchange.plan import Limits, Plan, compile_plan
from hub.exchange.plan_entry import EVERYTHING, Halting, Keys, Obeyed, Record, read_record
from hub.exchange.plan_index import Known, PlanIndex
from hub.model.entry import AgreementBody, Body, DatasetBody, signing_bytes
from hub.model.errors import HubError
from hub.model.pseudonym import check_value
from hub.settings import ExchangeSettings

_NO_KEYS: Final = HubError("HUB-KEY-002", "hub.plan holds no check value of a master key", "start `cityhub serve` once")


class _Stops(NamedTuple):
    """Why datasets must stand still: the reason of each, and that of all of the scope."""

    datasets: dict[str, HubError]
    everything: HubError | None = None

    def why(self, dataset: str | None) -> HubError | None:
        """Return why a dataset must stand still, None where it need not."""
        return self.everything or self.datasets.get(dataset or "")

    def also(self, halting: Halting) -> "_Stops":
        """Return these and what one more entry stops; a reason that is told stays."""
        if halting.datasets is None:
            return self._replace(everything=self.everything or halting.why)
        for dataset in halting.datasets:
            self.datasets.setdefault(dataset, halting.why)
        return self


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
        self._keys = Keys(scope, trust, master_keys)
        self._limits = limits
        self._alarm = alarm
        self._known = PlanIndex()
        self._halting: dict[bytes, Halting] = {}
        self._datasets: dict[str, str] = {}
        """The published datasets by their topics."""
        self._stops = _Stops({})
        self._superseded: set[bytes] = set()
        """Objects that a newer entry lets go on, once the plans with it are compiled: until then they stand still."""
        self._key_fault: HubError | None = _NO_KEYS
        self._schemas_halt = False
        """True until the plans are compiled without a schema whose newer entry cannot be obeyed."""
        self._plans: dict[str, Plan | HubError] = {}

    def apply(self, value: bytes, *, offset: int, key: bytes | None = None, headers: Sequence[tuple[str, bytes | None]] = ()) -> bool:
        """Take one record of hub.plan; True when it changed the book. A refusal is alarmed, never raised."""
        try:
            read = read_record(Record(value, offset, key, headers), self._keys)
            return self._halt(read, offset) if isinstance(read, Halting) else self._take(read, offset)
        except HubError as error:
            self._alarm(error)
            return False

    def compile(self) -> frozenset[str]:
        """Compile what changed; returns the topics whose plan is another now. A plan that fails to compile stops its dataset."""
        changed, touched = set(), set(self._known.touched)
        schemas = self._known.schemas(without=self._halting.keys() - self._superseded)
        for known, dataset in self._known.datasets():
            before = self._plans.get(dataset.topic)
            if isinstance(before, Plan) and not (dataset.dataset in touched or before.refused or self._schemas_halt):
                continue
            mine = self._known.agreements(dataset.dataset)
            offset = max(found.offset for found in (known, *mine))
            if isinstance(before, Plan) and before.plan_offset == offset and not (before.refused or self._schemas_halt):
                continue
            self._plans[dataset.topic] = self._compiled(dataset, [found.body for found in mine], schemas, offset, before)
            changed.add(dataset.topic)
        self._known.touched -= touched
        self._schemas_halt = False
        self.settle()
        return frozenset(changed)

    def settle(self) -> None:
        """Take what was applied as told, without plans: enough for whoever asks what stands still, and decides nothing."""
        self._key_fault = self._hold_keys()
        if self._superseded:
            for key in self._superseded:
                del self._halting[key]
            self._superseded.clear()
            self._stops = _stops_of(self._halting)

    def plan(self, topic: str) -> Plan:
        """Return the plan of a dataset's topic; HubError when there is none, it does not compile, or the dataset must stand still.

        Also when the master keys are not the hub's: pseudonyms would be others.
        """
        fault = self._key_fault
        if fault is None:
            fault = self._stops.why(self._datasets.get(topic))
        found = self._plans.get(topic) if fault is None else fault
        if found is None:
            raise HubError("HUB-DATASET-003", f"no dataset is published on `{topic}`", "publish it: `cityhub dataset publish`")
        if isinstance(found, HubError):
            raise HubError(found.code, found.message, found.fix, problems=found.problems)
        return found

    @property
    def topics(self) -> frozenset[str]:
        """Topics of published datasets."""
        return frozenset(self._datasets)

    @property
    def stopped(self) -> Mapping[str, HubError]:
        """Topics whose dataset stands still for what hub.plan says, each with the reason."""
        stops = self._stops
        faults = {topic: stops.why(dataset) or self._plans.get(topic) for topic, dataset in sorted(self._datasets.items())}
        return {topic: fault for topic, fault in faults.items() if isinstance(fault, HubError)}

    @property
    def refused(self) -> Mapping[str, HubError]:
        """Agreements that are denied because this worker cannot compile them, each with the reason."""
        plans = [plan for plan in list(self._plans.values()) if isinstance(plan, Plan)]
        return {agreement_id: fault for plan in plans for agreement_id, fault in plan.refused.items()}

    @property
    def key_epochs(self) -> tuple[int, ...]:
        """Epochs of the master keys whose check values hub.plan holds, in order."""
        return tuple(sorted(body.key_epoch for body in self._known.key_checks()))

    @property
    def key_fault(self) -> HubError | None:
        """Why this worker's master keys are not the hub's, None when they are; as of the last ``compile``."""
        return self._key_fault

    def _hold_keys(self) -> HubError | None:
        published = {body.key_epoch: body.check_value for body in self._known.key_checks()}
        if not published:
            return _NO_KEYS
        for epoch, value in published.items():
            key = self._keys.master_keys.get(epoch)
            if key is None or check_value(key) != value:
                what = "is missing" if key is None else "is another than the hub's"
                fix = f"copy `keys/master-{epoch}.key` from its backup or the hub's first machine: it is read at once"
                return HubError("HUB-KEY-002", f"master key of epoch {epoch} {what}", fix)
        return None

    def _take(self, read: Obeyed, offset: int) -> bool:
        """Believe an entry that is newer than what is known; the same again moves its offset. HubError where it is older."""
        before, halting, revision = self._known.get(read.key), self._halting.get(read.key), read.entry.revision
        if before is not None and signing_bytes(read.entry) == signing_bytes(before.entry):
            self._known.put(read.key, Known(before.entry, before.body, offset))
        else:
            newest = max(before.entry.revision if before else 0, (halting.revision or 0) - 1 if halting else 0)
            if revision <= newest:
                raise _older(read.key, revision, newest, offset)
            self._known.put(read.key, Known(read.entry, read.body, offset))
            self._note_topic(before.body if before else None, read.body)
        if halting is not None and revision >= (halting.revision or 0):
            self._superseded.add(read.key)
        return True

    def _halt(self, read: Halting, offset: int) -> bool:
        """Stop what a newer entry names that cannot be obeyed; HubError where it is older than what is known."""
        before, halting = self._known.get(read.key), self._halting.get(read.key)
        newest = max(before.entry.revision if before else 0, (halting.revision or 0) - 1 if halting else 0)
        if read.revision is not None and read.revision <= newest:
            raise _older(read.key, read.revision, newest, offset)
        if halting is None or (read.why.code, read.revision or halting.revision) != (halting.why.code, halting.revision):
            self._alarm(read.why)
        revision = read.revision if read.revision is not None else newest + 1
        told = frozenset(filter(None, [_dataset_of(before.body) if before else None]))
        datasets = _union(_union(read.datasets, told), halting.datasets if halting else frozenset())
        self._halting[read.key] = read._replace(revision=revision, datasets=datasets)
        self._stops = self._stops.also(self._halting[read.key])
        self._superseded.discard(read.key)
        self._schemas_halt = self._schemas_halt or read.datasets == frozenset()
        return True

    def _note_topic(self, before: Body | None, body: Body) -> None:
        if isinstance(body, DatasetBody):
            if isinstance(before, DatasetBody) and before.topic != body.topic:
                self._datasets.pop(before.topic, None)
            self._datasets[body.topic] = body.dataset

    def _compiled(
        self, dataset: DatasetBody, agreements: list[Body], schemas: Mapping[int, str], offset: int, before: Plan | HubError | None
    ) -> Plan | HubError:
        """Return the plan, or why there is none; what was alarmed before is not alarmed again."""
        try:
            plan = compile_plan(
                dataset=dataset,
                agreements=[body for body in agreements if isinstance(body, AgreementBody)],
                schemas=schemas,
                master_keys=self._keys.master_keys,
                scope=self._keys.scope,
                plan_offset=offset,
                limits=self._limits,
                before=before if isinstance(before, Plan) else None,
            )
        except HubError as error:
            if not isinstance(before, HubError) or before.message != error.message:
                self._alarm(error)
            return error
        told = before.refused if isinstance(before, Plan) else {}
        for agreement_id, fault in plan.refused.items():
            if agreement_id not in told or told[agreement_id].message != fault.message:
                self._alarm(fault)
        return plan


def _stops_of(halting: Mapping[bytes, Halting]) -> _Stops:
    stops = _Stops({})
    for one in halting.values():
        stops = stops.also(one)
    return stops


def _dataset_of(body: Body) -> str | None:
    """Return the dataset that a right or a dataset's entry is about."""
    if isinstance(body, AgreementBody):
        return body.terms.dataset
    return body.dataset if isinstance(body, DatasetBody) else None


def _union(some: frozenset[str] | None, others: frozenset[str] | None) -> frozenset[str] | None:
    return EVERYTHING if some is None or others is None else some | others


def _older(key: bytes, revision: int, newest: int, offset: int) -> HubError:
    return HubError(
        "HUB-PLAN-001",
        f"entry `{key.decode(errors='replace')}` revision {revision} at offset {offset} is not newer than {newest}",
        "nothing: it is ignored, and `cityhub serve` appends the newest again",
    )


def limits_of(settings: ExchangeSettings) -> Limits:
    """Return the limits that the settings give every plan."""
    return Limits(
        record_bytes_max=settings.record_bytes_max,
        batch_bytes_max=settings.output_batch_bytes_max,
        output_codec=settings.output_codec,
    )
