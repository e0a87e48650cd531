"""Write the seeds of the target ``wire``: small batches in every form in which clients compress, and such as swell to the bounds.

The first byte of each says what the target does with it.
"""

import random
import struct
from pathlib import Path

from batch_mutations import forms, plain_batch, sealed

from hub.broker.codecs import compress


def _record(number: int) -> bytes:
    offset = _length(number)
    return _length(5 + len(offset)) + b"\0\0" + offset + b"\1\1\0"


def _length(value: int) -> bytes:
    rest, out = 2 * value, b""
    while rest >= 0x80:
        out += bytes([rest & 0x7F | 0x80])
        rest >>= 7
    return out + bytes([rest])


FOLDER = Path(__file__).parents[1] / "native" / "fuzz" / "seeds" / "wire"
SEEDS = 4
SWELLING = {
    "zeros": (1, bytes(4 * 1024 * 1024)),
    "records": (20_000, b"".join(_record(number) for number in range(20_000))),
    "record-headers": (1, _length(1_000_008) + bytes.fromhex("0000000101") + _length(500_000) + b"\x00\x01" * 500_000),
}
BYTES_MAX = 3_000


def main() -> None:
    """Draw batches until there are enough small ones."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    written = number = 0
    while written < SEEDS:
        number += 1
        plain = plain_batch(random.Random(number))
        if not 300 < len(plain) < BYTES_MAX:
            continue
        for place, form in enumerate(forms(plain)):
            mode = 1 | (place % 5) << 1 | written << 4
            (FOLDER / f"batch-{written}-{place}").write_bytes(bytes([mode]) + form)
        written += 1
    for name, (records, body) in SWELLING.items():
        head = bytearray(plain[:61])
        struct.pack_into(">i", head, 23, max(0, records - 1))
        struct.pack_into(">i", head, 57, records)
        for codec in (1, 4) if name == "records" else (1, 3, 4):
            (FOLDER / f"{name}-{codec}").write_bytes(b"\1" + sealed(bytes(head) + compress(codec, body), codec=codec))


main()
