"""A short play of the fault tests: workers killed inside open transactions, and a checker that would see it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from crew import Story
from faults import run_checker
from load import ProducerLoad
from play import Aim, Play
from stage import Stage, passages
from watch import Watch

from hub.broker.embedded import EmbeddedBroker
from hub.model.names import Names

pytestmark = pytest.mark.broker
RECORDS = 3_000
POINTS = ("lane.offsets_sent", "lane.checked")
FIGURES = ("lost", "duplicated", "reordered", "unauthorised", "unmetered", "chain_breaks")


@pytest.fixture
def here(broker: EmbeddedBroker, names: Names, tmp_path: Path) -> Iterator[Stage]:
    """Give a hub of the test's own on the shared broker, which nobody kills here."""
    built = Stage(broker=broker, folder=tmp_path, seed=8, datasets=[passages(range(RECORDS))], names=names)
    yield built
    built.close()


def test_workers_killed_in_open_transactions_lose_and_double_nothing(here: Stage) -> None:
    """Two kills, each with the transaction listed as open; then two manifests that are wrong, which the checker must not believe."""
    load = ProducerLoad(here, dataset=here.datasets[0], rows=range(RECORDS))
    with Watch(bootstrap=here.broker.bootstrap, group=here.names.exchange_group, lanes=here.lanes) as watch:
        play = Play(stage=here, load=load, watch=watch, seed=8, aims=[Aim(point) for point in POINTS], say=Story(), rate=100.0)
        try:
            play.run()
            play.finish()
        finally:
            play.close()
            load.close()

    assert play.failures == []
    assert play.counts["kills_in_transaction"] == len(POINTS)
    manifest = here.manifest()
    figures = run_checker(manifest)
    assert {name: figures[name] for name in FIGURES} == dict.fromkeys(FIGURES, 0)
    assert figures["records"] == RECORDS
    assert here.call("ledger", "check")[0] == 0

    told = json.loads(manifest.read_text())
    (of_passages,) = told["datasets"]
    of_passages["writers"][0][1] += 5
    of_passages["agreements"][0]["where"] = {"district": "330102"}
    of_passages["agreements"][2]["fields"].pop("phone")
    manifest.write_text(json.dumps(told))
    figures = run_checker(manifest)
    assert figures["lost"] > 5
    assert figures["unauthorised"] > RECORDS
    assert figures["unmetered"] > 0
