"""Positive controls: the checks of ``make faults`` on workers with one thing broken, each caught under its own name.

    python tests/faults/controls.py [--only NAME] [--seed N] [--kernel native|reference]

The last line is one JSON object, ``{name: caught}``; ``sound`` and ``sound_older_right`` are the same plays with nothing broken, and are
true when nothing is found. Exits 1 when one is not caught.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

from broken_worker import BREAKS  # noqa: E402 - the path is set first: this is a program
from crew import Failure, Story, interrupt_on_sigterm  # noqa: E402
from faults import run_checker  # noqa: E402
from load import ProducerLoad  # noqa: E402
from play import Aim, Play  # noqa: E402
from stage import SCOPE, Stage, passages  # noqa: E402
from watch import Watch  # noqa: E402

from hub.broker.admin import Admin  # noqa: E402
from hub.broker.batches import build_batches  # noqa: E402
from hub.broker.embedded import EmbeddedBroker  # noqa: E402
from hub.broker.fencing import LaneGate  # noqa: E402
from hub.broker.plan_log import PlanLog  # noqa: E402
from hub.model.entry import LEVEL  # noqa: E402
from hub.model.names import Names, TopicPartition  # noqa: E402
from hub.model.records import PlanEntry, decode_plan_entry, encode_plan_entry  # noqa: E402
from hub.model.signing import sign_entry  # noqa: E402
from hub.store.keys import load_officer_key  # noqa: E402

RECORDS: Final = 8_000
RATE: Final = 60.0
STOPPED_WITHIN_S: Final = 60.0
NO_TIME_OUT_MS: Final = "45000"
"""A zombie's transaction must live until it wakes: fencing, not the time-out, is what ends it on a sound build."""
EXIT_INTEGRITY: Final = 5
FIGURES: Final = ("lost", "duplicated", "reordered", "unauthorised", "unmetered", "chain_breaks")
BROKEN_WORKER: Final = str(Path(__file__).with_name("broken_worker.py"))


class Scene:
    """One control: a hub of its own on the shared broker, two workers with the same thing broken, a load."""

    def __init__(self, name: str, *, here: Stage, say: Story) -> None:
        """Nothing runs yet."""
        self.name, self.here, self._say = name, here, say

    def perform(self, aims: Sequence[Aim]) -> Mapping[str, Any]:
        """Run the play to its end; returns the checker's figures."""
        self._run(aims, finish=lambda play: play.finish())
        return run_checker(self.here.manifest())

    def perform_until_stopped(self, code: str) -> Mapping[str, Any] | None:
        """Run until lanes stand still by ``code``; returns the figures of everything below their positions, None if none stood still."""
        stopped: list[bool] = []

        def finish(play: Play) -> None:
            deadline = time.monotonic() + STOPPED_WITHIN_S
            while time.monotonic() < deadline and not all(post.said(code) for post in play.posts):
                play.load.tick(ready=True)
                time.sleep(0.2)
            stopped.append(all(post.said(code) for post in play.posts) and not play.watch.done)
            for post in play.posts:
                post.end()

        self._run((), finish=finish)
        return run_checker(self.here.manifest(complete=False)) if stopped[0] else None

    def perform_after_entry(
        self, agreement_id: str, change: Callable[[PlanEntry], PlanEntry], *, seen: Callable[[Play, int], bool]
    ) -> bool:
        """Append another entry about an agreement while lanes are at work, and fence every lane, as a withdrawal does.

        Goes on until ``seen`` is true of the play and of how much the agreement's share topic has grown since; tells whether it was.
        """
        found: list[bool] = []

        def finish(play: Play) -> None:
            before = self._append_and_fence(agreement_id, change)
            deadline = time.monotonic() + STOPPED_WITHIN_S
            while time.monotonic() < deadline and not seen(play, self._share_end(agreement_id) - before):
                play.load.tick(ready=True)
                time.sleep(0.2)
            found.append(seen(play, self._share_end(agreement_id) - before))
            for post in play.posts:
                post.end()

        self._run((), finish=finish)
        return found[0]

    def _append_and_fence(self, agreement_id: str, change: Callable[[PlanEntry], PlanEntry]) -> int:
        """Return the end of the agreement's share topic once no step of before can be committed."""
        here = self.here
        key = f"agreement/{agreement_id}".encode()
        with PlanLog(here.broker.bootstrap, here.names.plan) as log:
            newest = next(at for at in reversed(log.read_all()) if at.key == key)
        value = encode_plan_entry(change(decode_plan_entry(newest.value or b"")))
        (batch,) = build_batches([(key, value)], bytes_max=900_000, timestamp_ms=0)
        gate = LaneGate(here.broker.bootstrap, timeout_ms=10_000)
        try:
            gate.append(here.names.plan, 0, batch.data)
            gate.fence(here.lanes, names=here.names)
        finally:
            gate.close()
        return self._share_end(agreement_id)

    def _share_end(self, agreement_id: str) -> int:
        here = self.here
        topic = here.names.share(consumer=f"{agreement_id}-office", agreement=agreement_id)
        with Admin(here.broker.bootstrap, client_id="fault-controls") as admin:
            return sum(admin.end_offsets([TopicPartition(topic, number) for number in range(admin.partitions(topic))]).values())

    def _run(self, aims: Sequence[Aim], *, finish: Callable[[Play], None]) -> None:
        here = self.here
        load = ProducerLoad(here, dataset=here.datasets[0], rows=range(here.records))
        with Watch(bootstrap=here.broker.bootstrap, group=here.names.exchange_group, lanes=here.lanes) as watch:
            command = (BROKEN_WORKER, self.name)
            play = Play(stage=here, load=load, watch=watch, seed=here.seed, aims=aims, say=self._say, command=command, rate=RATE)
            try:
                play.run()
                finish(play)
            finally:
                play.close()
                load.close()


KILL: Final = (Aim("lane.produced"), Aim("lane.produced"))
SLEEP: Final = (Aim("lane.produced", act="stop"),)


def sound(scene: Scene) -> bool:
    """Nothing is broken and nothing is found."""
    figures = scene.perform((*KILL, *SLEEP))
    return not any(figures[name] for name in FIGURES) and scene.here.call("ledger", "check")[0] == 0


def dropped_records(scene: Scene) -> bool:
    """Caught: the lanes stop with the conservation error, and nothing of the step is committed."""
    figures = scene.perform_until_stopped("HUB-LANE-006")
    return figures is not None and not any(figures[name] for name in FIGURES)


def counted_not_delivered(scene: Scene) -> bool:
    """Caught: ``cityhub ledger check`` exits 5, and the checker misses records."""
    figures = scene.perform(())
    code, _ = scene.here.call("ledger", "check")
    return code == EXIT_INTEGRITY and figures["lost"] > 0 and figures["unmetered"] > 0


def auto_commit(scene: Scene) -> bool:
    """Caught: records are lost behind an offset that was committed without them."""
    figures = scene.perform(KILL)
    return figures["lost"] + figures["duplicated"] > 0


def no_fencing(scene: Scene) -> bool:
    """Caught: a zombie commits what the new owner has delivered too."""
    return bool(scene.perform(SLEEP)["duplicated"] > 0)


def usage_outside(scene: Scene) -> bool:
    """Caught: steps are metered that never were."""
    figures = scene.perform(KILL)
    return figures["unmetered"] + figures["chain_breaks"] > 0


def unsigned_entry(scene: Scene) -> bool:
    """Caught: a suspended agreement is delivered, since a stranger wrote that it is active and signed nothing."""

    def granted(entry: PlanEntry) -> PlanEntry:
        body = entry.body.replace('"state":"suspended"', '"state":"active"')
        return msgspec.structs.replace(entry, revision=entry.revision + 7, body=body, signature=b"")

    return scene.perform_after_entry("paused", granted, seen=lambda _, grown: grown > 0)


def _withdrawn_by_a_newer_hub(scene: Scene) -> Callable[[PlanEntry], PlanEntry]:
    def change(entry: PlanEntry) -> PlanEntry:
        body = json.dumps(json.loads(entry.body) | {"state": "suspended", "level": LEVEL + 1, "quota": 1})
        newer = msgspec.structs.replace(entry, revision=entry.revision + 1, body=body)
        return sign_entry(newer, load_officer_key(scene.here.folder / "keys"))

    return change


def older_right(scene: Scene) -> bool:
    """Caught: records are delivered behind the fence of a suspension that this worker cannot read."""
    return scene.perform_after_entry("whole", _withdrawn_by_a_newer_hub(scene), seen=lambda _, grown: grown > 0)


def sound_older_right(scene: Scene) -> bool:
    """Nothing is broken: lanes stand still by the code of such an entry, and nothing more is delivered."""

    def stopped(play: Play, grown: int) -> bool:
        return grown == 0 and all(post.said("HUB-PLAN-004") and post.said("lane stopped") for post in play.posts)

    return scene.perform_after_entry("whole", _withdrawn_by_a_newer_hub(scene), seen=stopped)


CONTROLS: Final[Mapping[str, Callable[[Scene], bool]]] = {
    "sound": sound,
    "dropped_records": dropped_records,
    "counted_not_delivered": counted_not_delivered,
    "auto_commit": auto_commit,
    "no_fencing": no_fencing,
    "usage_outside": usage_outside,
    "unsigned_entry": unsigned_entry,
    "older_right": older_right,
    "sound_older_right": sound_older_right,
}


def run_control(name: str, *, broker: EmbeddedBroker, folder: Path, seed: int, kernel: str) -> bool:
    """Tell whether one control is caught."""
    say = Story()
    names = Names(scope=SCOPE, prefix=f"{name.replace('_', '-')}.")
    here = Stage(broker=broker, folder=folder, seed=seed, datasets=[passages(range(RECORDS))], names=names, kernel=kernel)
    say(f"control: {name}, kernel {here.kernel()}")
    if name == "no_fencing":
        here.environment["CITYHUB_EXCHANGE__TRANSACTION_TIMEOUT_MS"] = NO_TIME_OUT_MS
    try:
        caught = CONTROLS[name](Scene(name, here=here, say=say))
    except Failure as failure:
        say(f"the control proves nothing: {failure}")
        return False
    finally:
        here.close()
    say(f"{name}: {'as it must be' if caught else 'NOT CAUGHT'}")
    return caught


def main() -> int:
    """Run every control on one broker."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=CONTROLS, help="one control")
    parser.add_argument("--kernel", choices=("native", "reference"), default="", help="the workers' kernel (default: theirs to choose)")
    parser.add_argument("--seed", type=int, default=None, help="repeat the choices of a run")
    chosen = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if chosen.seed is None else chosen.seed
    print(f"seed {seed}", flush=True)
    assert set(CONTROLS) == set(BREAKS)
    interrupt_on_sigterm()
    found: dict[str, bool] = {}
    with tempfile.TemporaryDirectory(prefix="cityhub-controls-") as root, EmbeddedBroker(folder=Path(root) / "broker") as broker:
        for name in [chosen.only] if chosen.only else CONTROLS:
            folder = Path(root) / name
            folder.mkdir()
            found[name] = run_control(name, broker=broker, folder=folder, seed=seed, kernel=chosen.kernel)
    print(json.dumps(found))
    return 0 if all(found.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
