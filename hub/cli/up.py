"""``cityhub up``: broker, serve and one worker of one hub, watched until they are told to stop.

The three start in this order, each when the one before is ready, and stop in the reverse one. One that dies is started
again, at once at first, then ever more slowly. Who runs stands in ``up.json`` of the state folder, so that `cityhub down`, or the
next `up` after a kill, finds them.
"""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from hub.cli.children import POLL_S, hub_command, leading_words, tail_of
from hub.cli.output import JsonFlag, Session, emit, say, session, table
from hub.cli.running import Running, log_folder, only_one, read_running, stop_left_behind, write_json
from hub.model.errors import ExitCode, HubError
from hub.settings import Settings
from hub.store.private import keep_private

if TYPE_CHECKING:
    from hub.store.upgrade import Upgraded

BACKGROUND_TIMEOUT_S: Final = 180.0

NEXT: Final = (
    ("cityhub doctor", "what is well, what is not, and what is not protected yet"),
    ("cityhub dataset apply FILE", "put a department's dataset into the catalogue; README has a tour"),
    ("cityhub exchange status", "where each lane stands"),
)

app = typer.Typer()


@app.command()
def up(
    ctx: typer.Context,
    background: Annotated[bool, typer.Option("--background", help="Return when all is ready; `cityhub down` stops it.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would start, and start nothing.")] = False,
    lead_with: Annotated[
        str | None, typer.Option("--lead-with-officer-key", metavar="KEY_ID", help="For serve: a new officer's key signs from now on.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Start broker, serve and one worker, and watch them until Ctrl-C.

    The first time makes the state folder and the keys: back up `keys/`. Ports come from the settings
    (`broker.port`, `serve.port`, `exchange.metrics_port`).

    Example: `cityhub up --background && cityhub doctor`
    """
    found = session(ctx)
    if dry_run:
        emit(planned(found.settings), as_json=as_json)
    elif background:
        start_in_background(found, lead_with=lead_with)
        announce(found.settings, as_json=as_json)
    else:
        raise typer.Exit(stay_up(found, as_json=as_json, lead_with=lead_with))


def planned(settings: Settings) -> list[dict[str, Any]]:
    """Return what `up` starts, in order, and where it listens."""
    broker = [] if settings.broker.bootstrap else [{"process": "broker", "address": f"127.0.0.1:{settings.broker.port}"}]
    return [
        *broker,
        {"process": "serve", "address": settings.serve_url},
        {"process": "worker", "address": f"http://127.0.0.1:{settings.exchange.metrics_port}"},
    ]


def stay_up(found: Session, *, as_json: bool, lead_with: str | None = None) -> int:
    """Start everything and watch it; return the exit code once told to stop."""
    from hub.cli.supervisor import Orders, Told, Watch  # noqa: PLC0415 - Kafka's clients, which `up --help` does not need

    settings = found.settings
    refuse_free_ports(settings)
    keep_private(settings.state)
    with only_one(settings.state):
        orders = Orders()
        watch = Watch(found, orders, lead_with=lead_with)
        try:
            stop_left_behind(settings.state, say=say)
            hold_ports(settings)
            make_state(settings)
            watch.start()
            announce(settings, as_json=as_json)
            watch.stay()
        except Told as told:
            say("stopping worker, serve and broker …")
            return ExitCode.INTERRUPTED if told.number == signal.SIGINT else ExitCode.OK
        finally:
            watch.stop()
    return ExitCode.OK


def refuse_free_ports(settings: Settings) -> None:
    """Hold that every port is a fixed one, so that others find it; HUB-CONF-001 else."""
    ports = {
        "broker.port": settings.broker.port,
        "serve.port": settings.serve.port,
        "exchange.metrics_port": settings.exchange.metrics_port,
    }
    free = [name for name, port in ports.items() if port == 0]
    if free:
        raise HubError("HUB-CONF-001", f"`up` needs fixed ports, and `{'`, `'.join(free)}` is 0", "set a port, or leave the default")


def hold_ports(settings: Settings) -> None:
    """Hold that every port is free, before anything is made or started; HUB-BROKER-004 names the setting of one that is not."""
    from hub.broker.ports import check_free  # noqa: PLC0415 - sockets, which `up --help` does not need

    ports = {"serve.port": settings.serve.port, "exchange.metrics_port": settings.exchange.metrics_port}
    if settings.broker.bootstrap is None:
        ports |= {"broker.port": settings.broker.port, "broker.controller_port": settings.broker.controller_port}
    for setting, port in ports.items():
        if port:
            check_free(port, setting=setting)


def make_state(settings: Settings) -> None:
    """Make the state folder, and the keys of a new hub, and say so; HUB-KEY-001 where the keys of an old one are missing."""
    from hub.state import initialise  # noqa: PLC0415 - SQL and the rooms above it, which `up --help` does not need

    if initialise(settings, tell=lambda done: say(upgraded_words(done))):
        say(f"new keys are in {settings.keys_folder.absolute()}: back them up now; losing the master key changes every pseudonym")


def upgraded_words(done: "Upgraded") -> str:
    """Return what a person reads of an upgrade."""
    copy = f"; the database as it was: {done.backup}" if done.backup else ""
    return f"the database was brought from revision {done.before} to {done.after}{copy}"


def announce(settings: Settings, *, as_json: bool) -> None:
    """Say that all is ready, where it is, and what to do next; write the targets for Prometheus."""
    targets = write_targets(settings)
    if as_json:
        state = settings.state.absolute()
        emit({"processes": planned(settings), "state": state, "targets": targets, "running": read_running(settings.state)}, as_json=True)
        return
    say(f"the hub is up: {', '.join('{process} {address}'.format(**part) for part in planned(settings))}")
    say(f"logs: {log_folder(settings.state)}; targets for Prometheus: {targets}")
    table("next:", (), NEXT, stream=sys.stderr)


def write_targets(settings: Settings) -> Path:
    """Write the targets of this hub for Prometheus' ``file_sd_configs``; return the file (see ``deploy/prometheus``)."""
    ports = {"serve": settings.serve.port, "worker": settings.exchange.metrics_port}
    file = settings.state.absolute() / "prometheus" / "cityhub.json"
    write_json(
        file,
        [{"targets": [f"127.0.0.1:{port}"], "labels": {"process": name, "scope": settings.scope}} for name, port in ports.items()],
    )
    return file


def start_in_background(found: Session, *, lead_with: str | None = None) -> None:
    """Start `up` as a process of its own and return when it is ready; HUB-UP-002 with its last words when it is not."""
    state = found.settings.state
    keep_private(state)
    with only_one(state):
        if read_running(state) is None:  # else a killed `up` may have left its parts, which the new one stops first
            hold_ports(found.settings)
            make_state(found.settings)
    log = log_folder(state) / "up.log"
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603 - our own command
            hub_command(*found.flags, "--state", str(state.absolute()), "up", *leading_words(lead_with)),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    deadline = time.monotonic() + BACKGROUND_TIMEOUT_S
    while not _ready(read_running(state), process.pid):
        if process.poll() is not None:
            raise HubError("HUB-UP-002", f"`up` ended with exit status {process.returncode}{tail_of(log)}", f"`{log}` has the rest")
        if time.monotonic() > deadline:
            process.terminate()
            raise HubError("HUB-UP-002", f"`up` was not ready within {BACKGROUND_TIMEOUT_S:.0f} s{tail_of(log)}", f"`{log}` has the rest")
        time.sleep(POLL_S)


def _ready(running: Running | None, pid: int) -> bool:
    return running is not None and running.up.pid == pid and running.status == "ready"
