"""Positive controls: the checks of ``make faults`` on workers with one thing broken, each caught under its own name.

    python tests/faults/controls.py [--only NAME] [--seed N] [--kernel native|reference]

The last line is one JSON object, ``{name: caught}``; ``sound`` is the same play with nothing broken, and is true when every figure is
0. Exits 1 when one is not caught.
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

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

from broken_worker import BREAKS  # noqa: E402 - the path is set first: this is a program
from crew import Failure, Story, interrupt_on_sigterm  # noqa: E402
from faults import run_checker  # noqa: E402
from load import ProducerLoad  # noqa: E402
from play import Aim, Play  # noqa: E402
from stage import SCOPE, Stage, passages  # noqa: E402
from watch import Watch  # noqa: E402

from hub.broker.embedded import EmbeddedBroker  # noqa: E402
from hub.model.names import Names  # noqa: E402

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


CONTROLS: Final[Mapping[str, Callable[[Scene], bool]]] = {
    "sound": sound,
    "dropped_records": dropped_records,
    "counted_not_delivered": counted_not_delivered,
    "auto_commit": auto_commit,
    "no_fencing": no_fencing,
    "usage_outside": usage_outside,
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
