"""The machine: which core is whose, what a process has used of it, and who else used it meanwhile.

Processor time of a process is read from its POSIX clock, which counts all its threads, also those that ended, in nanoseconds
(clock_getcpuclockid(3)); children are added one by one, those that ended as their parent has waited for them.
"""

import contextlib
import dataclasses
import gc
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hub.broker import leash

TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
SAMPLE_EVERY_S: Final = 0.01
MEMBERS_EVERY: Final = 25
"""So many looks of a sampler apart, which processes there are and what they hold is looked up, in many files of /proc."""
END_WITHIN_S: Final = 30.0
MEMORY_FOLDER: Final = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
MEMORY_LOG_BYTES: Final = 8 << 30
"""Ten million records with what is delivered of them, and what a broker deletes a minute late."""
MEMORY_BESIDE_BYTES: Final = 4 << 30
_CPUCLOCK_SCHED: Final = 2
_SHA_FLAGS: Final = ("sha_ni", "sha2")


@dataclasses.dataclass(frozen=True)
class Cores:
    """Who runs where. On a machine of one core nothing is pinned."""

    contender: frozenset[int]
    broker: frozenset[int]

    @property
    def pinned(self) -> bool:
        """Tell whether contender and broker have cores of their own."""
        return not self.contender & self.broker


def cores(contender_cores: int = 1) -> Cores:
    """Return the first cores for the contender and the next one for broker, serve and the benchmark itself."""
    there = sorted(os.sched_getaffinity(0))
    if len(there) <= contender_cores:
        return Cores(frozenset(there), frozenset(there))
    return Cores(frozenset(there[:contender_cores]), frozenset(there[contender_cores:][:1]))


@contextmanager
def on(chosen: frozenset[int]) -> Iterator[None]:
    """Start processes on ``chosen`` inside the block: they inherit the affinity of the thread that starts them."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, chosen)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def pin(pid: int, chosen: frozenset[int]) -> None:
    """Move a process with all its threads to ``chosen``."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            os.sched_setaffinity(int(task.name), chosen)
        except ProcessLookupError:
            continue


def start(
    command: Sequence[str], *, chosen: frozenset[int], environment: Mapping[str, str], folder: Path, out: Path, err: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a program on ``chosen`` that ends with this one, however that ends; the main thread must call this."""
    leashed = [sys.executable, "-I", "-S", str(leash.__file__), str(os.getpid()), *command]
    with on(chosen), out.open("ab") as standard, (err or out).open("ab") as errors:
        return subprocess.Popen(leashed, env=dict(environment), cwd=folder, stdin=subprocess.DEVNULL, stdout=standard, stderr=errors)


def end(process: subprocess.Popen[bytes], *, within_s: float = END_WITHIN_S) -> int:
    """End a program by SIGTERM, by SIGKILL when it does not; returns its exit code."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(within_s)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()


def cpu_s(pid: int) -> float:
    """Return the processor seconds of a process, its threads and its children; 0 once it is gone."""
    return _clock_s(pid) + ended_cpu_s(pid) + sum(cpu_s(child) for child in children(pid))


def ended_cpu_s(pid: int) -> float:
    """Return the processor seconds of a process's children that have ended; 0 once it is gone."""
    try:
        return sum(map(int, _stat(pid)[13:15])) / TICKS_PER_S
    except OSError:
        return 0.0


def thread_cpu_s(thread: int) -> float:
    """Return the processor seconds of one thread; 0 once it is gone."""
    try:
        return int(Path(f"/proc/{thread}/task/{thread}/schedstat").read_text(encoding="ascii").split()[0]) / 1e9
    except (OSError, ValueError):
        return 0.0


def own_pid() -> int:
    """Return the process id of the benchmark itself."""
    return os.getpid()


def children(pid: int) -> list[int]:
    """Return the children of a process that live."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text(encoding="ascii").split())
    except OSError:
        return found
    return found


def rss_mb(pid: int, *, field: str = "VmHWM") -> float:
    """Return the most memory that a process has held (``VmRSS``: holds now), its children's added, in MiB."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0
    own = next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:")), 0.0)
    return own + sum(rss_mb(child, field=field) for child in children(pid))


def sockets(pid: int) -> int:
    """Return how many sockets a process holds open."""
    try:
        links = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]  # noqa: PTH115 - no path of a file
    except OSError:
        return 0
    return sum(link.startswith("socket:") for link in links)


@dataclasses.dataclass(frozen=True)
class Sample:
    """One look at a process."""

    at_ms: float
    """Time of day, as the broker stamps records."""
    cpu_s: float
    main_s: float
    """What its main thread has used: of ours, the event loop."""


class Sampler:
    """Looks at a process again and again, from a thread of its own; cheaply, since it works beside what is measured."""

    def __init__(self, pid: int) -> None:
        """Begin."""
        self.samples: list[Sample] = []
        self.memory: list[tuple[float, float]] = []
        """(time of day in ms, MiB held), every quarter of a second."""
        self._pid = pid
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End."""
        self._halt.set()
        self._thread.join()

    def between(self, begin_ms: float, end_ms: float) -> tuple[float, float]:
        """Return the processor seconds used from one time of day to another: of all threads and children, and of the main thread."""
        begin, end = self._at(begin_ms), self._at(end_ms)
        return end[0] - begin[0], end[1] - begin[1]

    def _at(self, when_ms: float) -> tuple[float, float]:
        """Return what had been used by then, between two looks in proportion."""
        before = self.samples[0]
        for sample in self.samples:
            if sample.at_ms >= when_ms:
                span = sample.at_ms - before.at_ms
                share = max(0.0, (when_ms - before.at_ms) / span) if span > 0 else 1.0
                return before.cpu_s + (sample.cpu_s - before.cpu_s) * share, before.main_s + (sample.main_s - before.main_s) * share
            before = sample
        return before.cpu_s, before.main_s

    def _look(self) -> None:
        looks, family, ended_s = 0, [self._pid], 0.0
        while not self._halt.is_set():
            if looks % MEMBERS_EVERY == 0:
                family = _family(self._pid)
                ended_s = sum(map(ended_cpu_s, family))
                self.memory.append((time.time() * 1000, rss_mb(self._pid, field="VmRSS")))
            used = sum(map(_clock_s, family))
            if used:
                least = self.samples[-1].cpu_s if self.samples else 0.0  # a child that has just ended is counted at the next look for it
                self.samples.append(Sample(time.time() * 1000, max(least, used + ended_s), thread_cpu_s(self._pid)))
            looks += 1
            self._halt.wait(SAMPLE_EVERY_S)


@dataclasses.dataclass(frozen=True)
class Usage:
    """What the whole machine has done since it started, in seconds of one core."""

    busy_s: float
    steal_s: float
    at_s: float


def machine_usage() -> Usage:
    """Look at /proc/stat."""
    row = [int(word) / TICKS_PER_S for word in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _wait, interrupt, soft, steal = row
    return Usage(user + nice + system + interrupt + soft, steal, time.monotonic())


class Onlookers:
    """Who used the machine during a run besides those that belong to it. A context manager.

    Inside the block the run has precedence over other work of the machine where ``precedence`` says so.
    """

    precedence: int = 0
    """Nice value of the run's processes while it is measured: below 0 for a machine that others use too. Needs root."""

    other_cores: float = 0.0
    """Cores used by processes that do not belong to the run."""
    steal_cores: float = 0.0
    """Cores that the host took."""

    def __init__(self, pids: Sequence[int]) -> None:
        """``pids`` lead the sessions of the run's processes: the broker's, and the benchmark's own."""
        self._pids = pids

    def __enter__(self) -> "Onlookers":  # noqa: PYI034 - not to be inherited from
        """Look."""
        self._prefer(self.precedence)
        self._before = (machine_usage(), cpu_s(os.getpid()))
        return self

    def __exit__(self, *_: object) -> None:
        """Look again: what is neither the benchmark's nor a child's of it is others'."""
        then, own = self._before
        now = machine_usage()
        took = max(now.at_s - then.at_s, 1e-6)
        self.other_cores = max(0.0, now.busy_s - then.busy_s - (cpu_s(os.getpid()) - own)) / took
        self.steal_cores = (now.steal_s - then.steal_s) / took
        self._prefer(0)

    def _prefer(self, nice: int) -> None:
        """Set the nice value of the sessions of the run's processes: where Linux groups tasks by session, theirs alone counts little."""
        if not self.precedence:
            return
        for pid in self._pids:
            with contextlib.suppress(OSError):
                Path(f"/proc/{pid}/autogroup").write_text(str(nice), encoding="ascii")
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    os.setpriority(os.PRIO_PROCESS, int(task.name), nice)


def settle() -> None:
    """Let the garbage collector pass over what is there: a walk through millions of records would stop this process for a second."""
    gc.collect()
    gc.freeze()


def memory_folder() -> Path | None:
    """Return a folder in memory with room for a broker's log, None where there is none."""
    try:
        there = MEMORY_FOLDER.is_mount() and shutil.disk_usage(MEMORY_FOLDER).free >= MEMORY_LOG_BYTES
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    available = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), 0)
    return MEMORY_FOLDER if there and available >= MEMORY_LOG_BYTES + MEMORY_BESIDE_BYTES else None


def processor() -> dict[str, object]:
    """Return what the processor is: model, cores, and whether it has instructions for SHA-256."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    fields = dict(part for line in text.splitlines() if len(part := [word.strip() for word in line.split(":", 1)]) == 2)
    flags = (fields.get("flags") or fields.get("Features") or "").split()
    return {
        "model": fields.get("model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "sha_instructions": any(flag in flags for flag in _SHA_FLAGS),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


@contextmanager
def told_to_stop() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end this program as Ctrl-C does, so that it leaves no process behind."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)


def _clock_s(pid: int) -> float:
    try:
        return time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)
    except OSError:
        return 0.0


def _family(pid: int) -> list[int]:
    """Return a process and what descends from it."""
    return [pid, *(member for child in children(pid) for member in _family(child))]


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat behind the name: 13 and 14 are the ticks of children that ended."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
