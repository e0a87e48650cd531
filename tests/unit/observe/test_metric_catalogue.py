"""The metric catalogue keeps Prometheus' conventions, and no input can make a metric grow without bound."""

import re
from pathlib import Path

import pytest
from prometheus_client import Counter
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from hub.observe import metrics
from hub.observe.metrics import Family

ROOT = Path(__file__).parents[3]
DECLARED = {name: value for name, value in vars(metrics).items() if name.isupper() and hasattr(value, "labels")}
FOREIGN_UNITS = re.compile(r"_(ms|millis|minutes|hours|kb|mb|percent|pct)(_|$)")


def families(process: str) -> dict[str, str]:
    """Return name and type of what ``process`` shows, as a scraper reads it."""
    text, content_type = metrics.exposition(process)
    assert content_type.startswith("text/plain")
    return {family.name: family.type for family in text_string_to_metric_families(text.decode())}


@pytest.mark.parametrize("process", metrics.PROCESSES)
def test_names_follow_the_conventions_of_prometheus(process: str) -> None:
    """A counter ends in _total and nothing else does; units are base units; every name is the hub's own."""
    text = metrics.exposition(process)[0].decode()
    for name in re.findall(r"^# TYPE (\S+) counter$", text, re.MULTILINE):
        assert name.endswith("_total"), name
    for name, kind in families(process).items():
        assert re.fullmatch(r"cityhub_[a-z0-9_]+", name), name
        assert kind == "counter" or not name.endswith(("_total", "_count", "_sum", "_bucket")), name
        assert not FOREIGN_UNITS.search(name), name


@pytest.mark.parametrize("process", metrics.PROCESSES)
def test_every_metric_has_a_help_that_is_a_sentence(process: str) -> None:
    """The help is what operations staff read first."""
    text = metrics.exposition(process)[0].decode()
    for name, words in re.findall(r"^# HELP (cityhub_\S+) ?(.*)$", text, re.MULTILINE):
        assert name.startswith("cityhub_process_") or re.match(r"[A-Z1].+\.$", words), name


def test_a_process_shows_its_own_metrics_and_no_others() -> None:
    """A worker that showed a ledger position of 0 would look like a ledger that lost everything."""
    assert "cityhub_chains_held" in families("serve")
    assert "cityhub_chains_held" not in families("worker")
    assert "cityhub_rows" in families("connector")
    assert "cityhub_rows" not in families("serve")


def test_a_word_outside_a_closed_set_counts_as_other() -> None:
    """Labels never carry what someone typed."""
    metrics.LANES.labels(state="on fire").set(3)
    text = metrics.exposition("worker")[0].decode()
    assert "on fire" not in text
    assert 'cityhub_lanes{state="other"} 3.0' in text
    metrics.LANES.forget(state="on fire")


def test_label_sets_stop_at_their_bound_and_the_overflow_shows() -> None:
    """At the bound all is kept; one past it is counted under `other`, and the overflow metric says so."""
    family = Family(Counter("cityhub_test_total", "For a test.", ("agreement",), registry=None), {"agreement": metrics.OPEN})
    before = metrics.LABEL_OVERFLOW._value.get()
    for number in range(metrics.LABEL_SETS_MAX):
        family.labels(agreement=f"a{number}").inc()
    assert metrics.LABEL_OVERFLOW._value.get() == before
    family.labels(agreement="one-more").inc(5)
    assert metrics.LABEL_OVERFLOW._value.get() == before + 1
    assert family.labels(agreement=metrics.OTHER)._value.get() == 5
    assert len(next(iter(family.metric.collect())).samples) == metrics.LABEL_SETS_MAX + 1


def test_a_forgotten_label_set_is_gone_and_makes_room() -> None:
    """The lag of a partition that another worker took over must not stand still here for ever."""
    metrics.CONSUMER_LAG_RECORDS.labels(topic="dept.a.b", partition="0").set(7)
    metrics.CONSUMER_LAG_RECORDS.forget(topic="dept.a.b", partition="0")
    metrics.CONSUMER_LAG_RECORDS.forget(topic="dept.a.b", partition="0")
    assert "dept.a.b" not in metrics.exposition("worker")[0].decode()


def test_closed_sets_fit_the_bound_together() -> None:
    """A metric of closed sets alone can never overflow."""
    for name, family in DECLARED.items():
        if not isinstance(family, Family) or any(words is metrics.OPEN for words in family.allowed.values()):
            continue
        size = 1
        for words in family.allowed.values():
            size *= len(words) + 1
        assert size <= metrics.LABEL_SETS_MAX, name


def test_labels_must_be_named_completely() -> None:
    """A forgotten label is a bug of ours and is told at once."""
    with pytest.raises(ValueError, match="agreement, disposition"):
        metrics.RECORDS.labels(agreement="a")
    with pytest.raises(ValueError, match="labels are"):
        metrics.RECORDS.labels(agreement="a", disposition="delivered", field="phone")


def test_no_metric_is_declared_and_never_counted() -> None:
    """A metric that stays at 0 because nobody counts looks like good news."""
    sources = [file for room in ("hub", "connectors") for file in (ROOT / room).glob("**/*.py") if file != Path(metrics.__file__)]
    text = "\n".join(file.read_text(encoding="utf-8") for file in sources)
    counted_here = {"BUILD_INFO", "LABEL_OVERFLOW"}
    names = {name for name, value in vars(metrics).items() if isinstance(value, Family | MetricWrapperBase)}
    assert len(names) > 30
    assert sorted(name for name in names - counted_here if not re.search(rf"\b{name}\b", text)) == []
