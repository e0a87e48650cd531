"""The rows of the fault tests: invented passages of vehicles, the same for the same seed. Standard library alone.

Row ``n`` is a function of the seed and ``n``, so that loader and checker need not tell each other what was sent. Every 997th row
has a plate that no pseudonym can be made of: it costs itself only, and only where the plate is pseudonymised.
"""

import csv
import hashlib
import io
from collections.abc import Iterable
from typing import Final, TypedDict

DISTRICTS: Final = ("330102", "330105", "330106", "330108")
INVALID_PLATE_EVERY: Final = 997
INVALID_PLATE: Final = "无牌"
NOTES: Final = ("", "正常", 'gate "3", lane 2', "夜间, 无灯", "two\nlines")
COLUMNS: Final = {"number": "序号", "plate": "车牌", "district": "区划", "phone": "电话", "note": "备注"}

SCHEMA: Final = {
    "type": "record",
    "name": "Passage",
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
    """Return row ``number``."""
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


def csv_text(seed: int, numbers: Iterable[int]) -> str:
    """Return rows as the CSV file that a department would drop, headed by the titles of the fields."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS.values())
    for number in numbers:
        writer.writerow("" if value is None else value for value in row(seed, number).values())
    return out.getvalue()
