"""The play: which worker dies where, in which order, what else happens meanwhile, and how it all ends."""

import contextlib
import random
import signal
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from crew import WORKER, Failure, Post, Story
from load import Load
from stage import Stage
from watch import Watch

from hub.broker.admin import Admin
from hub.model.errors import HubError
from hub.observe.failpoints import FAILPOINTS

LANE_POINTS: Final = tuple(name for name in FAILPOINTS if name.startswith("lane."))
IN_TRANSACTION: Final = ("lane.offsets_sent", "lane.produced", "lane.checked")
"""Failpoints at which Kafka must list the lane's transaction as open."""
GIVEN_BACK: Final = "lane.given_back"
"""Visited by a step that its bounds ended early, and so at its first visit or never, and not near the end of a load."""
BEHIND_COMMIT: Final = ("lane.committed", GIVEN_BACK)
HIT_MAX: Final = 16
HANGS_MAX: Final = 200
"""So often a worker may hang where its lane has too little to do, and is let go on."""
HIT_WITHIN_S: Final = 60.0
GIVEN_BACK_WITHIN_S: Final = 180.0
TAKEOVER_WITHIN_S: Final = 60.0
AFTER_ZOMBIE_S: Final = 4.0
DONE_WITHIN_S: Final = 120.0
SHARED_WITHIN_S: Final = 40.0
LANE_STARTED: Final = '"event": "lane started"'
PACE_EVERY_S: Final = 1.0
EVENT_S: Final = 6.0
RATE_MIN: Final = 10.0
TICK_S: Final = 0.05


class Aim(NamedTuple):
    """A failpoint that a worker is armed with, and what is done to it there."""

    point: str
    act: str = "kill"
    """``kill``, or ``stop``: SIGSTOP past the session time-out, takeover, SIGCONT."""


class Interruption(NamedTuple):
    """What happens besides, once so many aims are done."""

    after: int
    act: str
    """``bare``: kill a worker wherever it is · ``serve`` · ``broker`` · ``broker_in_transaction``: while a worker hangs in one."""


class Play:
    """Two workers and their deaths."""

    def __init__(
        self,
        *,
        stage: Stage,
        load: Load,
        watch: Watch,
        seed: int,
        aims: Sequence[Aim],
        interruptions: Sequence[Interruption] = (),
        say: Story,
        command: Sequence[str] = WORKER,
        rate: float | None = None,
        rows_at_kill_min: int = 0,
    ) -> None:
        """Share the aims out to the two posts, in random order but for those that need much load, which come first.

        A kill at a failpoint counts only where the lane had ``rows_at_kill_min`` records in hand or before it.
        """
        self.counts: Counter[str] = Counter()
        self.hits: Counter[str] = Counter()
        self.failures: list[str] = []
        self.takeovers_s: list[float] = []
        self.rows_at_kills: list[int] = []
        """At each kill at a failpoint: offsets from the lane's position to the end of its log."""
        self.watch = watch
        self._stage, self.load, self._rate = stage, load, rate
        self._rows_at_kill_min = rows_at_kill_min
        self._at_work: set[tuple[str, int]] = set()
        self.say = say
        self._dice = random.Random(seed)
        shuffled = list(aims)
        self._dice.shuffle(shuffled)
        shuffled.sort(key=lambda aim: aim.point != GIVEN_BACK)
        self.posts = [Post(name, folder=stage.folder, environment=stage.environment, command=command) for name in "ab"]
        self._aims = {post.name: deque(shuffled[at::2]) for at, post in enumerate(self.posts)}
        self._aim: dict[str, Aim | None] = {}
        self._interruptions = deque(sorted(interruptions))
        self._events = len(aims) + len(interruptions)
        self._done_aims = 0
        self._broker_waits = False
        self._stopped: tuple[Post, Any, int, float] | None = None
        self._zombie: tuple[Post, float] | None = None
        self._began = time.monotonic()
        self._paced_at = 0.0

    # -- the course of it ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Start both workers and go on until everybody has died who had to."""
        for post in self.posts:
            self._start(post)
        while self._goes_on:
            self._pace()
            for post in self.posts:
                self._look_after(post)
            self._look_after_zombie()
            self._interrupt()
            self.load.tick(ready=self._ready)
            self._look_after_serve()
            time.sleep(TICK_S)

    @property
    def _goes_on(self) -> bool:
        return (
            self._aims_left
            or self._broker_waits
            or not self.load.finished
            or bool(self._interruptions)
            or self._stopped is not None
            or self._zombie is not None
        )

    @property
    def _aims_left(self) -> bool:
        return any(self._aims.values()) or any(aim is not None for aim in self._aim.values())

    @property
    def _ready(self) -> bool:
        """Tell whether a worker has lanes."""
        self._at_work |= {(post.name, post.starts) for post in self.posts if self._is_new(post) and post.said(LANE_STARTED)}
        return any(post.pid and not self._is_new(post) and not self._is_out(post) for post in self.posts)

    def _is_new(self, post: Post) -> bool:
        return (post.name, post.starts) not in self._at_work

    @contextlib.contextmanager
    def noting(self) -> Iterator[None]:
        """Note a failure inside the ``with``, so that the run goes on to its figures."""
        try:
            yield
        except Failure as failure:
            self.failures.append(str(failure))

    def finish(self, *, within_s: float = DONE_WITHIN_S) -> None:
        """Send the rest of the load, wait until every lane stands at its end, and end both workers by SIGTERM."""
        self.say("sending the rest of the load")
        self.load.finish(within_s=within_s)
        self._wait_done(within_s=within_s)
        self._wait_shared()
        for post in self.posts:
            code = post.end()
            if code != 0:
                self.failures.append(f"worker {post.name} ended by SIGTERM with {code}")
        open_now = [row for row in self._open_transactions() if row.transactional_id.startswith(self._stage.names.exchange_group)]
        if open_now:
            self.failures.append(f"open after SIGTERM: {open_now}")

    def _wait_done(self, *, within_s: float) -> None:
        began = time.monotonic()
        while not (self.watch.done and self.watch.sampled_at > began):
            for post in self.posts:
                self._revive(post)
            if time.monotonic() - began > within_s:
                still = {str(lane): round(seconds, 1) for lane, seconds in self.watch.still().items()}
                self.failures.append(f"lanes stand still: {still}")
                return
            time.sleep(TICK_S)
        self.say(f"every lane at its end after {time.monotonic() - began:.1f} s")

    def _wait_shared(self) -> None:
        """Wait until both workers have lanes, so that SIGTERM meets workers at work."""
        deadline = time.monotonic() + SHARED_WITHIN_S
        while not all(post.said(LANE_STARTED) for post in self.posts):
            if time.monotonic() > deadline:
                self.failures.append("two workers do not share the lanes")
                return
            time.sleep(TICK_S)

    def close(self) -> None:
        """Leave no process behind."""
        for post in self.posts:
            post.kill()

    # -- workers -------------------------------------------------------------------------------------------------------

    def _start(self, post: Post) -> None:
        aims = self._aims[post.name]
        aim = self._aim.get(post.name) or (aims.popleft() if aims else None)
        self._aim[post.name] = aim
        # a worker that is to come back must find nothing to hang at any more
        hangs = HANGS_MAX if aim is not None and aim.act == "kill" else 1
        hit = self._dice.randint(1, HIT_MAX if aim is None or aim.point != GIVEN_BACK else 1)
        post.start(failpoint=aim.point if aim else None, hit=hit, hangs=hangs)

    def _revive(self, post: Post) -> None:
        """Do what a supervisor does: a worker that ended by itself is started again."""
        code = post.ended_by_itself()
        if code is None:
            return
        self.say(f"worker {post.name} ended by itself with {code}")
        self.counts["exits"] += 1
        if code == 0:
            self.failures.append(f"worker {post.name} ended by itself with 0, which a supervisor would not notice")
        self._start(post)

    def _look_after_serve(self) -> None:
        code = self._stage.serve.ended_by_itself()
        if code is not None:
            self.say(f"serve ended by itself with {code}")
            self.counts["exits_serve"] += 1
            self._stage.serve.start()

    def _look_after(self, post: Post) -> None:
        if self._is_out(post):
            return
        self._revive(post)
        found = post.hangs()
        if found is not None:
            self._act(post, found)
        elif (aim := self._aim.get(post.name)) is not None:
            within_s = GIVEN_BACK_WITHIN_S if aim.point == GIVEN_BACK else HIT_WITHIN_S
            if time.monotonic() - post.started_at > within_s:
                what = f"was not hit, or by lanes with little to do, by worker {post.name} within {within_s:.0f} s"
                raise Failure(f"failpoint {aim.point} {what}")

    def _is_out(self, post: Post) -> bool:
        return (self._stopped is not None and self._stopped[0] is post) or (self._zombie is not None and self._zombie[0] is post)

    def _act(self, post: Post, found: dict[str, Any]) -> None:
        aim = self._aim[post.name]
        if aim is None or found["pid"] != post.pid:
            raise Failure(f"worker {post.name} hangs where nobody asked for it: {found}")
        lane = next(lane for lane in self._stage.lanes if str(lane) == found["detail"])
        if aim.act == "stop":
            self._stop_post(post, lane)
            return
        rows = self._rows_at(aim.point, lane)
        wanted = aim.point in IN_TRANSACTION
        if self._stopped is not None or rows < self._rows_at_kill_min or (wanted and not self._is_open(lane)):
            post.go_on()  # to take over from one that is stopped, or until there is enough to lose
            return
        if wanted and self._broker_waits:
            self._broker_waits = False
            self._kill_broker("while a transaction is open")
        open_now = wanted and self._is_open(lane)
        self._kill(post, f"at {aim.point} of {lane}, {rows} rows{', its transaction open' if open_now else ''}")
        self.counts["kills_in_transaction"] += open_now
        if open_now or not wanted:
            self.rows_at_kills.append(rows)
            self.hits[aim.point] += 1
            self._done_aims += 1
            self._aim[post.name] = None
        self._start(post)

    def _rows_at(self, point: str, lane: Any) -> int:
        """Return offsets from a lane's position to the end of its log; behind a commit, from where it stood when last looked at."""
        with Admin(self._stage.broker.bootstrap, client_id="fault-play") as admin:
            end = admin.end_offsets([lane])[lane]
            now = admin.committed(self._stage.names.exchange_group, [lane])[lane][0]
        return end - (self.watch.committed.get(lane, now) if point in BEHIND_COMMIT else now)

    def _kill(self, post: Post, where: str) -> None:
        post.kill()
        self.counts["kills_worker"] += 1
        self.say(f"kill -9 worker {post.name} {where} (sent {self.load.sent})")

    # -- a worker that sleeps past its session -------------------------------------------------------------------------

    def _stop_post(self, post: Post, lane: Any) -> None:
        post.send(signal.SIGSTOP)
        group = self._stage.names.exchange_group
        with Admin(self._stage.broker.bootstrap, client_id="fault-play") as admin:
            stands_at = admin.committed(group, [lane])[lane][0]
        self._stopped = (post, lane, stands_at, time.monotonic())
        self.say(f"SIGSTOP worker {post.name} in a transaction of {lane}")

    def _look_after_zombie(self) -> None:
        now = time.monotonic()
        if self._stopped is not None:
            post, lane, offset, since = self._stopped
            if self.watch.committed.get(lane, -1) > offset:
                self.takeovers_s.append(now - since)
                post.send(signal.SIGCONT)
                post.let_go()
                self.counts["stops"] += 1
                self._aim[post.name] = None
                self._done_aims += 1
                self._stopped, self._zombie = None, (post, now)
                self.say(f"SIGCONT worker {post.name}: {lane} was taken over after {now - since:.1f} s")
            elif now - since > TAKEOVER_WITHIN_S:
                raise Failure(f"nobody took {lane} over within {TAKEOVER_WITHIN_S:.0f} s")
        if self._zombie is not None and now - self._zombie[1] > AFTER_ZOMBIE_S:
            post = self._zombie[0]
            self._zombie = None
            self._kill(post, "after it came back")
            self._start(post)

    # -- the rest of the world -----------------------------------------------------------------------------------------

    def _interrupt(self) -> None:
        if self._broker_waits and not self._aims_left:
            self._broker_waits = False
            self._kill_broker("under load: nobody was left to hang in a transaction")
        if not self._interruptions or self._done_aims < self._interruptions[0].after or self._stopped is not None:
            return
        act = self._interruptions.popleft().act
        if act == "bare":
            post = self._dice.choice([post for post in self.posts if not self._is_out(post)])
            self._kill(post, "wherever it is")
            self._start(post)
        elif act == "serve":
            self._stage.serve.kill()
            self.counts["kills_serve"] += 1
            self.say("kill -9 serve")
            self._stage.serve.start()
        elif act == "broker_in_transaction":
            self._broker_waits = True
        else:
            self._kill_broker("under load")

    def _kill_broker(self, when: str) -> None:
        self._stage.broker.kill()
        down_s = self._dice.uniform(0.5, 2.0)
        self.say(f"kill -9 broker {when}")
        time.sleep(down_s)
        began = time.monotonic()
        self._stage.broker.start()
        self.counts["kills_broker"] += 1
        for post in self.posts:
            post.started_at = time.monotonic()
        self.say(f"broker is back after {down_s + time.monotonic() - began:.1f} s")

    def _is_open(self, lane: Any) -> bool:
        wanted = self._stage.names.transactional_id(lane)
        return any(row.transactional_id == wanted and row.state == "Ongoing" for row in self._open_transactions())

    def _open_transactions(self) -> list[Any]:
        for _ in range(10):
            try:
                with Admin(self._stage.broker.bootstrap, client_id="fault-play") as admin:
                    return admin.open_transactions()
            except HubError:
                time.sleep(0.3)
        raise Failure("the broker does not list its transactions")

    def _pace(self) -> None:
        """Share the rest of the load out to the events to come, so that it runs as long as things die; or as the play was told."""
        now = time.monotonic()
        if now - self._paced_at < PACE_EVERY_S:
            return
        self._paced_at = now
        if self._rate is not None:
            self.load.pace(self._rate)
            return
        left = self._events - self._done_aims - (0 if self._interruptions else 1)
        mean = (now - self._began) / self._done_aims if self._done_aims else EVENT_S / 2
        rows = self.load.rest - self._stage.records * 0.03
        self.load.pace(max(RATE_MIN, rows / max(10.0, left * mean)))
