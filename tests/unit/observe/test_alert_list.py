"""The list of metrics that mean "act" above 0: README names each of them in both languages, and no other."""

import re
from pathlib import Path

import pytest

from hub.observe import metrics

ROOT = Path(__file__).parents[3]
WATCHED = {"cityhub_quarantined_total", "cityhub_consumer_lag_records", "cityhub_plan_age_seconds"}


def _alerts() -> set[str]:
    found = set()
    for family in metrics.REGISTRY.collect():
        if "Above 0: act" in family.documentation:
            found.add(family.name + ("_total" if family.type == "counter" else ""))
    return found


def test_there_are_alerts() -> None:
    """The control: an empty list would agree with any README."""
    assert {"cityhub_lane_stopped", "cityhub_lost_total", "cityhub_undeliverable"} <= _alerts()


@pytest.mark.parametrize(("file", "word"), [("README.md", "Above 0 means act:"), ("README.zh-CN.md", "以下大于 0 即须处理")])
def test_readme_names_every_metric_that_means_act_above_0(file: str, word: str) -> None:
    """Operators set their alarms by this list: what it lacks is seen by nobody."""
    text = (ROOT / file).read_text(encoding="utf-8")
    paragraph = text[text.index(word) :].split("\n* ")[0]
    named = set(re.findall(r"`(cityhub_\w+)`", paragraph))
    assert named == _alerts() | WATCHED
