"""What the demo came to: the figures of one run, and whether they are those of the independent reckoning."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from hub.cli.demo.rates import KernelRate
from hub.ledger.rating import Evidence
from hub.model.errors import HubError, Problem

DISPOSITIONS: Final = ("delivered", "filtered", "denied", "suppressed", "quarantined")


class AgreementFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One agreement: what the ledger says, and what was reckoned from the CSV file."""

    id: str
    consumer: str
    delivered: int
    expected_delivered: int
    filtered: int
    denied: int
    suppressed: int
    quarantined: int
    charge_fen: int


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What ``--json`` prints."""

    records_published: int
    seconds: float
    kernel: str
    """The one that decided what was delivered."""
    crossing_records_per_s: int
    """From the first connector's start until every record was decided."""
    kernels: tuple[KernelRate, ...]
    kernel_ratio: float | None
    """How many times as fast as the reference the native kernel is, None where it is not built."""
    conservation: bool
    agreements: tuple[AgreementFigures, ...]


class BillLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a consumer's bill."""

    period: str
    agreement_id: str
    payer: str
    charge_basis: str
    tariff: str
    unit_price_micro_fen: int
    delivered: int
    charge_fen: int
    shadow_fen: int
    evidence: tuple[Evidence, ...]

    def names_step(self, *, topic: str, partition: int, step: int) -> bool:
        """Tell whether the line says that it rests on that usage step."""
        return any(
            (one.source_topic, one.partition) == (topic, partition) and one.first_step <= step <= one.last_step for one in self.evidence
        )


def compare(
    ledger: Mapping[str, Mapping[str, int]], reckoned: Mapping[str, Any], *, published: Mapping[str, int], read_differences: Sequence[str]
) -> tuple[Problem, ...]:
    """Return every difference between connectors, ledger and share topics on one side and the reckoning on the other."""
    found = [
        Problem(f"dataset `{dataset}`", "published", f"the connector says {published.get(dataset, 0)}, the file has {want['records']}", "")
        for dataset, want in reckoned["published"].items()
        if published.get(dataset, 0) != want["records"]
    ]
    for want in reckoned["agreements"]:
        have = ledger.get(want["id"], {})
        found += [
            Problem(f"agreement `{want['id']}`", name, f"the ledger says {have.get(name, 0)}, the reckoning {want[name]}", "")
            for name in DISPOSITIONS
            if have.get(name, 0) != want[name]
        ]
    found += [Problem("share topics", "records", text, "") for text in read_differences]
    return tuple(found)


def refuse(problems: Sequence[Problem]) -> None:
    """HUB-DEMO-001 with every difference, if there is any."""
    if problems:
        noun = "figure differs" if len(problems) == 1 else "figures differ"
        message = f"{len(problems)} {noun} from the independent reckoning"
        raise HubError("HUB-DEMO-001", message, "run it again with `--keep`, look at the topics, and report it", problems=tuple(problems))
