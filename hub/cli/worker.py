"""``cityhub worker``: one worker of the exchange, or several under one watch.

Each process is launched with glibc's allocator told to keep what it has (``ALLOCATOR``): buffers of a megabyte would else be given
back to the system and faulted in again, page by page, at every step, which costs a third of the throughput (measured in the studies
behind the design).
"""

import os
import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from hub.cli.output import Session, session
from hub.model.errors import HubError
from hub.observe.logs import configure_logs
from hub.store.private import keep_private

if TYPE_CHECKING:
    from hub.cli.crew import Crew

app = typer.Typer()

ALLOCATOR: Final = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}
"""Read by glibc when a process starts, and by nothing else."""
PROCESSES_MAX: Final = 64


@app.command()
def worker(
    ctx: typer.Context,
    processes: Annotated[int, typer.Option(min=1, max=PROCESSES_MAX, help="How many processes share the partitions.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Say at the start, as one JSON object, which processes run where.")] = False,
) -> None:
    """Run workers of the exchange until SIGTERM or Ctrl-C.

    Start as many as there are processors, on as many machines as there are partitions: they share the work in one consumer group.
    Health and metrics of the first are on 127.0.0.1, port `exchange.metrics_port`, of the others on the ports behind it (0: free
    ones, which the log names). A process that dies is started again. On a stop no transaction stays open.

    Example: `cityhub worker --processes 2`
    """
    found = session(ctx)
    if found.state is not None:
        os.environ["CITYHUB_STATE"] = str(found.state)
    if found.config is not None:
        os.environ["CITYHUB_CONFIG"] = str(found.config)
    keep_private(found.settings.state)
    if processes > 1:
        raise typer.Exit(_crew(found, processes).run(as_json=as_json))
    port = found.settings.exchange.metrics_port
    if ALLOCATOR.keys() - os.environ.keys():
        _hold_free(port)
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], ALLOCATOR | os.environ)  # noqa: S606 - this very command
    configure_logs(process="worker")
    from hub.exchange import worker as exchange_worker  # noqa: PLC0415 - the module reads the environment when it is imported

    exchange_worker.execute()


def _hold_free(*ports: int) -> None:
    """Hold that nobody listens where this worker shall, before anything starts; HUB-BROKER-004 else. 0 is a free one."""
    from hub.broker.ports import is_free  # noqa: PLC0415 - sockets, which `--help` does not need

    taken = [port for port in ports if port and not is_free(port)]
    if taken:
        other = f"set CITYHUB_EXCHANGE__METRICS_PORT={max(ports) + 1}, or 0 for a free one"
        fix = f"another worker, such as that of `cityhub up`, has it: {other}"
        shown = ", ".join(map(str, taken))
        raise HubError("HUB-BROKER-004", f"`exchange.metrics_port`: {shown} of 127.0.0.1 is taken", fix)


def _crew(found: Session, processes: int) -> "Crew":
    from hub.cli.crew import Crew  # noqa: PLC0415 - with its imports 400 kB, which a worker by itself would hold for ever

    first = found.settings.exchange.metrics_port
    ports = [first + place if first else 0 for place in range(processes)]
    _hold_free(*ports)
    return Crew({f"worker {place}": {"CITYHUB_EXCHANGE__METRICS_PORT": str(port)} for place, port in enumerate(ports, 1)})
