"""``cityhub serve`` as a process: the lease, the takeover, the threads, and a clean end.

States: *standby* (another serve holds the lease: reads are answered, writes are 503 HUB-SERVE-002), *taking over* (the broker is
waited for, hub.plan is read and repaired), *leading*. The ledger collector and the watch over hub.plan run only while leading. A lease
can be lost: then nothing is written any more, from that moment on, and the process ends with HUB-SERVE-005.
"""

import asyncio
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from types import FrameType
from typing import Final

import structlog
import uvicorn
from sqlalchemy.exc import SQLAlchemyError

from hub.agreements.control import ControlPlane
from hub.agreements.repair import PlanKeeper
from hub.api.connections import BACKLOG, bounded_protocol, raise_descriptors
from hub.api.dependencies import Dependencies
from hub.api.faces import build_app
from hub.app import Hub
from hub.ledger.collector import Collector
from hub.model.errors import ExitCode, HubError, of_system
from hub.observe.health import Check
from hub.settings import Settings, url_of
from hub.store.engine import fence_of, refused_by_store
from hub.store.lease import begin_term, serve_lease

log = structlog.get_logger()
LEASE_EVERY_S: Final = 0.5
RETRY_S: Final = 2.0
STOP_WITHIN_S: Final = 10
SWITCH_S: Final = 0.0005
"""A check of a wide schema holds the interpreter; a withdrawal asks for it some hundred times, and must not wait 5 ms each time."""
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
STANDBY: Final = "standby"
TAKING_OVER: Final = "taking over"
LEADING: Final = "leading"


def serve_forever(settings: Settings, *, adopt_plan: bool = False, lead_with: str | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C; raises what no waiting can mend, such as HUB-KEY-002.

    With ``adopt_plan`` SQL takes over what hub.plan says beyond it, once, before anything else. ``lead_with`` names an officer's key that
    takes the place of the one that signed so far.
    """
    serve = Serve(settings, adopt_plan=adopt_plan, lead_with=lead_with)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, serve.on_signal)
    serve.run()


class Serve:
    """One serve process; it is the ``House`` of its routes."""

    def __init__(self, settings: Settings, *, adopt_plan: bool = False, lead_with: str | None = None) -> None:
        """Bind the port; HUB-BROKER-004 when it is taken, HUB-CONF-001 when it would be open to others."""
        self.hub = Hub(settings)
        self._adopt_plan = adopt_plan
        self._dependencies = Dependencies(settings, self.hub.engine)
        self._lead_with = lead_with
        self.state = STANDBY
        self.trouble: str | None = None
        self._fatal: HubError | None = None
        self._collector: Collector | None = None
        self._keeper: PlanKeeper | None = None
        self._stop = threading.Event()
        self._lease = serve_lease(state=settings.state, url=settings.store_url)
        self._socket = _bind(settings.serve.host, settings.serve.port)
        self.port: int = self._socket.getsockname()[1]

    @property
    def control(self) -> ControlPlane:
        """The control plane; HUB-SERVE-002 while this process stands by or takes over, HUB-SERVE-005 once it lost its lease."""
        if self.state != LEADING:
            fix = "ask the serve that leads, or wait: this one takes over when the lock is free and hub.plan was read"
            raise HubError("HUB-SERVE-002", f"this serve is {self.state}: no change is made here", fix)
        fence_of(self.hub.engine).require()
        self._dependencies.file.require()
        return self.hub.control

    @property
    def checks(self) -> Mapping[str, Check]:
        """What /readyz asks: leading, the store, the broker, the state of hub.plan, the collector, the acts."""
        return {
            "role": self._check_role,
            "store": self._dependencies.check_store,
            "broker": self._dependencies.check_broker,
            "plan": self._check_plan,
            "collector": self._check_collector,
            "acts": self._check_acts,
        }

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Begin the end."""
        del frame
        log.info("stopping", signal=signal.Signals(number).name)
        self._stop.set()

    def stop(self) -> None:
        """Begin the end, from another thread."""
        self._stop.set()

    def run(self) -> None:
        """Serve until stopped."""
        sys.setswitchinterval(SWITCH_S)
        raise_descriptors()
        self._dependencies.watch(self._stop)
        server = uvicorn.Server(
            uvicorn.Config(
                build_app(self),
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                timeout_graceful_shutdown=STOP_WITHIN_S,
                http=bounded_protocol(self.hub.settings.serve),
                ws="none",
                backlog=BACKLOG,
                timeout_keep_alive=self.hub.settings.serve.idle_timeout_s,
                h11_max_incomplete_event_size=64 * 1024,
            )
        )
        threads = [
            threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[self._socket])), name="http"),
            threading.Thread(target=self._lead, name="lead"),
        ]
        for thread in threads:
            thread.start()
        log.info("serve_listening", url=url_of(self.hub.settings.serve.host, self.port), port=self.port)
        try:
            while not self._stop.wait(0.5):
                if not threads[0].is_alive():
                    raise HubError("HUB-SERVE-001", "the web server ended by itself", "look at the log")
        finally:
            self._stop.set()
            server.should_exit = True
            for thread in threads:
                thread.join(timeout=STOP_WITHIN_S + 5)
            self._lease.release()
            self.hub.close()
            self._socket.close()
        if self._fatal is not None:
            raise self._fatal
        log.info("serve_stopped")

    def _lead(self) -> None:
        """Wait for the lock, take over, then watch hub.plan beside the collector until the end."""
        try:
            while not self._take_lease():
                if self._stop.wait(LEASE_EVERY_S):
                    return
            if self._begin_term():
                self._take_over()
        except HubError as error:
            log.exception("serve_failed")
            self._fatal = error
            self._stop.set()
        except OSError as error:
            log.exception("serve_failed")
            self._fatal = of_system(error, doing="take the lease of the state folder", path=str(self.hub.settings.state.absolute()))
            self._stop.set()
        except SQLAlchemyError as error:
            log.exception("serve_failed")
            self._fatal = refused_by_store(error)
            self._stop.set()
        except Exception as error:  # a thread that dies silently would leave a serve that can do nothing
            log.exception("serve_failed")
            self._fatal = HubError("HUB-CLI-002", f"unexpected {type(error).__name__}", "look at the log")
            self._stop.set()

    def _take_lease(self) -> bool:
        """Take the lease if it is free; a database that does not answer is asked again, as whoever stands by is there for that."""
        try:
            got = self._lease.take()
        except HubError as error:
            if error.code != "HUB-STORE-001":
                raise
            self.trouble = f"{error.code} {error.message}"
            log.warning("take_over_waits", code=error.code, message=error.message)
            self._stop.wait(RETRY_S)
            return False
        self.trouble = None
        return got

    def _begin_term(self) -> bool:
        """Shut out whoever led before, then look at the lease from now on; False when told to stop meanwhile.

        The look has a thread of its own, since a busy one would look too late. A change of the former leader that stands still is waited
        for: the database ends it (``hub.store.engine.IDLE_MS_MAX``).
        """
        threading.Thread(target=self._watch_lease, name="lease", daemon=True).start()
        while not self._stop.is_set():
            try:
                epoch = begin_term(self.hub.engine)
            except HubError as error:
                if error.code != "HUB-STORE-001":
                    raise
                self.trouble = f"{error.code} {error.message}"
                log.warning("take_over_waits", code=error.code, message=error.message)
                self._stop.wait(RETRY_S)
            else:
                log.info("lease_taken", version=epoch)
                return True
        return False

    def _watch_lease(self) -> None:
        fence = fence_of(self.hub.engine)
        while not (self._stop.is_set() or fence.lost.wait(LEASE_EVERY_S)):
            why = self._lease.lost()
            if why is not None:
                fence.shut(why)
        if fence.why is None:
            return
        try:
            fence.require()
        except HubError as error:
            log.error("lease_lost", code=error.code, message=error.message)  # noqa: TRY400 - where it was found lost says nothing
            self._fatal = error
        self._stop.set()

    def _take_over(self) -> None:
        self.state = TAKING_OVER
        while not self._stop.is_set():
            try:
                keeper = self.hub.take_over(adopt_plan=self._adopt_plan, lead_with=self._lead_with)
                break
            except HubError as error:
                if error.entry.exit is not ExitCode.DEPENDENCY or error.code == "HUB-BROKER-002":
                    raise
                self.trouble = f"{error.code} {error.message}"
                log.warning("take_over_waits", code=error.code, message=error.message)
                self.hub.forget_connections()
                self._stop.wait(RETRY_S)
        else:
            return
        self.trouble = None
        self._keeper = keeper
        self.state = LEADING
        log.info("leading")
        self._collector = self.hub.collector()
        collector = threading.Thread(target=self._collector.run, args=(self._stop,), name="collector")
        upkeep = threading.Thread(target=self.hub.upkeep.run, args=(self._stop,), name="upkeep")
        anchor = threading.Thread(target=self.hub.anchor.run, args=(self._stop,), name="anchor")
        for duty in (collector, upkeep, anchor):
            duty.start()
        keeper.watch(self._stop)
        for duty in (collector, upkeep, anchor):
            duty.join(timeout=STOP_WITHIN_S)

    def _check_role(self) -> str | None:
        if (lost := fence_of(self.hub.engine).why) is not None:
            return f"HUB-SERVE-005 no longer leading: {lost}"
        if self.state == LEADING:
            return None
        return f"{self.state}: {self.trouble}" if self.trouble else self.state

    def _check_plan(self) -> str | None:
        if self.state != LEADING:
            return None
        closed = self.hub.control.desk.closed
        if closed is not None:
            return f"{closed.code} {closed.message}"
        trouble = self._keeper.trouble if self._keeper is not None else None
        return None if trouble is None else f"what was done last may not be in effect yet: {trouble.code} {trouble.message}"

    def _check_acts(self) -> str | None:
        return self.hub.anchor.trouble() if self.state == LEADING else None

    def _check_collector(self) -> str | None:
        return self._collector.trouble() if self._collector is not None else None


def _bind(host: str, port: int) -> socket.socket:
    if host not in LOOPBACK:
        fix = "leave `serve.host` at 127.0.0.1: nothing asks callers who they are yet"
        raise HubError("HUB-CONF-001", f"`serve.host` `{host}` is open to others", fix)
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise HubError(
            "HUB-BROKER-004", f"port {port} of {host} cannot be bound", f"stop what listens on {port}, or set `serve.port`"
        ) from error
    return bound
