"""The program of a plan: its decoders, predicates and forms, compiled once and shared by every step that runs the plan.

Decoding is shared by all agreements, and so is a row rule that several of them have. Programs live as long as their plan.
"""

import threading
from collections.abc import Mapping
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

import msgspec

from hub.exchange.plan import Plan
from hub.exchange.reference.anonymise import Form, KeyForm, compile_form, compile_key, delivers_tombstones
from hub.exchange.reference.authorise import Predicate, compile_rule
from hub.exchange.reference.decode import Decode, compile_decoder
from hub.model.agreement import Rule
from hub.model.framing import frame_header
from hub.model.source_schema import SourceSchema


class ShareProgram(NamedTuple):
    """One agreement on one writer schema."""

    test: int | None
    """Which of the writer's predicates is its row rule; None: every row."""
    form: Form | None
    """None: the agreement has no output schema for this writer schema."""


class WriterProgram(NamedTuple):
    """One writer schema."""

    decode: Decode
    tests: tuple[Predicate, ...]
    shares: tuple[ShareProgram, ...]
    """In the plan's order of agreements."""


class Program(NamedTuple):
    """What a plan compiles to."""

    writers: Mapping[bytes, WriterProgram]
    """By the five bytes that frame the writer's values."""
    keys: tuple[KeyForm, ...]
    """In the plan's order of agreements."""
    tombstones: tuple[bool, ...]
    """Whether tombstones with a key are delivered, in the plan's order of agreements."""


_PROGRAMS: Final[WeakKeyDictionary[Plan, Program]] = WeakKeyDictionary()
_LOCK: Final = threading.Lock()


def program_of(plan: Plan) -> Program:
    """Return the program of ``plan``, compiling it the first time."""
    with _LOCK:
        found = _PROGRAMS.get(plan)
        if found is None:
            found = _PROGRAMS[plan] = _compile(plan)
        return found


def _compile(plan: Plan) -> Program:
    return Program(
        writers={frame_header(writer_id): _writer(plan, writer_id, schema) for writer_id, schema in plan.writers.items()},
        keys=tuple(compile_key(agreement, key_identifier=plan.key_identifier) for agreement in plan.agreements),
        tombstones=tuple(delivers_tombstones(agreement) for agreement in plan.agreements),
    )


def _writer(plan: Plan, writer_id: int, schema: SourceSchema) -> WriterProgram:
    """Compile each rule once. Rules are told apart by their text: to Python `eq: 1` and `eq: true` are equal, to a union they are not."""
    rules: list[Rule] = []
    places: dict[bytes, int] = {}
    shares = []
    for agreement in plan.agreements:
        if writer_id not in agreement.output_ids:
            shares.append(ShareProgram(test=None, form=None))
            continue
        rows = agreement.terms.rows
        test = None if rows is None else places.setdefault(msgspec.json.encode(rows), len(places))
        if rows is not None and len(places) > len(rules):
            rules.append(rows)
        shares.append(ShareProgram(test=test, form=compile_form(agreement, writer_id=writer_id, schema=schema)))
    return WriterProgram(decode=compile_decoder(schema), tests=tuple(compile_rule(rule, schema) for rule in rules), shares=tuple(shares))
