"""``cityhub worker``: one worker of the exchange."""

import os

import typer

from hub.cli.output import session
from hub.observe.logs import configure_logs

app = typer.Typer()


@app.command()
def worker(ctx: typer.Context) -> None:
    """Run one worker of the exchange until SIGTERM or Ctrl-C.

    Start as many as there are partitions: they share the work in one consumer group. Health and metrics are on 127.0.0.1,
    port `exchange.metrics_port` (0: a free one, which the log names). On a stop no transaction stays open.

    Example: `CITYHUB_EXCHANGE__METRICS_PORT=0 cityhub worker`
    """
    found = session(ctx)
    if found.state is not None:
        os.environ["CITYHUB_STATE"] = str(found.state)
    if found.config is not None:
        os.environ["CITYHUB_CONFIG"] = str(found.config)
    configure_logs(process="worker")
    from hub.exchange import worker as exchange_worker  # noqa: PLC0415 - the module reads the environment when it is imported

    exchange_worker.execute()
