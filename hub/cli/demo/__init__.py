"""``cityhub demo``: real data across a hub of its own, with every figure compared with an independent reckoning.

The stage is the hub's processes and their folder, the play is what happens on it, the oracle reckons the same by other means.
"""

import time
from typing import Annotated

import typer

from hub.cli.output import JsonFlag, emit, say

app = typer.Typer()


@app.command()
def demo(
    records: Annotated[int | None, typer.Option("--records", min=1, help="Only the first so many of the 336,776 flights.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the hub running afterwards, and say how to look around and stop it.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Publish real flights and aircraft, deliver them under four agreements, bill them, and check every figure.

    Runs in a folder of its own, on free ports; other hubs on this machine are left alone. Ends with exit code 5 when a figure differs
    from the reckoning of `tests/oracle`. `seconds` in `--json` is the whole run, from the first line to the summary.

    Example: `cityhub demo --records 5000 --json`
    """
    began = time.monotonic()
    say("cityhub demo: real flights of 2013 cross a hub of their own")
    from hub.cli.demo.figures import refuse  # noqa: PLC0415 - Kafka and SQL, which `--help` and the first line need not wait for
    from hub.cli.demo.play import play, require_clone  # noqa: PLC0415 - same
    from hub.cli.demo.report import print_outcome, tell_of_keep  # noqa: PLC0415 - same
    from hub.cli.demo.stage import Stage, told_to_stop  # noqa: PLC0415 - same

    require_clone()
    with told_to_stop(), Stage(keep=keep) as stage:
        say(f"in {stage.folder}, Kafka on {stage.bootstrap}, API on {stage.settings.serve_url}")
        stage.open(waiting=say)
        outcome = play(stage, records=records, began=began)
        if as_json:
            emit(outcome.figures, as_json=True)
        else:
            print_outcome(outcome, stage)
        refuse(outcome.problems)
        say("stopping …" if not keep else f"left running: {stage.shown('down')} stops it")
    if not keep and not as_json:
        tell_of_keep()
