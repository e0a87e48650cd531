"""What the checker of the fault tests reckons must have been delivered, and how what was delivered is held against it.

Millions of records pass: of each that is due only its number, its source offset and a digest of its form are kept.
"""

import base64
import bisect
import functools
import hashlib
import hmac
import marshal
import sys
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from foreign import Value

FINDINGS_MAX: Final = 40
MUST_BE_ZERO: Final = ("lost", "duplicated", "reordered", "unauthorised", "unmetered", "chain_breaks")
DIGEST_BYTES: Final = 16
WITHOUT_REFERENCES: Final = 2
"""Version of marshal's format: later ones write an object that is met again as a reference, and so equal values as other bytes."""
PLATES_REMEMBERED: Final = 1 << 17


class Report:
    """The figures, and the first things that were found wrong."""

    def __init__(self) -> None:
        """Begin with nothing wrong."""
        self.figures: Counter[str] = Counter(dict.fromkeys(MUST_BE_ZERO, 0))
        self._told = 0

    def wrong(self, figure: str, what: str, *, times: int = 1) -> None:
        """Count a finding and say what it is, the first few times."""
        if times <= 0:
            return
        self.figures[figure] += times
        self._told += 1
        if self._told <= FINDINGS_MAX:
            print(f"checker: {figure} {times}: {what}", file=sys.stderr)


def digest(record: Value) -> bytes:
    """Return what two records share only if they have the same fields with the same values, of the same types."""
    return hashlib.blake2b(marshal.dumps(sorted(record.items()), WITHOUT_REFERENCES), digest_size=DIGEST_BYTES).digest()


def hkdf(secret: bytes, info: bytes) -> bytes:
    """Return HKDF-SHA-256 of 32 bytes without salt (RFC 5869)."""
    return hmac.digest(hmac.digest(bytes(32), secret, "sha256"), info + b"\x01", "sha256")


class Terms:
    """One agreement as the manifest tells it, and the form in which it must receive a row."""

    def __init__(self, told: Mapping[str, Any], *, scope: str, master: bytes, epoch: int) -> None:
        """Derive the key of its pseudonyms."""
        self.id: str = told["id"]
        self.topic: str = told["share_topic"]
        self.active: bool = told["state"] == "active"
        self.price_micro_fen: int = told["unit_price_micro_fen"]
        self.earlier_prices: Mapping[str, int] = told.get("earlier_prices", {})
        """By version of the agreement, of those that had another tariff."""
        self._ends: Mapping[str, int] = told.get("ends", {})
        self._where: Mapping[str, Any] | None = told["where"]
        self._fields: Mapping[str, Mapping[str, Any]] = told["fields"]
        parts = [part.encode() for part in ("cityhub/pseudonym/v1", scope, told["consumer"], told["purpose"], "plate", str(epoch))]
        self._pseudonym = functools.lru_cache(PLATES_REMEMBERED)(self._make_pseudonym)
        self._key = hkdf(master, b"".join(len(part).to_bytes(2, "big") + part for part in parts))

    def ended(self, partition: int, offset: int) -> bool:
        """Tell whether the right had ended before a record of the source."""
        return offset >= self._ends.get(str(partition), sys.maxsize)

    def price_of(self, version: int) -> int:
        """Return what a delivery under a version costs, in micro-fen."""
        return self.earlier_prices.get(str(version), self.price_micro_fen)

    def wants(self, record: Value) -> bool:
        """Tell whether the row rule is true."""
        return self._where is None or all(record[field] == value for field, value in self._where.items())

    def form(self, record: Value) -> Value | None:
        """Return what must arrive, None where the record must be quarantined."""
        out: Value = {}
        for field, rule in self._fields.items():
            value = record[field]
            if value is not None and "mask" in rule:
                last = rule["mask"]["keep_last"]
                value = "*" * (len(value) - last) + value[-last:]
            elif value is not None and "pseudonym" in rule:
                value = self._pseudonym(value)
                if value is None:
                    return None
            out[field] = value
        return out

    def _make_pseudonym(self, plate: str) -> str | None:
        normal = unicodedata.normalize("NFKC", plate).strip().upper().replace(" ", "")
        if not any(char.isdigit() for char in normal):
            return None
        return base64.b32encode(hmac.digest(self._key, normal.encode(), "sha256")[:16]).decode().rstrip("=").lower()


class Due:
    """What an agreement must receive of one partition, in order, and which source offsets must be quarantined for it."""

    def __init__(self) -> None:
        """Nothing is due yet."""
        self.offsets, self.quarantined = array("q"), array("q")
        self.numbers = array("q")
        self._forms = bytearray()

    def add(self, offset: int, record: Value, terms: Terms) -> None:
        """Take the next record of the source."""
        if not terms.active or not terms.wants(record):
            return
        formed = terms.form(record)
        if formed is None:
            self.quarantined.append(offset)
        else:
            self.deliver(offset, formed)

    def deliver(self, offset: int, formed: Value) -> None:
        """Let a record be due in this form."""
        self.offsets.append(offset)
        self.numbers.append(formed["number"])
        self._forms += digest(formed)

    def form_at(self, rank: int) -> bytes:
        """Return the digest of the record that is due at a place."""
        return bytes(self._forms[rank * DIGEST_BYTES : (rank + 1) * DIGEST_BYTES])


class Comparison:
    """What was delivered against what is due: nothing missing, doubled, out of order, in another form, or without a right.

    As long as record after record is the one that is due, only a place moves on. From the first that is not, every number is
    counted, those before it too.
    """

    def __init__(self, place: str, due: Due, report: Report) -> None:
        """Nothing is delivered yet."""
        self._place, self._due, self._report = place, due, report
        self._at = 0
        self._rank: dict[int, int] | None = None
        self._got: Counter[int | None] = Counter()
        self._top = -1

    def take(self, record: Value) -> None:
        """Take the next record delivered."""
        form = digest(record)
        if self._rank is None:
            if self._at < len(self._due.numbers) and form == self._due.form_at(self._at):
                self._at += 1
                return
            self._look_closer()
        self._look(record.get("number"), form)

    def end(self) -> None:
        """Say what is missing or doubled."""
        if self._rank is None and self._at == len(self._due.numbers):
            return
        if self._rank is None:
            self._look_closer()
        wanted = Counter(self._due.numbers)
        missing = [number for number, count in wanted.items() if self._got[number] < count]
        self._report.wrong("lost", f"{self._place}: rows {missing[:5]}…", times=sum((wanted - self._got).values()))
        doubled = {number: count - wanted[number] for number, count in self._got.items() if wanted[number] and count > wanted[number]}
        self._report.wrong("duplicated", f"{self._place}: rows {list(doubled)[:5]}…", times=sum(doubled.values()))

    def _look_closer(self) -> None:
        self._rank = {number: rank for rank, number in enumerate(self._due.numbers)}
        for number in self._due.numbers[: self._at]:
            self._look(number, self._due.form_at(self._rank[number]))

    def _look(self, number: int | None, form: bytes) -> None:
        rank = self._rank.get(number) if self._rank is not None else None
        first = not self._got[number]
        self._got[number] += 1
        if rank is None:
            self._report.wrong("unauthorised", f"{self._place}: row {number} was not granted")
            return
        if form != self._due.form_at(rank):
            self._report.wrong("unauthorised", f"{self._place}: row {number} is in another form than granted")
        if first and rank < self._top:
            self._report.wrong("reordered", f"{self._place}: row {number}")
        self._top = max(self._top, rank)


def count_in(offsets: array, span: range) -> int:
    """Return how many of ``offsets``, which ascend, lie in ``span``."""
    return bisect.bisect_left(offsets, span.stop) - bisect.bisect_left(offsets, span.start)


class SourceRows:
    """The rows of a dataset's source topic in one partition: each as it was sent, in the order in which its writer sent it."""

    def __init__(self, told: Mapping[str, Any], *, make: Any, seed: int, report: Report) -> None:
        """``make`` is what the rows are made by; nothing is seen yet."""
        self._writers = [range(*span) for span in told["writers"]]
        self._make, self._seed, self._report = make, seed, report
        self._top = [-1] * len(self._writers)
        self.first = self._writers[0].start
        self.seen = bytearray(self._writers[-1].stop - self.first)
        """How often each row was seen, from the dataset's first on; 255: at least so often."""
        self.strays: set[int] = set()
        """Numbers that nobody sent."""

    def take(self, place: str, record: Value) -> None:
        """Take the next record of the source topic."""
        number = record["number"]
        at = number - self.first
        if not 0 <= at < len(self.seen):
            self.strays.add(number)
            return
        self.seen[at] = min(255, self.seen[at] + 1)
        writer = next(index for index, span in enumerate(self._writers) if number in span)
        if self.seen[at] == 1:
            if record != self._make(self._seed, number):
                self._report.wrong("lost", f"{place}: source row {number} is not as it was sent")
            if number < self._top[writer]:
                self._report.wrong("reordered", f"{place}: row {number} after {self._top[writer]}")
        self._top[writer] = max(self._top[writer], number)


def check_rows(parts: Iterable[SourceRows], *, report: Report) -> None:
    """Hold all partitions of a dataset together: each row stands in the source topic once."""
    found = list(parts)
    seen = [sum(counts) for counts in zip(*(part.seen for part in found), strict=True)]
    missing = [found[0].first + at for at, count in enumerate(seen) if not count]
    report.wrong("lost", f"rows {missing[:5]}… never reached the source topic", times=len(missing))
    report.wrong("duplicated", "rows stand in the source topic more than once", times=sum(seen) - len(seen) + len(missing))
    report.wrong("duplicated", "source rows that nobody sent", times=len(set().union(*(part.strays for part in found))))
