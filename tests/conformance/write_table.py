"""Writes the conformance table: rows that people wrote, as data with bytes that any kernel can be held to.

Run it from the project's folder after a change of the rows, and look at the difference: ``python tests/conformance/write_table.py``.
What a row expects is written by hand as a value, in the ``*_rows.py`` beside; only its bytes are made by a library that is not ours.
"""

import json
from pathlib import Path

from form_rows import changed_rows, kept_rows, refused_rows
from identifier_rows import key_rows, pseudonym_rows
from place_rows import nested_rows, wire_rows
from rule_rows import element_rows, logic_rows, operator_rows, unfit_rows

HERE = Path(__file__).parent

ABOUT = {
    "types": ("every type is kept byte for byte, null or not", kept_rows),
    "transforms": ("type × transform × null: the bytes, or the code of a value that has no such form", changed_rows),
    "refused": ("type × transform: agreements that do not compile, with the place of the fault", refused_rows),
    "operators": ("type × operator × null: T true, F false, U unknown", operator_rows),
    "unfit": ("conditions that do not compile, with the place of the fault", unfit_rows),
    "logic": ("all, any and not in three-valued logic", logic_rows),
    "elements": ("conditions on nested records, elements and union branches", element_rows),
    "pseudonyms": ("identifier kind × null × place: the pseudonym, or the code of a text that is no identifier", pseudonym_rows),
    "keys": ("the record's key and tombstones: dropped, kept, a pseudonym, suppressed", key_rows),
    "nested": ("grants inside records, arrays, maps and unions", nested_rows),
    "wire": ("bytes that are no record, with their code", wire_rows),
}


def main() -> None:
    """Write one file per table."""
    for name, (about, rows) in ABOUT.items():
        # a row that two lists give stands once
        lines = ",\n".join(dict.fromkeys(f"  {json.dumps(row, ensure_ascii=True)}" for row in rows()))
        (HERE / f"{name}.json").write_text(f'{{"about": {json.dumps(about)}, "rows": [\n{lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
