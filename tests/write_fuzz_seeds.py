"""Write what the fuzzer of the native kernel begins with; wants the kernel to be built.

For the target ``wire``: small batches in every form in which clients compress, and such as swell to the bounds. The first byte of each
says what the target does with it. For ``engine``: plans as the product lowers them, and records of their schemas; the form is told in
``native/fuzz/src/targets/engine.rs``.
"""

import random
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batch_mutations import forms, plain_batch, sealed
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from plan_cases import Case, cases
from random_records import body_maker, damaged

from hub.broker.codecs import compress
from hub.exchange.native.lowering import lower
from hub.model.records import frame_header


def _record(number: int) -> bytes:
    offset = _length(number)
    return _length(5 + len(offset)) + b"\0\0" + offset + b"\1\1\0"


def _length(value: int) -> bytes:
    rest, out = 2 * value, b""
    while rest >= 0x80:
        out += bytes([rest & 0x7F | 0x80])
        rest >>= 7
    return out + bytes([rest])


FUZZ = Path(__file__).parents[1] / "native" / "fuzz"
SEEDS = 4
SWELLING = {
    "zeros": (1, bytes(4 * 1024 * 1024)),
    "records": (20_000, b"".join(_record(number) for number in range(20_000))),
    "record-headers": (1, _length(1_000_008) + bytes.fromhex("0000000101") + _length(500_000) + b"\x00\x01" * 500_000),
}
BYTES_MAX = 3_000
PLANS = 16
PLANS_DRAWN = 1_500
PROGRAM_BYTES_MAX = 30_000
SEEDS_OF_PLAN = 4


def main() -> None:
    """Write the seeds of both targets."""
    write_wire(FUZZ / "seeds" / "wire")
    write_engine(FUZZ / "programs", FUZZ / "seeds" / "engine")


def write_wire(folder: Path) -> None:
    """Draw batches until there are enough small ones."""
    folder.mkdir(parents=True, exist_ok=True)
    written = number = 0
    while written < SEEDS:
        number += 1
        plain = plain_batch(random.Random(number))
        if not 300 < len(plain) < BYTES_MAX:
            continue
        for place, form in enumerate(forms(plain)):
            mode = 1 | (place % 5) << 1 | written << 4
            (folder / f"batch-{written}-{place}").write_bytes(bytes([mode]) + form)
        written += 1
    for name, (records, body) in SWELLING.items():
        head = bytearray(plain[:61])
        struct.pack_into(">i", head, 23, max(0, records - 1))
        struct.pack_into(">i", head, 57, records)
        for codec in (1, 4) if name == "records" else (1, 3, 4):
            (folder / f"{name}-{codec}").write_bytes(b"\1" + sealed(bytes(head) + compress(codec, body), codec=codec))


def write_engine(programs: Path, seeds: Path) -> None:
    """Draw plans, keep the richest of them, and write records for each."""
    for folder in (programs, seeds):
        folder.mkdir(parents=True, exist_ok=True)
    found = [(lower(case.plan), case) for case in drawn_plans()]
    fitting = [(lowered, case) for lowered, case in found if len(lowered.program) <= PROGRAM_BYTES_MAX]
    richest = sorted(fitting, key=lambda row: (len(row[0].keys), len(row[0].program)))[-PLANS:]
    for place, (lowered, case) in enumerate(richest):
        head = " ".join(map(str, (len(lowered.keys), *case.plan.writers)))
        (programs / f"{place:02}").write_text(f"{head}\n{lowered.program}", encoding="utf-8")
        for number in range(SEEDS_OF_PLAN):
            rng = random.Random(f"{place}-{number}")
            rows = b"".join(_row(rng, case.schemas, list(case.plan.writers)) for _ in range(rng.choice((1, 3, 20, 70))))
            (seeds / f"plan-{place:02}-{number}").write_bytes(bytes([place, rng.randrange(64)]) + rows)


def drawn_plans() -> list[Case]:
    """Return the same plans each time."""
    found: list[Case] = []

    @seed(9)
    @settings(max_examples=PLANS_DRAWN, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(st.data())
    def draw(data: st.DataObject) -> None:
        found.append(data.draw(cases()))

    draw()
    return found


def _row(rng: random.Random, schemas: Mapping[int, Mapping[str, Any]], writers: list[int]) -> bytes:
    """Return one record as the target reads it: what it is, its length, its body."""
    writer = rng.choice(writers)
    value = frame_header(writer) + body_maker(schemas[writer])(rng)
    body = (damaged(rng, value) if rng.random() < 0.2 else value)[len(frame_header(writer)) :]
    what = (rng.random() < 0.05) | 2 * (rng.random() < 0.7) | writers.index(writer) << 4
    return struct.pack(">BH", what, len(body)) + body


if __name__ == "__main__":
    main()
