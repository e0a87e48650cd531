"""The worker: a Faust app whose one agent gives each chunk to the lane of its partition.

``cityhub worker`` runs it; ``faust -A hub.exchange.worker --loop uvloop worker`` works too. Settings come from ``cityhub.yaml`` and the
environment. Faust's own commits and exactly-once stay off for data topics, its web server is off (it would listen on all
interfaces), and it declares no topic.
"""

import asyncio
import gc
import os
import threading
from typing import Any, Final, NoReturn

import faust
import mode.loop
import structlog

from hub.broker.security import context, secure
from hub.exchange.floor import END_WITHIN_S, Floor, within
from hub.exchange.transport import ChunkSchema
from hub.model.errors import ExitCode
from hub.observe.health import HealthServer
from hub.settings import Settings, load_settings

REQUEST_TIMEOUT_S: Final = 15.0
SUBSCRIBE_AGAIN_S: Final = 1.0
STOP_CONSUMER_WITHIN_S: Final = 2.0
GARBAGE_YOUNG: Final = 20_000
"""Objects between two looks of the collector; Python looks every 700."""
log = structlog.get_logger()


class ExchangeApp(faust.App):
    """A Faust app that carries the floor of the exchange."""

    exchange: Floor
    departments: Any
    health: HealthServer | None = None

    async def on_first_start(self) -> None:
        """Read hub.plan before the consumer joins the group: a worker that may not decide takes no partition."""
        self.health = HealthServer(self.exchange.settings.metrics_port, self.exchange.readiness(), process="worker")
        log.info("health and metrics are served", port=self.health.port)
        topics = await self.exchange.open()
        self.departments.topics = sorted(topics)
        await super().on_first_start()
        settle()

    async def on_stop(self) -> None:
        """End every lane at a step's border, then stop: Faust would leave transactions open."""
        await within(self._stop_consumer(), seconds=STOP_CONSUMER_WITHIN_S)
        await self.exchange.close()
        if self.health is not None:
            self.health.close()
        await super().on_stop()


class Worker(faust.Worker):
    """Faust's worker, which ends whatever it waits for: aiokafka and Faust look for a broker that is gone for ever."""

    async def stop(self) -> None:
        """Stop in order; after ``END_WITHIN_S`` the process ends as it stands, and transactions that are open time out at the broker."""
        watchdog = threading.Timer(END_WITHIN_S, _end_now)
        watchdog.daemon = True
        watchdog.start()
        await super().stop()


def _end_now() -> None:
    log.warning("the broker does not let this worker go: it ends as it stands")
    os._exit(ExitCode.DEPENDENCY)


def settle() -> None:
    """Let the garbage collector pass over what stays as long as the worker, and look seldom: chunks and steps hold no cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_YOUNG, *gc.get_threshold()[1:])


def create_app(settings: Settings) -> ExchangeApp:
    """Return the app for ``settings``; nothing is connected until it starts."""
    exchange = settings.exchange
    secure(settings)
    tls = context(settings.bootstrap)
    made = ExchangeApp(
        settings.names.exchange_group,
        broker=f"cityhub://{settings.bootstrap}",
        datadir=str(settings.state.absolute() / "faust"),
        autodiscover=False,
        store="memory://",
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        reply_create_topic=False,
        table_standby_replicas=0,
        broker_session_timeout=exchange.session_timeout_s,
        broker_heartbeat_interval=exchange.heartbeat_interval_s,
        broker_request_timeout=REQUEST_TIMEOUT_S,
        broker_credentials=None if tls is None else faust.SSLCredentials(tls),
        consumer_max_fetch_size=exchange.fetch_bytes_max,
        consumer_auto_offset_reset="earliest",
        consumer_metadata_max_age_ms=round(exchange.metadata_max_age_s * 1000),
        stream_wait_empty=False,
    )
    made.exchange = Floor(settings, app=made)
    made.departments = made.topic("none", schema=ChunkSchema(), key_type=bytes, value_type=bytes, acks=False, maxsize=16)
    return made


_settings = load_settings()
app = create_app(_settings)
departments = app.departments


@app.agent(departments)
async def exchange(chunks: Any) -> None:
    """Give each chunk to the lane of its partition: one event is one chunk."""
    async for chunk in chunks:
        app.exchange.take(chunk)


@app.task
async def serve_new_datasets(app: ExchangeApp) -> None:
    """Subscribe to datasets as they are published; asked again while a rebalance swallows the wish."""
    while not app.should_stop:
        topics = await app.exchange.new_topics(app.departments.topics)
        app.departments.topics += sorted(topics)
        for channel in app.topics:
            channel.topics = app.departments.topics
        while not topics <= app.topics._topic_name_index.keys() and not app.should_stop:  # noqa: SLF001 - see the contract test
            app.topics._flag_changes()  # noqa: SLF001 - Faust offers no way to extend a subscription
            await asyncio.sleep(SUBSCRIBE_AGAIN_S)


def execute() -> NoReturn:
    """Run the worker on uvloop until SIGTERM or SIGINT; exits 0 with no transaction open."""
    mode.loop.use("uvloop")
    worker = Worker(app, override_logging=False, redirect_stdouts=False, quiet=True)
    worker.spinner = None  # it writes escape codes for a terminal between the lines of the log
    worker.execute_from_commandline()
    raise SystemExit(0)
