"""The plan compiler: the bodies of hub.plan about one dataset become the one value that a kernel runs.

A ``Plan`` is proven: every writer schema can be carried, every agreement's terms fit each writer schema that it has an output
schema for, that output schema is what the terms give, and the pseudonym keys are there. Only ``compile_plan`` builds it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from hub.model.agreement import Agreement
from hub.model.entry import AgreementBody, DatasetBody
from hub.model.errors import HubError, Problem
from hub.model.lifecycle import State
from hub.model.output_schema import output_schema
from hub.model.paths import find_place
from hub.model.pseudonym import derive_key
from hub.model.source_schema import SourceSchema, read_schema
from hub.model.terms import check_terms

MEBIBYTE: Final = 1024 * 1024
OutputCodec: TypeAlias = Literal["source", "none", "gzip", "snappy", "lz4", "zstd"]
OUTPUT_BYTES_MAX: Final = 900_000
"""Below the broker's default limit of 1,048,588 bytes for a batch; `exchange.record_bytes_max` and `exchange.output_batch_bytes_max`."""
_PLANNED: Final = (State.ACTIVE, State.SUSPENDED)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of what one step reads and writes, and how output batches are compressed. Bytes are uncompressed."""

    record_bytes_max: int = OUTPUT_BYTES_MAX
    """An output record with more bytes of key and value is quarantined for its agreement."""
    batch_bytes_max: int = OUTPUT_BYTES_MAX
    """Output batches are cut at record borders to stay within this size."""
    output_codec: OutputCodec = "source"
    """`source`: that of the first batch of the step that can be read. A batch that would not shrink goes uncompressed."""
    step_plain_bytes_max: int = 16 * MEBIBYTE
    """Source bytes, however small a producer compressed them. At one of the four bounds a kernel ends the step early, and says where."""
    step_output_bytes_max: int = 64 * MEBIBYTE
    step_quarantined_max: int = 10_000
    step_quarantined_bytes_max: int = 8 * MEBIBYTE


DEFAULT_LIMITS: Final = Limits()


class Ground(NamedTuple):
    """What an agreement of a plan follows from; where all of it is the same, so is the agreement."""

    body: AgreementBody
    key_identifier: str | None
    master_key: bytes | None
    schemas: tuple[tuple[int, str, int, str], ...]
    """Id and text of each writer schema that it has an output schema for, and of that one."""

    def __repr__(self) -> str:
        """Show no key."""
        return f"Ground({self.body.terms.id})"


class PlannedAgreement(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One agreement of a plan: active, or suspended (then its records count denied)."""

    id: str
    version: int
    state: State
    share_topic: str
    terms: Agreement
    output_ids: Mapping[int, int]
    """Output schema id by writer schema id. A record under another writer schema is quarantined for this agreement (fault: hub):
    the control plane appends both together, so that the case means that the terms do not fit the newer schema."""
    pseudonym_keys: Mapping[str, bytes]
    """By identifier kind, for the fields and the record key that are pseudonymised."""
    proven: frozenset[tuple[str, str]] = frozenset()
    """Writer and output schemas that were held against ``terms``, so that the next plan need not do it again."""
    proven_under: tuple[int, str | None] | None = None
    """Key epoch and key identifier under which they were."""
    ground: "Ground | None" = None
    """All that this follows from, so that the next plan takes it as it is where none of it changed."""

    def __repr__(self) -> str:
        """Name the agreement; keys are never shown."""
        return f"PlannedAgreement({self.id}@{self.version} {self.state})"


class Plan(msgspec.Struct, frozen=True, kw_only=True, eq=False, weakref=True):
    """The agreements on one dataset, compiled for the kernel. Equal only to itself: kernels keep what they derive by identity."""

    dataset: str
    topic: str
    quarantine_topic: str
    partitions: int
    plan_offset: int
    """Offset of the last hub.plan record that this plan contains."""
    key_identifier: str | None
    agreements: tuple[PlannedAgreement, ...]
    """Sorted by id."""
    writers: Mapping[int, SourceSchema]
    """Writer schemas by id: those under this dataset's subject, and no others."""
    limits: Limits
    refused: Mapping[str, HubError] = {}
    """Agreements that could not be compiled, by id, each with the reason: they stand in the plan as suspended, with nothing granted."""

    def in_term(self, now_ms: int) -> tuple[bool, ...]:
        """Tell for each agreement, in order, whether ``now_ms`` lies in its term."""
        return tuple(agreement.terms.in_term(now_ms) for agreement in self.agreements)

    def same_terms(self, one_ms: int, other_ms: int) -> bool:
        """Tell whether every term is decided alike at both times; asked for each step, and almost always answered by the borders."""
        low, high = min(one_ms, other_ms), max(one_ms, other_ms)
        terms = [agreement.terms for agreement in self.agreements]
        crossed = [one for one in terms if low < one.valid_until_ms <= high or low < (one.valid_from_ms or low) <= high]
        return all(one.in_term(low) == one.in_term(high) for one in crossed)


def compile_plan(
    *,
    dataset: DatasetBody,
    agreements: Sequence[AgreementBody],
    schemas: Mapping[int, str],
    master_keys: Mapping[int, bytes],
    scope: str,
    plan_offset: int,
    limits: Limits = DEFAULT_LIMITS,
    before: Plan | None = None,
) -> Plan:
    """Compile what hub.plan says about ``dataset`` up to ``plan_offset``; agreements on other datasets are left out.

    ``schemas`` holds the schemas of hub.plan by id, ``master_keys`` the master keys by epoch. Never half compiled: HUB-PLAN-002 when a
    writer schema is missing. What is wrong with one agreement costs that agreement, whose records are denied: HUB-AGREE-005 when its
    terms do not fit or an output schema is not what they give, HUB-PLAN-002 when one is missing, HUB-KEY-002 when a master key is.
    What the plan ``before`` has proven of the same terms and schemas is not proven again: a change of one agreement costs that one.
    """
    known = {agreement.id: agreement for agreement in before.agreements} if before is not None else {}
    writers = {writer: read_schema(_schema(schemas, writer)) for writer in dataset.schema_ids}
    planned: list[PlannedAgreement] = []
    refused: dict[str, HubError] = {}
    for body in agreements:
        if body.terms.dataset != dataset.dataset or body.state not in _PLANNED:
            continue
        try:
            one = _agreement(
                body,
                dataset=dataset,
                schemas=schemas,
                writers=writers,
                master_keys=master_keys,
                scope=scope,
                before=known.get(body.terms.id),
            )
            planned.append(one)
        except HubError as error:
            refused[body.terms.id] = error
        except Exception as error:  # noqa: BLE001 - whatever one agreement does to the compiler, the others go on
            fix = "serve and worker may be of different versions: update this worker, else report this"
            refused[body.terms.id] = HubError("HUB-AGREE-005", f"agreement `{body.terms.id}` fails with {type(error).__name__}", fix)
        if body.terms.id in refused:
            planned.append(_denied(body))
    return Plan(
        dataset=dataset.dataset,
        topic=dataset.topic,
        quarantine_topic=dataset.quarantine_topic,
        partitions=dataset.partitions,
        plan_offset=plan_offset,
        key_identifier=dataset.key_identifier,
        agreements=tuple(sorted(planned, key=lambda agreement: agreement.id)),
        writers=writers,
        limits=limits,
        refused=refused,
    )


def _denied(body: AgreementBody) -> PlannedAgreement:
    """Return an agreement that is counted, and denied whatever its terms say: no kernel looks at what could not be compiled."""
    return PlannedAgreement(
        id=body.terms.id,
        version=body.terms.version,
        state=State.SUSPENDED,
        share_topic=body.share_topic,
        terms=msgspec.structs.replace(body.terms, fields=(), rows=None, key="drop"),
        output_ids={},
        pseudonym_keys={},
    )


def _agreement(
    body: AgreementBody,
    *,
    dataset: DatasetBody,
    schemas: Mapping[int, str],
    writers: Mapping[int, SourceSchema],
    master_keys: Mapping[int, bytes],
    scope: str,
    before: PlannedAgreement | None,
) -> PlannedAgreement:
    output_ids = {int(writer): output for writer, output in body.output_schema_ids.items() if int(writer) in writers}
    texts = tuple((writer, schemas[writer], output, _schema(schemas, output)) for writer, output in output_ids.items())
    ground = Ground(body, dataset.key_identifier, master_keys.get(body.key_epoch), texts)
    if before is not None and before.ground is not None and before.ground.body is body and before.ground[1:] == ground[1:]:
        return before
    under = (body.key_epoch, dataset.key_identifier)
    same = before is not None and before.proven_under == under and before.terms == body.terms
    proven = before.proven if before is not None and same else frozenset()
    pairs = {(writer_text, output_text): output for _, writer_text, output, output_text in texts}
    for (writer_schema, output_schema_text), output_id in pairs.items():
        if (writer_schema, output_schema_text) not in proven:
            _check(body, writer=writer_schema, output=output_schema_text, output_id=output_id, key_identifier=dataset.key_identifier)
    kinds = set(_pseudonym_kinds(body.terms, [writers[writer] for writer in output_ids], dataset.key_identifier))
    return PlannedAgreement(
        id=body.terms.id,
        version=body.terms.version,
        state=body.state,
        share_topic=body.share_topic,
        terms=body.terms,
        output_ids=output_ids,
        proven=frozenset(pairs),
        proven_under=under,
        ground=ground,
        pseudonym_keys={kind: _key(body, kind, master_keys=master_keys, scope=scope) for kind in sorted(kinds)},
    )


def _schema(schemas: Mapping[int, str], schema_id: int) -> str:
    if schema_id not in schemas:
        raise HubError(
            "HUB-PLAN-002",
            f"schema `{schema_id}` is referred to by hub.plan and does not stand there",
            "start `cityhub serve`: it appends what is missing in hub.plan",
        )
    return schemas[schema_id]


def _check(body: AgreementBody, *, writer: str, output: str, output_id: int, key_identifier: str | None) -> None:
    """Hold that the terms fit the writer schema, and that the registered output schema is theirs and no wider."""
    faults = check_terms(body.terms, writer, key_identifier=key_identifier)
    if faults:
        raise HubError(
            "HUB-AGREE-005",
            f"agreement `{body.terms.id}` has {len(faults)} terms that do not fit the schema",
            "change the terms and sign a new version",
            problems=tuple(Problem(f"agreement `{body.terms.id}`", fault.field, fault.message, fault.fix) for fault in faults),
        )
    if json.loads(output_schema(body.terms, writer, key_epoch=body.key_epoch)) != json.loads(output):
        raise HubError(
            "HUB-AGREE-005",
            f"output schema `{output_id}` is not what the terms of agreement `{body.terms.id}` give",
            "sign the agreement again; if that does not help, serve and worker are of different versions",
        )


def _pseudonym_kinds(terms: Agreement, writers: Sequence[SourceSchema], key_identifier: str | None) -> Iterator[str]:
    if terms.key == "pseudonym" and key_identifier is not None:
        yield key_identifier
    for grant in terms.fields:
        if grant.transform != "pseudonym":
            continue
        for writer in writers:
            kind = grant.identifier or find_place(grant.name, writer).field.identifier
            if kind is not None:
                yield kind


def _key(body: AgreementBody, kind: str, *, master_keys: Mapping[int, bytes], scope: str) -> bytes:
    master = master_keys.get(body.key_epoch)
    if master is None:
        raise HubError(
            "HUB-KEY-002",
            f"agreement `{body.terms.id}` needs the master key of epoch {body.key_epoch}, which is not in the keys folder",
            f"copy `keys/master-{body.key_epoch}.key` from another worker",
        )
    return derive_key(master, scope=scope, consumer=body.terms.consumer, purpose=body.terms.purpose, kind=kind, epoch=body.key_epoch)
