"""``cityhub down``: stops what `cityhub up` started on the state folder, and what a killed `up` left behind."""

from typing import Annotated, Final

import typer

from hub.cli.children import stop_marked
from hub.cli.output import JsonFlag, emit, say, session
from hub.cli.running import STOP_ORDER, read_running, stop_left_behind
from hub.model.errors import HubError

GRACE_S: Final = 90.0
"""`up` needs this long at most: worker, serve and broker stop one after the other."""

app = typer.Typer()


@app.command()
def down(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would stop, and stop nothing.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Stop worker, serve and broker of this state folder, in this order. Nothing running is no error.

    A process is signalled only if id and start time are those that `up` noted.

    Example: `cityhub down`
    """
    state = session(ctx).settings.state
    running = read_running(state)
    alive = [name for name in STOP_ORDER if running and name in running.children and running.children[name].alive]
    if dry_run or running is None:
        _tell(alive, as_json=as_json, words="would stop" if dry_run else "stopped")
        return
    if running.up.alive:
        say(f"stopping {', '.join(alive) or 'up'} …")
        if not stop_marked(running.up, grace_s=GRACE_S):
            raise HubError("HUB-UP-003", f"`cityhub up` (process {running.up.pid}) does not end", "end it by hand, then try again")
    stop_left_behind(state, say=say)
    _tell(alive, as_json=as_json, words="stopped")


def _tell(names: list[str], *, as_json: bool, words: str) -> None:
    if as_json:
        emit({words.replace(" ", "_"): names}, as_json=True)
    else:
        say(f"{words}: {', '.join(names) or 'nothing, since nothing runs here'}")
