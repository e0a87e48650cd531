"""The play: real flights and aircraft cross a hub under four agreements, by the product's own commands and API.

The stage folder repeats the clone's paths (``build/``, ``deploy/demo/``), so the demo's files are used as they are.
"""

import itertools
import json
import shutil
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

import hub as package
from hub.agreements.file import parse_agreement
from hub.app import Hub
from hub.cli.client import ServeClient
from hub.cli.demo.crossing import cross, wait_for_ledger
from hub.cli.demo.figures import DISPOSITIONS, AgreementFigures, BillLine, Figures, compare
from hub.cli.demo.oracle import Oracle
from hub.cli.demo.rates import measure_kernels, ratio
from hub.cli.demo.stage import Stage, month_now
from hub.cli.demo.walk import Walk, follow
from hub.cli.output import say
from hub.exchange import kernel
from hub.ledger.periods import Period
from hub.ledger.preview import preview
from hub.ledger.show import Use, show_use
from hub.ledger.tariffs import released_tariffs
from hub.model.agreement import Agreement
from hub.model.errors import ExitCode, HubError, Problem

ROOT: Final = Path(package.__file__).resolve().parents[1]
DATA: Final = Path("build/nycflights13")
FILES: Final = Path("deploy/demo")
NEEDED: Final = (FILES, Path("tests/oracle/reckon.py"), DATA / "flights.csv", DATA / "planes.csv")
FOLLOWED: Final = "delay-cover"
"""The agreement whose first record is walked: the one that pays."""
REGISTRY_TIMEOUT_S: Final = 30.0


class Feed(msgspec.Struct, frozen=True, kw_only=True):
    """One dataset of the play, and its files in the clone."""

    dataset: str
    name: str
    """Of its entry and connector file."""
    data: str
    limited: bool
    """A run with fewer records cuts this one."""


FEEDS: Final = (
    Feed(dataset="vehicle-registry/aircraft", name="aircraft.yaml", data="planes.csv", limited=False),
    Feed(dataset="transport/flights", name="flights.yaml", data="flights.csv", limited=True),
)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the play came to."""

    figures: Figures
    published: Mapping[str, int]
    """Records by dataset."""
    crossing_s: float
    agreements: tuple[Agreement, ...]
    bill: tuple[BillLine, ...]
    walk: Walk | None
    """None where nothing was delivered under the agreement that is followed."""
    ledger_check: Mapping[str, Any]
    problems: tuple[Problem, ...]
    """What is not as it should be; empty when all is well."""


def require_clone() -> None:
    """HUB-CONF-003 where the demo's files are not beside the package, or its data was not fetched."""
    missing = [name for name in NEEDED if not (ROOT / name).exists()]
    if missing:
        raise HubError("HUB-CONF-003", f"the demo needs `{missing[0]}` in `{ROOT}`", "run `make setup` in a clone of the project")


def play(stage: Stage, *, records: int | None, began: float) -> Outcome:
    """Run the whole play on an open stage. ``began``: the monotonic time from which its seconds count."""
    rows = bring_files(stage, records=records)
    publish_datasets(stage)
    agreements = sign_agreements(stage)
    connectors = [str(stage.folder / FILES / "connectors" / feed.name) for feed in FEEDS]
    topics = [stage.settings.names.dept(feed.dataset) for feed in FEEDS]
    reports, crossing_s = cross(stage, connectors=connectors, topics=topics, records=sum(rows.values()))
    published = {feed.dataset: published_by(report) for feed, report in zip(FEEDS, reports, strict=True)}
    say("waiting for the ledger …")
    wait_for_ledger(stage)
    say("reckoning the same from the CSV files, apart from the hub …")
    oracle = Oracle(ROOT, stage, records=records)
    reckoned = oracle.reckon(walk=FOLLOWED)
    say("reading the share topics with a foreign client …")
    read = oracle.read()
    check, check_problems = check_ledger(stage)
    with Hub(stage.settings) as hub:
        ledger = ledger_rows(hub)
        bill = bills(hub, agreements, months=sorted({stage.month, month_now()}))
        say("deciding the same records once more with each kernel that is here …")
        rates = measure_kernels(stage.bootstrap, hub.plans())
    problems = (*compare(ledger, reckoned, published=published, read_differences=read), *check_problems)
    walk = follow(stage.bootstrap, names=stage.settings.names, reckoned=reckoned, agreement=FOLLOWED)
    figures = Figures(
        records_published=sum(published.values()),
        seconds=round(time.monotonic() - began, 1),
        kernel=kernel.name(),
        crossing_records_per_s=round(sum(published.values()) / crossing_s),
        kernels=rates,
        kernel_ratio=ratio(rates),
        conservation=not check_problems and all(conserved(ledger[one.id], published[one.dataset]) for one in agreements),
        agreements=tuple(figures_of(one, ledger[one.id], reckoned, bill) for one in agreements),
    )
    return Outcome(
        figures=figures,
        published=published,
        crossing_s=crossing_s,
        agreements=agreements,
        bill=bill,
        walk=walk,
        ledger_check=check,
        problems=problems,
    )


def bring_files(stage: Stage, *, records: int | None) -> dict[str, int]:
    """Copy the demo's files and data into the stage's folder, cut to ``records`` flights; returns data rows by dataset."""
    shutil.copytree(ROOT / FILES, stage.folder / FILES)
    (stage.folder / DATA).mkdir(parents=True)
    rows = {}
    for feed in FEEDS:
        with (
            (ROOT / DATA / feed.data).open(encoding="utf-8") as source,
            (stage.folder / DATA / feed.data).open("w", encoding="utf-8") as out,
        ):
            header = next(source)
            out.write(header)
            rows[feed.dataset] = 0
            for line in itertools.islice(source, records if feed.limited else None):
                out.write(line)
                rows[feed.dataset] += 1
    return rows


def publish_datasets(stage: Stage) -> None:
    """Put both datasets into the catalogue, register their schemas as any client would, and open them for records."""
    serve = ServeClient(stage.settings)
    for feed in FEEDS:
        entry = stage.folder / FILES / "datasets" / feed.name
        change = serve.post("v1", "datasets", body={"text": entry.read_text(encoding="utf-8"), "file": entry.name})
        schema_id = register_schema(stage, subject=change["subject"], file=ROOT / "avro_schemas" / feed.dataset / "v1.avsc")
        serve.post("v1", "datasets", *feed.dataset.split("/"), "publish")
        stage.check()
        say(f"published dataset {feed.dataset}: topic {change['topic']}, schema id {schema_id}")


def register_schema(stage: Stage, *, subject: str, file: Path) -> int:
    """Register a schema over the Confluent-compatible endpoint; returns its id."""
    body = json.dumps({"schema": file.read_text(encoding="utf-8")}).encode()
    request = urllib.request.Request(  # noqa: S310 - our own serve
        f"{stage.settings.serve_url}/subjects/{subject}/versions",
        data=body,
        headers={"Content-Type": "application/vnd.schemaregistry.v1+json"},
        method="POST",
    )
    try:
        with urllib.request.urlopen(request, timeout=REGISTRY_TIMEOUT_S) as answer:  # noqa: S310 - same
            return int(json.load(answer)["id"])
    except (OSError, ValueError, KeyError) as error:
        stage.check()
        raise HubError("HUB-DEMO-002", f"the registry did not take the schema of `{subject}`", "report this") from error


def sign_agreements(stage: Stage) -> tuple[Agreement, ...]:
    """Apply and sign every agreement of the demo; returns them by id."""
    serve = ServeClient(stage.settings)
    found = []
    for file in sorted((stage.folder / FILES / "agreements").glob("*.yaml")):
        text = file.read_text(encoding="utf-8")
        agreement = parse_agreement(text, file=file.name).agreement
        serve.post("v1", "agreements", body={"text": text, "file": file.name})
        change = serve.post("v1", "agreements", agreement.id, "sign")
        stage.check()
        say(f"signed agreement {agreement.id}: {agreement.dataset} to {agreement.consumer}, topic {change['share_topic']}")
        found.append(agreement)
    return tuple(sorted(found, key=lambda one: one.id))


def check_ledger(stage: Stage) -> tuple[Mapping[str, Any], tuple[Problem, ...]]:
    """Run ``ledger check``; returns its report, and its findings where the counts do not agree."""
    try:
        return stage.call("ledger", "check"), ()
    except HubError as error:
        if error.entry.exit != ExitCode.INTEGRITY:
            raise
        return {}, error.problems or (Problem("ledger", "check", error.message, error.fix),)


def ledger_rows(hub: Hub) -> dict[str, dict[str, Any]]:
    """Return what the ledger says of each agreement."""
    return {
        row.agreement_id: msgspec.structs.asdict(row) for row in show_use(hub.engine, scope=hub.names.scope).rows if isinstance(row, Use)
    }


def bills(hub: Hub, agreements: Sequence[Agreement], *, months: Sequence[str]) -> tuple[BillLine, ...]:
    """Return the bill lines of every consumer for each of ``months``."""
    terms, tariffs = hub.signed_terms().require_sound(), released_tariffs()
    found: list[BillLine] = []
    for consumer in sorted({one.consumer for one in agreements}):
        for month in months:
            previewed = preview(
                hub.engine, scope=hub.names.scope, consumer=consumer, period=Period.parse(month), terms=terms, tariffs=tariffs
            )
            found += [
                BillLine(period=month, **{name: getattr(line, name) for name in BillLine.__struct_fields__ if name != "period"})
                for line in previewed.bill.lines
            ]
    return tuple(found)


def conserved(row: Mapping[str, int], published: int) -> bool:
    """Tell whether every published record has exactly one disposition, and every offset is accounted for."""
    decided = sum(row[name] for name in DISPOSITIONS)
    return decided == published and decided + row["gaps"] + row["lost"] == row["offsets"]


def figures_of(agreement: Agreement, row: Mapping[str, int], reckoned: Mapping[str, Any], bill: Sequence[BillLine]) -> AgreementFigures:
    """Return one agreement's figures: dispositions from the ledger, what was expected from the reckoning, the charge from the bill."""
    (expected,) = [one for one in reckoned["agreements"] if one["id"] == agreement.id]
    return AgreementFigures(
        id=agreement.id,
        consumer=agreement.consumer,
        expected_delivered=expected["delivered"],
        charge_fen=sum(line.charge_fen for line in bill if line.agreement_id == agreement.id),
        **{name: row[name] for name in DISPOSITIONS},
    )


def published_by(report: Any) -> int:
    """Return how many records a connector says that it published."""
    return int(report["published"])
