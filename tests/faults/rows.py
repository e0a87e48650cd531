"""The rows of the fault tests: invented passages of vehicles, the same for the same seed. Standard library alone.

Row ``n`` is a function of the seed and ``n``, so that loader and checker need not tell each other what was sent. Every 997th row
has a plate that no pseudonym can be made of: it costs itself only, and only where the plate is pseudonymised. A *report* is a passage
with a long note of few phrases: it compresses well, so that a few megabytes of fetched batches are more than one step may hold.
"""

import csv
import hashlib
import io
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypedDict

DISTRICTS: Final = ("330102", "330105", "330106", "330108")
INVALID_PLATE_EVERY: Final = 997
INVALID_PLATE: Final = "无牌"
NOTES: Final = ("", "正常", 'gate "3", lane 2', "夜间, 无灯", "two\nlines")
PHRASES: Final = (
    "车辆于夜间由东向西通过卡口，车速正常，号牌清晰可见",
    "车辆由西向东缓慢通过卡口，后排乘客未系安全带",
    "雨天能见度较低，车灯已开启，通过时未见异常情况",
    "车辆在待检区停留约三分钟，核验后放行，无附加说明",
)
PHRASES_OF_A_REPORT: Final = 40
COLUMNS: Final = {"number": "序号", "plate": "车牌", "district": "区划", "phone": "电话", "note": "备注"}


def schema(name: str) -> dict[str, Any]:
    """Return the Avro schema of passages or reports."""
    return {
        "type": "record",
        "name": name,
        "namespace": "dept.transport",
        "doc": "One vehicle seen at one gate.",
        "fields": [
            {"name": "number", "type": "long", "title": COLUMNS["number"], "grade": "L1"},
            {"name": "plate", "type": "string", "title": COLUMNS["plate"], "grade": "L3", "personal": True, "identifier": "plate"},
            {"name": "district", "type": "string", "title": COLUMNS["district"], "grade": "L1"},
            {"name": "phone", "type": ["null", "string"], "default": None, "title": COLUMNS["phone"], "grade": "L3", "personal": True},
            {"name": "note", "type": "string", "title": COLUMNS["note"], "grade": "L1"},
        ],
    }


class Row(TypedDict):
    """One passage."""

    number: int
    plate: str
    district: str
    phone: str | None
    note: str


def row(seed: int, number: int) -> Row:
    """Return passage ``number``."""
    dice = int.from_bytes(hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=12).digest(), "big")
    dice, plate = divmod(dice, 90_000)
    dice, district = divmod(dice, len(DISTRICTS))
    dice, phone = divmod(dice, 10**9)
    dice, note = divmod(dice, len(NOTES))
    prefix = "浙a " if dice % 50 == 0 else "浙A"
    return Row(
        number=number,
        plate=INVALID_PLATE if number % INVALID_PLATE_EVERY == INVALID_PLATE_EVERY - 1 else f"{prefix}{plate + 10_000}",
        district=DISTRICTS[district],
        phone=None if phone % 10 == 0 else f"13{phone:09d}",
        note=NOTES[note],
    )


def report(seed: int, number: int) -> Row:
    """Return report ``number``: the passage of that number with a long note."""
    dice = hashlib.blake2b(f"{seed}/{number}/note".encode(), digest_size=PHRASES_OF_A_REPORT).digest()
    return {**row(seed, number), "note": "；".join(PHRASES[byte % len(PHRASES)] for byte in dice)}


MAKERS: Final[Mapping[str, Callable[[int, int], Row]]] = {"Passage": row, "Report": report}
"""What makes a row of a dataset, by the name of its schema."""


def csv_text(seed: int, numbers: Iterable[int]) -> str:
    """Return passages as the CSV file that a department would drop, headed by the titles of the fields."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS.values())
    for number in numbers:
        writer.writerow("" if value is None else value for value in row(seed, number).values())
    return out.getvalue()
