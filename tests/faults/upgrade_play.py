"""The play of an upgrade: a hub with history under load, and its parts replaced one after the other by those of this checkout."""

import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from checkouts import Tree
from crew import WORKER, Failure, Post, Story
from load import FILE_ROWS_MAX, ConnectorLoad, Loads, ProducerLoad
from play import LANE_STARTED, RATE_MIN, TICK_S
from stage import Dataset, Stage
from upgrade_books import store_version, unproven
from watch import Watch

NEW: Final = sys.executable
PAUSE_S: Final = 2.0
"""Where nothing was handed over for so long, the load does not make up for it."""
PHASE_S: Final = 6.0
"""How long every part of the hub works beside the others before the next is replaced."""
LANES_WITHIN_S: Final = 180.0
DRAINED_WITHIN_S: Final = 300.0
HORIZON_S: Final = 120.0
"""What is left of the load is handed over as if the play lasted so long: it grows thin and never ends before the play does."""
EARLY_S: Final = 1.0
AFTER_RAISE_S: Final = (0.0, 0.3, 1.0, 3.0)
"""When the newer serve is killed in its first starts, seconds after the version of the store is raised."""
FILE_ROWS, COMMITTED_ROWS = 6_000, 5_500
"""A batch takes 5,000 rows at most: behind so many sent ones some of the file are committed."""
READY: Final = -1.0
REFUSED_WITHIN_S: Final = 180.0
CODE: Final = re.compile(r"HUB-[A-Z]+-[0-9]{3}")


class Departure(ConnectorLoad):
    """A department whose connector is replaced while files come."""

    def __init__(self, here: Stage, *, dataset: Dataset, rows: range, say: Story) -> None:
        """Start the connector; nobody kills it but on purpose."""
        self.held = False
        self._reserve = FILE_ROWS
        super().__init__(here, dataset=dataset, rows=rows, hits=0, say=say)

    @property
    def open_files(self) -> int:
        """Files that have been dropped and are not done."""
        return self._files - len(list(self._done.glob("*.csv")))

    def tick(self, *, ready: bool) -> None:
        """Do what is due; nothing while held."""
        if self.held:
            self.paused()
        else:
            super().tick(ready=ready)

    def _drop(self, rows: int, *, most: int = FILE_ROWS_MAX) -> None:
        super()._drop(min(rows, self.rest - self._reserve), most=most)

    def kill_within_a_file(self) -> None:
        """Kill the connector between two rows of a file, after some rows of it were committed."""
        self._post.end()
        if self.rest < FILE_ROWS:
            raise Failure(f"{self.rest} rows are left, which one batch takes: more --records are needed")
        self._reserve = 0
        self._drop(FILE_ROWS, most=FILE_ROWS)
        self._post.start(failpoint="connector.row_sent", hit=COMMITTED_ROWS)
        deadline = time.monotonic() + LANES_WITHIN_S
        while self._post.hangs() is None:
            if self._post.ended_by_itself() is not None or time.monotonic() > deadline:
                raise Failure("the connector did not come to the middle of a file")
            time.sleep(TICK_S)
        self._post.kill()

    def start_as(self, python: str) -> None:
        """Start the connector of another code."""
        self._post.python = python
        self._post.start()

    def refusal(self) -> str:
        """Return the code with which the connector ends by itself; empty where it does not and its files are done."""
        deadline = time.monotonic() + REFUSED_WITHIN_S
        while time.monotonic() < deadline:
            if (code := self._post.ended_by_itself()) is not None:
                told = self._post.log_since_start
                return next((word for word in ("HUB-CONN-005",) if word in told), f"exit {code}: {told[-300:]}")
            if not self.open_files:
                return ""
            time.sleep(TICK_S)
        raise Failure("the connector neither goes on nor ends")

    def settle(self) -> None:
        """Return when every file that was dropped is done."""
        deadline = time.monotonic() + DRAINED_WITHIN_S
        while self.open_files:
            if self._post.ended_by_itself() is not None:
                raise Failure(f"the connector ended: {self._post.log_since_start[-600:]}")
            if time.monotonic() > deadline:
                raise Failure(f"{self.open_files} files are not done")
            time.sleep(TICK_S)

    def end_post(self) -> int | None:
        """End the connector by SIGTERM; returns its exit code."""
        return self._post.end()


class UpgradePlay:
    """A hub of ``base``, its load, and its way to this checkout."""

    def __init__(self, here: Stage, *, base: Tree, watch: Watch, say: Story) -> None:
        """Start the load."""
        self.here, self.base, self.watch, self.say = here, base, watch, say
        self.failures: list[str] = []
        self.counts: Counter[str] = Counter()
        self.withdrawn_s: dict[str, float] = {}
        self.told: dict[str, Any] = {}
        """What the play saw that is no figure of its own."""
        self.workers = [self._post(name, base.python) for name in "ab"]
        first, second = here.datasets
        self.connector = Departure(here, dataset=first, rows=first.writers[0], say=say)
        self._ticked_at = 0.0
        self.parts: list[ConnectorLoad | ProducerLoad] = [
            self.connector,
            ProducerLoad(here, dataset=first, rows=first.writers[1], codec="lz4"),
            ProducerLoad(here, dataset=second, rows=second.writers[0], codec="zstd"),
        ]

    def begin(self) -> None:
        """Start two workers."""
        for worker in self.workers:
            worker.start()
        self.wait_for(lambda: all(worker.said(LANE_STARTED) for worker in self.workers), "the workers take no lanes")

    def _post(self, name: str, python: str) -> Post:
        return Post(name, folder=self.here.folder, environment=self.here.environment, command=WORKER, python=python)

    # -- time ----------------------------------------------------------------------------------------------------------

    def go_on(self, seconds: float = PHASE_S) -> None:
        """Let the load run for some time."""
        until = time.monotonic() + seconds
        self.wait_for(lambda: time.monotonic() > until, "", within_s=2 * seconds + 60)

    def wait_for(self, condition: Callable[[], bool], what: str, *, within_s: float = LANES_WITHIN_S) -> None:
        """Let the load run until something is true."""
        deadline = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > deadline:
                raise Failure(what)
            self._tick()
            time.sleep(TICK_S)

    def drained(self) -> None:
        """Return when all that was handed over is decided; nothing more comes meanwhile."""
        self.connector.settle()
        began = time.monotonic()
        while not (self.watch.done and self.watch.sampled_at > began):
            self._revive()
            if time.monotonic() - began > DRAINED_WITHIN_S:
                raise Failure(f"lanes stand still: { ({str(lane): round(s) for lane, s in self.watch.still().items()}) }")
            time.sleep(TICK_S)

    def _tick(self) -> None:
        now = time.monotonic()
        if now - self._ticked_at > PAUSE_S:
            for part in self.parts:
                part.paused()
        self._ticked_at = now
        load = Loads(self.parts)
        load.pace(max(RATE_MIN, load.rest / HORIZON_S))
        load.tick(ready=True)
        self._revive()

    def _revive(self) -> None:
        """Start again what ended by itself, as `up` or a service manager does."""
        for worker in self.workers:
            if (code := worker.ended_by_itself()) is not None:
                self.counts["exits_worker"] += 1
                self.say(f"worker {worker.name} ended by itself with {code}")
                worker.start()

    # -- acts ----------------------------------------------------------------------------------------------------------

    def withdraw(self, agreement: str, act: str = "suspend") -> None:
        """Take a right away under load, and keep what was answered: from these source offsets on nothing is due."""
        began = time.monotonic()
        answered = self.here.post(f"/v1/agreements/{agreement}/{act}")
        self.withdrawn_s[agreement] = round(time.monotonic() - began, 2)
        self.here.ends[agreement] = {row["partition"]: row["source_offset"] for row in answered["partitions"]}
        self.say(f"{act} {agreement}: answered after {self.withdrawn_s[agreement]} s")

    # -- replacing -----------------------------------------------------------------------------------------------------

    def replace_workers(self) -> None:
        """Replace the workers one after the other."""
        for worker in self.workers:
            code = worker.end()
            if code != 0:
                self.failures.append(f"worker {worker.name} ended by SIGTERM with {code}")
            worker.python = NEW
            worker.start()
            self.wait_for(lambda worker=worker: worker.said(LANE_STARTED), f"the newer worker {worker.name} takes no lane")  # type: ignore[misc]
            self.say(f"worker {worker.name} is replaced")
            self.go_on()

    def replace_serve(self) -> None:
        """Replace serve; the newer one is killed at several moments of its first starts, and then goes on."""
        serve, before = self.here.serve, store_version(self.here)
        code = serve.end()
        if code != 0:
            self.failures.append(f"serve ended by SIGTERM with {code}")
        serve.python = self.here.python = NEW
        met: Counter[int] = Counter()
        for seconds in (None, *AFTER_RAISE_S, READY):
            serve.start()
            if seconds is None:
                self.go_on(EARLY_S)
            elif seconds == READY:
                self.here.wait_ready()
            else:
                self.wait_for(lambda: store_version(self.here) > before or self.here.is_ready(), "the newer serve opens no store")
                self.go_on(seconds)
            if (ended := serve.ended_by_itself()) is not None:
                self.failures.append(f"the newer serve ended by itself with {ended}")
            serve.kill()
            met[store_version(self.here)] += 1
        self.counts["kills_serve"] = met.total()
        began = time.monotonic()
        serve.start()
        self.here.wait_ready()
        self.told["store_version"] = {"before": before, "after": store_version(self.here), "at_kills": {str(k): n for k, n in met.items()}}
        self.say(f"serve is replaced, {time.monotonic() - began:.1f} s to ready; versions of the store at its kills: {dict(met)}")
        self.told["plan_entries_unproven"] = unproven(self.here)

    def replace_connector(self) -> None:
        """Replace the connector: within a file first, which must be refused and lose nothing, then as README says."""
        self.connector.held = True
        self.connector.kill_within_a_file()
        self.connector.start_as(NEW)
        refused = self.connector.refusal()
        self.told["connector_within_a_file"] = refused or "goes on"
        self.say(f"the newer connector, within a file of the older: {refused or 'goes on'}")
        if refused:
            if refused != "HUB-CONN-005":
                self.failures.append(f"the newer connector, within a file of the older, said {refused}")
            self.connector.start_as(self.base.python)
            self.connector.settle()
            code = self.connector.end_post()
            if code != 0:
                self.failures.append(f"the older connector ended by SIGTERM with {code}")
            self.connector.start_as(NEW)
        self.connector.held = False
        self.say("the connector is replaced")
        self.go_on()

    def go_back(self) -> None:
        """Start the older serve on the newer state: where the store was raised it must be refused; then start the newer again."""
        serve, raised = self.here.serve, self.told["store_version"]
        serve.end()
        serve.python = self.base.python
        serve.start()
        deadline = time.monotonic() + REFUSED_WITHIN_S
        while (ended := serve.ended_by_itself()) is None and not self.here.is_ready() and time.monotonic() < deadline:
            time.sleep(TICK_S)
        refused = ended is not None and "HUB-STORE-002" in serve.log_since_start
        leads = ended is None and self.here.is_ready()
        serve.end()
        self.told["way_back"] = (
            "HUB-STORE-002" if refused else f"exit {ended}" if ended is not None else "works" if leads else "never ready"
        )
        self.say(f"the older serve on the newer state: {self.told['way_back']}")
        if refused != (raised["after"] > raised["before"]) or not (refused or leads):
            self.failures.append(f"the older serve on the newer state: {self.told['way_back']}")
        serve.python = NEW
        serve.start()
        self.here.wait_ready()

    # -- end -----------------------------------------------------------------------------------------------------------

    def stopped(self) -> dict[str, list[str]]:
        """Return the codes of refusals and of stopped lanes that the workers have logged since they were started."""
        return {worker.name: sorted(set(CODE.findall(worker.log_since_start))) for worker in self.workers}

    def finish_load(self, *, within_s: float) -> None:
        """Send the rest and wait until every lane stands at its end."""
        for part in self.parts:
            part.finish(within_s=within_s)
        self.drained()

    def end_workers(self) -> None:
        """End the workers by SIGTERM."""
        for worker in self.workers:
            code = worker.end()
            if code != 0:
                self.failures.append(f"worker {worker.name} ended by SIGTERM with {code}")

    def close(self) -> None:
        """Leave no process behind."""
        for worker in self.workers:
            worker.kill()
        for part in self.parts:
            part.close()
