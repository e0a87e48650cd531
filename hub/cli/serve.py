"""``cityhub serve``: registry, catalogue, agreements, API and ledger collector in one process."""

from typing import TYPE_CHECKING, Annotated

import structlog
import typer

from hub.cli.output import session
from hub.observe.logs import configure_logs
from hub.store.private import keep_private

if TYPE_CHECKING:
    from hub.store.upgrade import Upgraded

app = typer.Typer()


@app.command()
def serve(
    ctx: typer.Context,
    init: Annotated[bool, typer.Option("--init", help="Make the state folder, and the keys of a new hub.")] = False,
    adopt_plan: Annotated[
        bool, typer.Option("--adopt-plan", help="After a restored backup: take the newer state from hub.plan (HUB-SERVE-003).")
    ] = False,
    lead_with: Annotated[
        str | None,
        typer.Option("--lead-with-officer-key", metavar="KEY_ID", help="Sign with this key from now on, though another signed so far."),
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; else `serve.port`. 0: a free one.")] = None,
) -> None:
    """Run registry, catalogue, agreements, API and ledger collector until SIGTERM or Ctrl-C.

    One serve of a state folder writes; a second one stands by on a port of its own, says so in /readyz, and takes over when the
    first is gone. The keys must be there: `cityhub up` makes them for a new hub, or `--init` does. Another officer's key than the one that
    signed so far leads only by `--lead-with-officer-key`: first add its line of trust.keys to that of every worker.

    Example: `cityhub serve --init`

    Example: `cityhub serve --port 18090` (stands by beside the first)
    """
    settings = session(ctx).settings
    configure_logs(process="serve")
    from hub.api.server import serve_forever  # noqa: PLC0415 - a second of imports that `--help` need not pay
    from hub.state import bring_up_to_date, initialise  # noqa: PLC0415 - same
    from hub.store.keys import load_master_keys, load_officer_key, load_trust_keys  # noqa: PLC0415 - same

    keep_private(settings.state)
    if init:
        initialise(settings, tell=_log_upgrade)
    load_master_keys(settings.keys_folder)
    load_officer_key(settings.keys_folder)
    load_trust_keys(settings.keys_folder)
    bring_up_to_date(settings, tell=_log_upgrade)
    if port is not None:
        settings = settings.model_copy(update={"serve": settings.serve.model_copy(update={"port": port})})
    serve_forever(settings, adopt_plan=adopt_plan, lead_with=lead_with)


def _log_upgrade(done: "Upgraded") -> None:
    structlog.get_logger().info("store_upgraded", revision=done.after, file=done.backup, reason=f"it was at {done.before}")
