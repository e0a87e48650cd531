"""The report: every number that is shown is one that was found, the table is Markdown, the picture is well-formed XML."""

import dataclasses
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from bench_runs import OURS_LINE, PEER_LINE, run
from benchmarks.figures import OURS, Line
from benchmarks.report import Report, drawing, markdown, stages_of, targets, write

EOS_LINE = Line("go-eos", 5, exact=True)
CONDITIONS = {"commit": "abc", "date": "2026-11-24", "processor": "A <fast> one", "broker": "Kafka", "kernel": "native"}


@pytest.fixture
def report() -> Report:
    """Return a report of two rounds of ours and the Go loop, and one of ours with transactions off and of the Go loop with them."""
    runs = [run(line, number, cost) for number in (0, 1) for line, cost in ((OURS_LINE, 0.3 + number / 10), (PEER_LINE, 1.5))]
    runs += [run(OURS_LINE._replace(exact=False), 0, 0.25), run(OURS_LINE._replace(variant="plan of seed 7"), 0, 0.5)]
    runs.append(run(EOS_LINE, 0, 1.8))
    latency = [{"load": 0.5, "records_per_s": 500_000, "p50_ms": 90.0, "p99_ms": 500.0, "worker_cores": 0.5}]
    stages = {"ns_per_delivery": {"walk": 50.0, "mac": 40.0, "sum": 90.0}, "sums": ["sum"], "told": "one step"}
    failures = {Line("faust", 5): "it <broke>"}
    return Report(title="t", conditions=CONDITIONS, runs=runs, rounds=2, latency=latency, stages=stages, failures=failures)


def test_the_table_has_a_line_for_each_contender(report: Report) -> None:
    """What ran is shown, with who it was."""
    text = markdown(report)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert any("cityhub, exactly once " in line and "0.35 (0.3–0.4)" in line for line in lines)
    assert any("Go: franz-go" in line and "4.4 (3.8–5.0)" in line for line in lines)
    assert any("transactions off" in line for line in lines)
    assert any("plan of seed 7" in line for line in lines)
    assert any("Go, exactly once " in line and "6.0" in line for line in lines)
    assert len({line.count("|") for line in lines if "cityhub, exactly once" in line}) == 1


def test_rows_stand_in_one_order(report: Report) -> None:
    """Ours first, then peers from the quickest library on, and variants at the end."""
    found = [(row["who"], row["exact"], row.get("variant", "")) for row in report.rows()]
    assert found == [(OURS, True, ""), (OURS, False, ""), ("go", False, ""), ("go-eos", True, ""), (OURS, True, "plan of seed 7")]


def test_a_peer_that_failed_has_no_number_and_is_named(report: Report) -> None:
    """A line that is silently missing would look as if it was never meant to be there."""
    assert "Faust, stock agent at N=5, none, has no number: it <broke>" in markdown(report)
    assert report.as_json()["no_number"] == [{"who": "faust", "n": 5, "codec": "none", "variant": "", "why": "it <broke>"}]


def test_no_ratio_is_claimed_without_the_go_loop(report: Report) -> None:
    """The table says why it is not there."""
    alone = Report(title="t", conditions=CONDITIONS, runs=[run(OURS_LINE, 0, 0.3)], rounds=1, go_missing="no Go toolchain on the path")
    assert "no Go toolchain on the path" in markdown(alone)
    assert not [asked for asked, _, _ in targets(alone) if "×" in asked]


def test_targets_are_judged_on_medians(report: Report) -> None:
    """Met and missed ones are both shown."""
    found = {asked: met for asked, _, met in targets(report)}
    assert found["N=5 none: at most 0.35 µs a delivery"] is True
    assert found["N=5 none: at least 4 × Go: franz-go + hamba/avro"] is True
    assert found["exactness costs at most 10% of throughput"] is True
    assert found["half load: p50 at most 150 ms, p99 at most 400 ms"] is False
    assert "**no**" in markdown(report)


def test_the_picture_is_well_formed_and_tells_every_bar(report: Report) -> None:
    """Names of processors may hold what XML does not."""
    drawn = drawing(report)
    assert drawn is not None
    root = ET.fromstring(drawn)  # noqa: S314 - our own
    words = " ".join(element.text or "" for element in root.iter())
    assert "cityhub, N=5" in words
    assert "Go, N=5" in words
    assert "A <fast> one" in words
    assert len([element for element in root.iter() if element.get("class") in {"ours", "peer"}]) == 5 + 4


def test_the_second_panel_names_who_is_exact_and_leaves_out_ours_that_is_not(report: Report) -> None:
    """Ours with transactions off is no product: it stands in the table alone."""
    drawn = drawing(report)
    assert drawn is not None
    root = ET.fromstring(drawn)  # noqa: S314 - our own
    texts = [(element.get("class"), element.text) for element in root.iter() if element.get("class")]
    titles = [place for place, (kind, _) in enumerate(texts) if kind == "title"]
    panel = texts[titles[1] : titles[2]]
    assert panel[0][1] == "Deliveries of one core, N=5"
    assert [text for kind, text in panel if kind == "label"] == ["cityhub", "Go", "Go, exactly once"]
    assert "transactions off" not in drawn
    assert "transactions off" in markdown(report)


def test_a_part_adds_targets_of_its_own_and_a_note_to_the_table(report: Report) -> None:
    """What the whole must hold is asked in one table, whoever judged it."""
    report.judged, report.table_note = [("flat", "+50 MiB", False)], "Fewer records."
    text = markdown(report)
    assert targets(report)[-1] == ("flat", "+50 MiB", False)
    assert text.index("Fewer records.") < text.index("## Targets") < text.index("| flat ")
    assert {"target": "flat", "found": "+50 MiB", "met": False} in report.as_json()["targets"]


def test_stages_add_up_to_the_whole(report: Report) -> None:
    """What no clock saw is shown as what is left, not hidden."""
    found = stages_of(report)
    assert sum(found.values()) == pytest.approx(350.0)
    assert found["kernel: walk"] == 50.0
    assert "| kernel: mac" in markdown(report)


def test_what_a_step_costs_the_broker_is_told_where_both_runs_tell_it(report: Report) -> None:
    """The price of a transaction is the broker's: a share of throughput alone would not say where it went."""
    assert "ms of its core" not in markdown(report)
    for place, one in enumerate(report.runs):
        if one.line in {OURS_LINE, OURS_LINE._replace(exact=False)}:
            report.runs[place] = dataclasses.replace(one, steps=500, broker_s=2.0 if one.line.exact else 1.25)
    assert "costs it 4.0 ms of its core with a transaction and 2.5 ms without" in markdown(report)


def test_there_is_no_picture_of_nothing() -> None:
    """A quick run of one line has none."""
    assert drawing(Report(title="t", conditions=CONDITIONS, runs=[run(PEER_LINE, 0, 1.0)], rounds=1)) is None


def test_files_are_written_where_they_belong(report: Report, tmp_path: Path) -> None:
    """The docs hold no JSON."""
    write(report, folder=tmp_path / "build", name="bench", docs=tmp_path / "docs")
    assert sorted(path.name for path in (tmp_path / "build").iterdir()) == ["bench.json", "bench.md", "bench.svg"]
    assert sorted(path.name for path in (tmp_path / "docs").iterdir()) == ["bench.md", "bench.svg"]
    found = json.loads((tmp_path / "build" / "bench.json").read_text())
    assert [row["who"] for row in found["rows"]] == [OURS, OURS, "go", "go-eos", OURS]
    assert "![" in (tmp_path / "docs" / "bench.md").read_text()
