"""Several workers under one watch: each a process of its own, started again when it dies, all stopped together.

Their output is this process's own. They share nothing but the consumer group, so one that dies costs its partitions some seconds
and the others nothing.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Final

from hub.cli.children import die_with_parent, hub_command
from hub.cli.output import say
from hub.cli.supervisor import WATCH_S, Lives, Orders, Told
from hub.model.errors import ExitCode

STOP_WITHIN_S: Final = 20.0
"""A worker ends its steps within some seconds; one that does not is killed, and its transactions time out."""


class Crew:
    """Processes by name, with what the environment of each has beside this one's."""

    def __init__(self, members: Mapping[str, Mapping[str, str]]) -> None:
        """Start nothing yet."""
        self._members = members
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def run(self, *, as_json: bool) -> int:
        """Start all, watch them until told to stop, stop all; returns the exit code."""
        orders = Orders()
        lives = {name: Lives(name, now_s=time.monotonic()) for name in self._members}
        try:
            with orders.undisturbed():
                for name in self._members:
                    self._start(name)
            self._tell(as_json=as_json)
            while True:
                time.sleep(WATCH_S)
                for name, process in list(self._running.items()):
                    if lives[name].is_due(process.poll(), now_s=time.monotonic()):
                        with orders.undisturbed():
                            self._start(name)
        except Told as told:
            return ExitCode.INTERRUPTED if told.number == signal.SIGINT else ExitCode.OK
        finally:
            self._stop()

    def _start(self, name: str) -> None:
        self._running[name] = subprocess.Popen(  # noqa: S603 - our own command
            hub_command("worker"),
            env={**os.environ, **self._members[name]},
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the terminal is for this process, which passes it on
            preexec_fn=die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - one system call, no lock taken
        )

    def _tell(self, *, as_json: bool) -> None:
        found = [
            {"process": name, "pid": process.pid, "metrics_port": int(self._members[name]["CITYHUB_EXCHANGE__METRICS_PORT"])}
            for name, process in self._running.items()
        ]
        if as_json:
            print(json.dumps({"processes": found}), flush=True)
            return
        for row in found:
            where = f"port {row['metrics_port']}" if row["metrics_port"] else "a free port, see its log"
            say(f"{row['process']}: process {row['pid']}, health and metrics at {where}")

    def _stop(self) -> None:
        for process in self._running.values():
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + STOP_WITHIN_S
        for process in self._running.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
