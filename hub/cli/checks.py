"""The checks of ``cityhub doctor``: each looks at one thing and tells what it found. A new one is a function and a line of ``CHECKS``."""

import contextlib
import resource
import shutil
import socket
import stat
import sys
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec
import sqlalchemy as sa

from hub.app import Hub
from hub.broker.admin import Admin, answers
from hub.broker.clock import skew_ms
from hub.broker.embedded import EmbeddedBroker, check_java
from hub.cli.children import readiness
from hub.cli.running import read_running
from hub.exchange import kernel
from hub.model.errors import ExitCode, HubError
from hub.model.signing import key_id_of
from hub.settings import Settings
from hub.store.engine import open_engine
from hub.store.keys import load_master_keys, load_officer_key, load_trust_keys
from hub.store.private import open_to_others
from hub.store.tables import require_scope
from hub.store.upgrade import behind, standing

PYTHON_MIN: Final = (3, 11)
SKEW_MS_MAX: Final = 1_000
ACTS_NEWEST: Final = 200
"""Acts that doctor looks at."""
DISK_FREE_BYTES_WARN: Final = 5 * 1024**3
DISK_FREE_BYTES_MIN: Final = 1024**3
TOPICS_TOLD_MAX: Final = 5
PATHS_TOLD_MAX: Final = 5
FILES_BASE: Final = 300
FILES_OF_PARTITION: Final = 2
MAPS_BASE: Final = 1_000
MAPS_OF_PARTITION: Final = 4
"""Of Kafka: a partition has 1 file open and 2 mapped for each segment; twice that leaves room for a segment that is rolled."""


class Status(StrEnum):
    """How a check went. Only ``failed`` and ``down`` change the exit code."""

    OK = "ok"
    WARN = "warn"
    SKIPPED = "skipped"
    FAILED = "failed"
    DOWN = "down"


class Finding(msgspec.Struct, frozen=True):
    """What one check found, and how to mend it."""

    status: Status
    detail: str
    fix: str = ""


def _python(_settings: Settings) -> Finding:
    shown = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < PYTHON_MIN:
        return Finding(Status.DOWN, f"Python {shown}", "install Python 3.11 or newer, then `make setup`")
    return Finding(Status.OK, f"Python {shown}")


def _java(settings: Settings) -> Finding:
    if settings.broker.bootstrap:
        return Finding(Status.SKIPPED, "an outside cluster is set")
    return Finding(Status.OK, check_java())


def _jars(settings: Settings) -> Finding:
    if settings.broker.bootstrap:
        return Finding(Status.SKIPPED, "an outside cluster is set")
    libs = EmbeddedBroker(folder=settings.state / "broker").libs
    count = len(list(libs.glob("*.jar")))
    if not any(libs.glob("kafka_2.13-*.jar")):
        return Finding(Status.DOWN, f"no Kafka in {libs}", "run `make setup`, or set CITYHUB_KAFKA_LIBS")
    return Finding(Status.OK, f"{count} jars in {libs}")


def _ports(settings: Settings) -> Finding:
    """Ports are ours while an `up` runs here, and must be free while none does."""
    running = read_running(settings.state)
    if running is not None and running.up.alive:
        return Finding(Status.OK, f"held by `cityhub up` (process {running.up.pid})")
    ports = {"serve.port": settings.serve.port, "exchange.metrics_port": settings.exchange.metrics_port}
    if settings.broker.bootstrap is None:
        ports |= {"broker.port": settings.broker.port, "broker.controller_port": settings.broker.controller_port}
    taken = [f"{name} {port}" for name, port in ports.items() if port and not _is_free(port)]
    if taken:
        return Finding(
            Status.WARN, f"in use, and not by an `up` of this folder: {', '.join(taken)}", "stop what listens there, or set other ports"
        )
    return Finding(Status.OK, f"free: {', '.join(f'{name} {port}' for name, port in ports.items())}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def has_begun(settings: Settings) -> bool:
    """Tell whether a hub was ever begun here: `up` makes keys before anything else."""
    return settings.keys_folder.exists() or (settings.state / "hub.sqlite3").exists()


def _folder(settings: Settings) -> Finding:
    folder = settings.state
    if not has_begun(settings):
        return Finding(
            Status.DOWN, f"no hub was begun in {folder.absolute()} yet", "begin it: `cityhub up`; or give the folder of one by `--state`"
        )
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o022:
        return Finding(Status.FAILED, f"others may write to {folder.absolute()}", f"chmod 700 {folder.absolute()}")
    close = f"chmod -R go= {folder.absolute()}, or start `cityhub up` again: it does"
    if found := open_to_others(folder):
        names = ", ".join(sorted({path.relative_to(folder).parts[0] for path in found})[:PATHS_TOLD_MAX])
        return Finding(Status.FAILED, f"others may read what is in {folder.absolute()}: {names}", close)
    if mode & 0o077:
        return Finding(Status.WARN, f"others may look into {folder.absolute()}, mode {mode:o}", close)
    return Finding(Status.OK, f"{folder.absolute()} of mode {mode:o}")


def _keys(settings: Settings) -> Finding:
    master = load_master_keys(settings.keys_folder)
    officer = load_officer_key(settings.keys_folder)
    return Finding(Status.OK, f"master keys of epochs {', '.join(map(str, sorted(master)))}, officer `{key_id_of(officer.public_key())}`")


def _trust(settings: Settings) -> Finding:
    trust = load_trust_keys(settings.keys_folder)
    own = key_id_of(load_officer_key(settings.keys_folder).public_key())
    if own not in trust:
        return Finding(Status.FAILED, f"the officer's key `{own}` is not in trust.keys", "add its public key: workers refuse what it signs")
    return Finding(Status.OK, f"{len(trust)} keys, the officer's among them")


def _store(settings: Settings) -> Finding:
    url = sa.engine.make_url(settings.store_url)
    shown = url.render_as_string(hide_password=True)
    if url.get_backend_name() == "sqlite" and not (settings.state / "hub.sqlite3").exists() and settings.ledger.url is None:
        return Finding(Status.FAILED, f"{shown} does not exist", "`cityhub up` makes it")
    try:
        engine = open_engine(settings.store_url)
    except ImportError as error:
        return Finding(Status.DOWN, f"{shown}: no module `{error.name}`", "install the driver of that database")
    try:
        found = standing(engine)
        if found.revision is not None:
            require_scope(engine, settings.scope)
    except (HubError, sa.exc.SQLAlchemyError) as error:
        if isinstance(error, HubError) and error.code != "HUB-STORE-001":
            raise
        cause = error.message if isinstance(error, HubError) else type(error).__name__
        return Finding(Status.DOWN, f"{shown}: {cause}", "is the database up?")
    finally:
        engine.dispose()
    if found.pending:
        refusal = behind(found)
        return Finding(Status.FAILED, f"{shown}: {refusal.message}", refusal.fix)
    return Finding(Status.OK, f"{shown}, revision {found.revision}")


def _broker(settings: Settings) -> Finding:
    if not answers(settings.bootstrap):
        raise HubError("HUB-BROKER-001", f"no broker answers at `{settings.bootstrap}`", "`cityhub up`, or set `broker.bootstrap`")
    with Admin(settings.bootstrap, client_id="cityhub-doctor") as admin:
        return Finding(Status.OK, f"{settings.bootstrap}: {admin.check_version()}")


def _clock(settings: Settings) -> Finding:
    skew = skew_ms(settings.bootstrap)
    if abs(skew) > SKEW_MS_MAX:
        return Finding(
            Status.WARN,
            f"the broker's clock is {abs(skew)} ms {'ahead of' if skew > 0 else 'behind'} this machine's",
            "set both by NTP; terms follow the broker's",
        )
    return Finding(Status.OK, f"broker and this machine differ by {abs(skew)} ms")


def _key_check(settings: Settings) -> Finding:
    """Compare each master key with the check value that stands in hub.plan, as far as a trusted key signed it."""
    with Hub(settings) as hub:
        epochs, fault = hub.plan_reader.ask(lambda book: (book.key_epochs, book.key_fault))
    if not epochs:
        return Finding(Status.WARN, f"{settings.names.plan} states no key yet", "`cityhub serve` writes it when it starts")
    if fault is not None:
        return Finding(Status.FAILED, f"{fault.message}: no worker takes a lane", fault.fix)
    return Finding(Status.OK, f"master keys of epochs {', '.join(map(str, epochs))} are those of hub.plan")


def _topics(settings: Settings) -> Finding:
    """Compare every topic of the hub with what it needs."""
    with Hub(settings) as hub:
        flaws = hub.upkeep.look()
    if not flaws:
        return Finding(Status.OK, "all there, as wide and as set as the hub needs them")
    told = "; ".join(f"`{flaw.topic}`: {flaw.what}" for flaw in flaws[:TOPICS_TOLD_MAX])
    more = f" and {len(flaws) - TOPICS_TOLD_MAX} more" if len(flaws) > TOPICS_TOLD_MAX else ""
    if all(flaw.mended for flaw in flaws):
        return Finding(
            Status.FAILED, f"{told}{more}", "`cityhub serve` mends these within seconds while it runs; find out who changed them"
        )
    fix = "a department's topic that is gone: `cityhub exchange status`; settings: set them back by `kafka-configs.sh`"
    return Finding(Status.FAILED, f"{told}{more}", fix)


def _lanes(settings: Settings) -> Finding:
    """Ask Kafka and the workers how every lane stands, as `cityhub exchange status` does."""
    with Hub(settings) as hub:
        rows = hub.lanes()
    still = [row for row in rows if row.code is not None]
    if not rows:
        return Finding(Status.OK, "no dataset is published yet")
    if not still:
        return Finding(Status.OK, f"{len(rows)} lanes go on")
    told = []
    for goes_on, what in ((False, "stand still"), (True, "go on and deny records of a consumer")):
        codes = [str(row.code) for row in still if row.goes_on is goes_on]
        told += [f"{len(codes)} of {len(rows)} lanes {what}: {', '.join(sorted(set(codes)))}"] if codes else []
    return Finding(Status.FAILED, "; ".join(told), "`cityhub exchange status` says which and why")


def _serve(settings: Settings) -> Finding:
    return _ready(f"{settings.serve_url}/readyz", command="serve")


def _worker(settings: Settings) -> Finding:
    if not settings.exchange.metrics_port:
        return Finding(Status.SKIPPED, "exchange.metrics_port is 0: ask each worker at the port that its log names")
    return _ready(f"http://127.0.0.1:{settings.exchange.metrics_port}/readyz", command="worker")


def _ready(url: str, *, command: str) -> Finding:
    reason = readiness(url)
    if reason is None:
        return Finding(Status.OK, f"{url} is ready")
    return Finding(Status.DOWN, f"{url} {reason}", f"`cityhub up`, or `cityhub {command}`; `{url}?verbose` lists its checks")


def _acts(settings: Settings) -> Finding:
    """Hold the newest acts against their anchors; `cityhub acts verify` walks them all."""
    with Hub(settings) as hub:
        found = hub.verify_acts(newest=ACTS_NEWEST)
    if found.code is not None:
        return Finding(Status.FAILED, f"{found.code} {found.cause}", found.fix)
    shown = f"{found.acts:,} acts, anchored up to {found.anchored or 0:,}"
    if found.notes:
        return Finding(Status.WARN, f"{shown}; {'; '.join(found.notes)}", "`cityhub acts verify` holds every act against its anchors")
    return Finding(Status.OK, shown)


def _disk(settings: Settings) -> Finding:
    folder = settings.state if settings.state.exists() else settings.state.absolute().parent
    free = shutil.disk_usage(folder).free
    shown = f"{free / 1024**3:.1f} GiB free"
    if free < DISK_FREE_BYTES_MIN:
        return Finding(Status.FAILED, shown, "the embedded broker starts with 1 GiB at least")
    return Finding(
        Status.WARN if free < DISK_FREE_BYTES_WARN else Status.OK, shown, "make room soon" if free < DISK_FREE_BYTES_WARN else ""
    )


def _limits(settings: Settings) -> Finding:
    """Compare what the embedded broker may open and map with what its partitions need."""
    if settings.broker.bootstrap:
        return Finding(Status.SKIPPED, "an outside cluster is set")
    partitions = _partitions(settings.state / "broker" / "kafka" / "data")
    files, maps = _files_allowed(settings), _maps_allowed()
    needed = {"files": FILES_BASE + FILES_OF_PARTITION * partitions, "maps": MAPS_BASE + MAPS_OF_PARTITION * partitions}
    shown = f"{partitions} partitions need {needed['files']} open files of {files} and {needed['maps']} maps of {maps}"
    fixes = []
    if files < needed["files"]:
        fixes.append(f"raise the hard limit of open files (`ulimit -Hn {2 * needed['files']}`, or LimitNOFILE=) and start the broker again")
    if maps < needed["maps"]:
        fixes.append(f"`sysctl -w vm.max_map_count={2 * needed['maps']}`")
    return Finding(Status.WARN if fixes else Status.OK, shown, "; ".join(fixes))


def _partitions(data: Path) -> int:
    """Count the partitions that the embedded broker keeps: a folder `topic-number` for each."""
    if not data.exists():
        return 0
    return sum(1 for folder in data.iterdir() if folder.is_dir() and folder.name.rpartition("-")[2].isdigit())


def _files_allowed(settings: Settings) -> int:
    """Return how many files the broker may open: as the running one has it, else what one that starts now would get."""
    running = read_running(settings.state)
    mark = running.children.get("broker") if running is not None else None
    if mark is not None and mark.alive:
        with contextlib.suppress(OSError, ValueError, IndexError):
            limits = Path(f"/proc/{mark.pid}/limits").read_text(encoding="ascii")
            return int(limits.partition("Max open files")[2].split()[0])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard


def _maps_allowed() -> int:
    try:
        return int(Path("/proc/sys/vm/max_map_count").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return sys.maxsize  # not Linux: nothing is bounded by this name


def _kernel(_settings: Settings) -> Finding:
    return Finding(Status.OK, kernel.name())


Check = Callable[[Settings], Finding]

CHECKS: Final[Mapping[str, Check]] = {
    "python": _python,
    "java": _java,
    "jars": _jars,
    "state folder": _folder,
    "disk": _disk,
    "limits": _limits,
    "keys": _keys,
    "trusted keys": _trust,
    "store": _store,
    "ports": _ports,
    "broker": _broker,
    "clock": _clock,
    "key check value": _key_check,
    "topics": _topics,
    "lanes": _lanes,
    "acts": _acts,
    "serve": _serve,
    "worker": _worker,
    "kernel": _kernel,
}
_NEEDS_BROKER: Final = ("clock", "key check value", "topics", "lanes")
_NEEDS_STORE: Final = ("acts",)
_NEEDS_BEGINNING: Final = ("keys", "trusted keys", "store", "acts", "serve", "worker")


def run_checks(settings: Settings) -> dict[str, Finding]:
    """Run every check; what needs the broker is skipped when it is down."""
    found: dict[str, Finding] = {}
    begun = has_begun(settings)
    for name in CHECKS:
        if not begun and (name in _NEEDS_BEGINNING or (name == "broker" and settings.broker.bootstrap is None)):
            found[name] = Finding(Status.SKIPPED, "not begun yet")
        elif name in _NEEDS_BROKER and found["broker"].status is not Status.OK:
            found[name] = Finding(Status.SKIPPED, "the broker does not answer")
        elif name in _NEEDS_STORE and found["store"].status is not Status.OK:
            found[name] = Finding(Status.SKIPPED, "the store does not answer")
        else:
            found[name] = run_check(name, settings)
    return found


def run_check(name: str, settings: Settings) -> Finding:
    """Run one check; a coded error that it meets is its finding."""
    try:
        return CHECKS[name](settings)
    except HubError as error:
        status = Status.DOWN if error.entry.exit is ExitCode.DEPENDENCY else Status.FAILED
        return Finding(status, f"{error.code} {error.message}", error.fix)
