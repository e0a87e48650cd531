"""The embedded broker: one Kafka node (KRaft) on 127.0.0.1, started and stopped by the product.

Theory of operation. A lock on the folder is taken before Java runs and inherited by Java, so that a second Kafka can never
touch a folder while a first one lives, even if the starter was killed. Formatting happens in a draft that appears whole. The
metadata log stands apart from the data. Java runs in a session of its own (Ctrl-C reaches the starter alone, which stops it
cleanly) and is sent SIGTERM by the kernel when the thread that started it dies: start it from a thread that lives as long.
Sessions of the broker with its controller are short (3 s), so that a start after ``kill -9`` takes seconds.
"""

import base64
import ctypes
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from hub.broker.admin import answers
from hub.model.errors import HubError

HOST: Final = "127.0.0.1"
JAVA_MAJOR_MIN: Final = 17
FREE_BYTES_MIN: Final = 1024**3
STOP_WITHIN_S: Final = 30.0
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_MAIN_LIBS: Final = Path(__file__).resolve().parents[2] / "deploy" / "kafka" / "libs"


class EmbeddedBroker:
    """One Kafka node on a folder of its own. A context manager: running inside the ``with``."""

    def __init__(
        self,
        *,
        folder: Path,
        port: int = 0,
        controller_port: int = 0,
        libs: Path | None = None,
        heap_mb: int = 768,
        start_timeout_s: float = 60.0,
    ) -> None:
        """Nothing runs yet. Port 0 is a free one, kept in the folder for the next start."""
        self.folder = folder.absolute()
        self._wanted = (port, controller_port)
        self._libs = libs or Path(os.environ.get("CITYHUB_KAFKA_LIBS", _MAIN_LIBS))
        self._heap_mb = heap_mb
        self._start_timeout_s = start_timeout_s
        self._java: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None
        self._port = port

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    @property
    def bootstrap(self) -> str:
        """``host:port`` for clients."""
        return f"{HOST}:{self._port}"

    @property
    def pid(self) -> int | None:
        """Process id of Java while it runs."""
        return self._java.pid if self._java is not None and self._java.poll() is None else None

    @property
    def log(self) -> Path:
        """The broker's own log."""
        return self.folder / "broker.log"

    def start(self) -> None:
        """Start and return once it answers; HUB-BROKER-003…007 or HUB-CONF-003 otherwise. After ``kill -9`` it recovers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = _take_lock(self.folder / "broker.lock")
        try:
            java = check_java()
            self._check_machine()
            self._port, controller_port = self._ports()
            properties = self._write_configuration(self._port, controller_port)
            self._format(java, properties)
            self._java = self._launch(java, ["kafka.Kafka", str(properties)], heap_mb=self._heap_mb)
            self._wait_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop cleanly by SIGTERM, by SIGKILL after 30 s; again is no error."""
        if self._java is not None:
            if self._java.poll() is None:
                self._java.terminate()
                try:
                    self._java.wait(timeout=STOP_WITHIN_S)
                except subprocess.TimeoutExpired:
                    self._java.kill()
            self._java.wait()
            self._java = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def kill(self) -> None:
        """End it by SIGKILL, as a power cut would; ``start`` recovers."""
        if self._java is not None:
            self._java.kill()
            self._java.wait()
        self.stop()

    def _check_machine(self) -> None:
        if not any(self._libs.glob("kafka_2.13-*.jar")):
            raise HubError("HUB-CONF-003", f"no Kafka jars in `{self._libs}`", "run `make setup`, or set CITYHUB_KAFKA_LIBS")
        free = shutil.disk_usage(self.folder).free
        if free < FREE_BYTES_MIN:
            raise HubError("HUB-BROKER-006", f"{free // 1024**2} MiB free at `{self.folder}`", "free at least 1 GiB there, or set --state")

    def _ports(self) -> tuple[int, int]:
        """Return the ports to use; HUB-BROKER-004 for one that is taken. Chosen ones are kept in the folder."""
        kept = self.folder / "ports.json"
        before: Mapping[str, int] = json.loads(kept.read_text()) if kept.exists() else {}
        names = ("port", "controller_port")
        chosen = [wanted or before.get(name) or _free_port() for name, wanted in zip(names, self._wanted, strict=True)]
        for name, port in zip(names, chosen, strict=True):
            _check_free(port, setting=f"broker.{name}")
        _write(kept, json.dumps(dict(zip(names, chosen, strict=True))))
        return chosen[0], chosen[1]

    def _write_configuration(self, port: int, controller_port: int) -> Path:
        properties = self.folder / "server.properties"
        lines = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.bootstrap.servers": f"{HOST}:{controller_port}",
            "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": self.folder / "data",
            "metadata.log.dir": self.folder / "metadata",
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "offsets.retention.minutes": 2147483647,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 1,
            "group.initial.rebalance.delay.ms": 0,
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 500,
        }
        _write(properties, "".join(f"{key}={value}\n" for key, value in lines.items()))
        _write(self.folder / "log4j2.yaml", _LOG_CONFIGURATION.format(file=self.log))
        return properties

    def _format(self, java: str, properties: Path) -> None:
        """Format once. A start that was killed in between formats again: the mark is written last."""
        mark = self.folder / "formatted"
        if mark.exists():
            return
        for folder in ("data", "metadata"):
            shutil.rmtree(self.folder / folder, ignore_errors=True)
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        arguments = ["kafka.tools.StorageTool", "format", "--standalone", "-t", cluster, "-c", str(properties)]
        code = self._launch(java, arguments, heap_mb=128).wait(timeout=self._start_timeout_s)
        if code != 0:
            raise self._died(f"formatting the folder failed ({code})")
        _write(mark, cluster)

    def _launch(self, java: str, arguments: list[str], *, heap_mb: int) -> subprocess.Popen[bytes]:
        lock = self._lock if self._lock is not None else -1
        command = [
            java,
            f"-Xmx{heap_mb}m",
            "-XX:+UseG1GC",
            "-XX:+ExitOnOutOfMemoryError",
            "-cp",
            f"{self._libs}/*",
            f"-Dlog4j2.configurationFile={self.folder / 'log4j2.yaml'}",
            *arguments,
        ]
        with (self.folder / "java.out").open("ab") as out:
            return subprocess.Popen(  # noqa: S603 - our own command line
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                pass_fds=(lock,),
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one system call, no Python locks taken
            )

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + self._start_timeout_s
        while True:
            if self.pid is None:
                raise self._died("it stopped by itself")
            if answers(self.bootstrap):
                return
            if time.monotonic() > deadline:
                raise self._died(f"it did not answer within {self._start_timeout_s:.0f} s")
            time.sleep(0.05)

    def _died(self, what: str) -> HubError:
        lines = [
            line for path in (self.log, self.folder / "java.out") if path.exists() for line in path.read_text(errors="replace").splitlines()
        ]
        errors = [line for line in lines if re.search(r"\b(ERROR|FATAL|Exception|Error:)", line)]
        last = f": {errors[-1].strip()[:300]}" if errors else ""
        return HubError("HUB-BROKER-007", f"embedded broker: {what}{last}", f"look into `{self.log}` and `{self.folder / 'java.out'}`")


def check_java() -> str:
    """Return the path of Java; HUB-BROKER-005 when it is missing or older than 17."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home and (Path(home) / "bin" / "java").exists() else shutil.which("java")
    fix = f"install a Java runtime of version {JAVA_MAJOR_MIN} or newer (Debian: `apt install default-jre-headless`)"
    if java is None:
        raise HubError("HUB-BROKER-005", "no `java` on the path", fix)
    shown = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=30)  # noqa: S603 - found on the path
    found = re.search(r'version "(\d+)', shown.stderr + shown.stdout)
    if found is None or int(found[1]) < JAVA_MAJOR_MIN:
        raise HubError("HUB-BROKER-005", f"`{java}` is version {found[1] if found else 'unknown'}", fix)
    return java


def _take_lock(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(descriptor, 20).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise HubError(
            "HUB-BROKER-003", f"`{path.parent}` is in use by process {holder} or its broker", "stop that one first, or give another --state"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def _check_free(port: int, *, setting: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise HubError("HUB-BROKER-004", f"port {port} of {HOST} is taken", f"stop what listens there, or set `{setting}`") from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _write(path: Path, text: str) -> None:
    """Write a file that appears whole."""
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    draft.replace(path)


_LOG_CONFIGURATION: Final[Any] = """\
Configuration:
  status: ERROR
  Appenders:
    RollingFile:
      name: file
      fileName: "{file}"
      filePattern: "{file}.%i"
      PatternLayout:
        pattern: "%d %p %c{{1}} %m%n"
      Policies:
        SizeBasedTriggeringPolicy:
          size: 20MB
      DefaultRolloverStrategy:
        max: 2
  Loggers:
    Root:
      level: WARN
      AppenderRef:
        ref: file
"""
