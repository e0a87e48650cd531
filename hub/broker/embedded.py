"""The embedded broker: one Kafka node (KRaft) on 127.0.0.1, started and stopped by the product.

Theory of operation.

* A lock on the folder is taken before Java runs and inherited by Java, so that a second Kafka never touches a folder while a
  first one lives, even where the one that started it was killed (a second Kafka corrupts the metadata log of the first).
* Formatting happens in a draft that is renamed when it is whole; the metadata log stands apart from the data.
* Java runs in a session of its own: Ctrl-C reaches the starter alone, which stops Java cleanly. When the starter dies, by
  ``kill -9`` too, the kernel sends Java SIGTERM (``leash.py``). That signal is tied to the thread that started Java, so a
  thread of its own (``_Java``) starts it and lives as long. Java alone may be killed: ``start`` recovers, and nothing that was
  acknowledged is lost, for the operating system keeps what was written.
* After a crash the controller runs alone first, until it has fenced the broker that died: without it transactions that were
  committing lose their offsets, see ``aftermath.py``. It takes about 4 s, of which the start that follows saves 3.
* The session of broker and controller is short (3 s), so that a broker that hangs is seen soon.

In the folder: ``broker.lock``, ``ports.json``, ``server.properties``, ``log4j2.xml``, ``kafka/`` (data and metadata),
``broker.log`` (at most 3 files of 16 MB), ``java.out`` (what the virtual machine says; begun anew at each start).
"""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from hub.broker import aftermath, leash, probe
from hub.broker.embedded_files import (
    ARCHIVE_NAME,
    FENCING_LOG_CONFIGURATION,
    FENCING_LOG_CONFIGURATION_NAME,
    LOG_CONFIGURATION,
    LOG_CONFIGURATION_NAME,
    LOG_NAME,
    TEMPORARY_NAME,
    fencing_properties,
    java_command,
    properties,
)
from hub.broker.folder_lock import FolderLock
from hub.broker.ports import HOST, check_free, choose_free, taken
from hub.model.errors import HubError

JAVA_MAJOR_MIN: Final = 17
FREE_BYTES_MIN: Final = 1024**3
STOP_WITHIN_S: Final = 30.0
FORMAT_HEAP_MB: Final = 128
FENCING_HEAP_MB: Final = 256
LOG_TAIL_BYTES: Final = 256 * 1024
REASON_CHARACTERS_MAX: Final = 300
READY_POLL_S: Final = 0.05
_LIBS_OF_CHECKOUT: Final = Path(__file__).resolve().parents[2] / "deploy" / "kafka" / "libs"
_PORT_NAMES: Final = ("port", "controller_port")
_BAD_LINE: Final = re.compile(r"^(?!\s+at ).*(\b(ERROR|FATAL)\b|Error\b|Exception\b)")
_BIND_FAILED: Final = re.compile(r"failed to bind to [^:]*:(\d+)")


class EmbeddedBroker:
    """One Kafka node on a folder of its own. A context manager: running inside the ``with``."""

    def __init__(  # noqa: PLR0913 - each is a fact about one node, all but one with a default
        self,
        *,
        folder: Path,
        port: int = 0,
        controller_port: int = 0,
        libs: Path | None = None,
        heap_mb: int = 768,
        start_timeout_s: float = 60.0,
        free_bytes_min: int = FREE_BYTES_MIN,
        java_options: Sequence[str] = (),
        more: Mapping[str, str] | None = None,
    ) -> None:
        """Nothing runs yet. Port 0 is a free one, kept in the folder for the next start.

        ``more`` are properties beside and above its own, such as a further listener.
        """
        self.folder = folder.absolute()
        self.libs = (libs or Path(os.environ.get("CITYHUB_KAFKA_LIBS", _LIBS_OF_CHECKOUT))).absolute()
        self._wanted = (port, controller_port)
        self._heap_mb = heap_mb
        self._start_timeout_s = start_timeout_s
        self._free_bytes_min = free_bytes_min
        self._java_options = tuple(java_options)
        self._more = dict(more or {})
        self._lock = FolderLock(self.folder / "broker.lock")
        self._java: _Java | None = None
        self._log_begin = 0
        self._port = port or _remembered_ports(self.folder).get("port", 0)

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop."""
        self.stop()

    def start(self) -> None:
        """Start and return once it is ready; after ``kill -9`` it recovers.

        HUB-BROKER-003 the folder is in use · -004 a port is taken · -005 Java · -006 disk space · -007 it ended while starting ·
        HUB-CONF-003 the jars are missing. Whatever is raised, nothing is left running and the folder is free again.
        """
        if self._java is not None and not self._java.is_running:
            self.stop()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock.take()
        try:
            self._start(check_java())
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop cleanly by SIGTERM, by SIGKILL after 30 s; again is no error."""
        if self._java is not None:
            self._java.stop(within_s=STOP_WITHIN_S)
            self._java = None
        self._lock.release()

    def kill(self) -> None:
        """End Java by SIGKILL, as a crash would, and free the folder; ``start`` recovers."""
        if self._java is not None:
            self._java.stop(within_s=0)
            self._java = None
        self._lock.release()

    def wait_ready(self, *, timeout_s: float | None = None) -> None:
        """Return once the broker answers and every partition has a leader; HUB-BROKER-007 when it does not in time."""
        patience_s = self._start_timeout_s if timeout_s is None else timeout_s
        deadline = time.monotonic() + patience_s
        while not probe.is_ready(HOST, self._port):
            if self.pid is None:
                raise self._ended("it stopped by itself")
            if time.monotonic() > deadline:
                raise self._ended(f"it was not ready within {patience_s:g} s")
            time.sleep(READY_POLL_S)

    @property
    def bootstrap(self) -> str:
        """``host:port`` for clients; the port is known once it has been started on this folder."""
        return f"{HOST}:{self._port}"

    @property
    def pid(self) -> int | None:
        """Process id of Java while it runs."""
        return self._java.pid if self._java is not None and self._java.is_running else None

    @property
    def exit_status(self) -> int | None:
        """Exit status of Java once it has ended, negative for a signal; None while it runs, or where it never did."""
        return None if self._java is None else self._java.wait(within_s=0)

    @property
    def log(self) -> Path:
        """The broker's own log."""
        return self.folder / LOG_NAME

    def _start(self, java: str) -> None:
        self._check_jars()
        self._check_space()
        self._port, controller_port = self._choose_ports()
        _write(self.folder / LOG_CONFIGURATION_NAME, LOG_CONFIGURATION)
        shutil.rmtree(self.folder / TEMPORARY_NAME, ignore_errors=True)
        (self.folder / TEMPORARY_NAME).mkdir()
        self._log_begin = self.log.stat().st_size if self.log.exists() else 0
        if not (self.folder / "kafka").exists():
            self._format(java, controller_port)
        if aftermath.crashed(self.folder / "kafka" / "data"):
            self._fence_predecessor(java, controller_port)
        _write(
            self.folder / "server.properties", properties(port=self._port, controller_port=controller_port, home="kafka", more=self._more)
        )
        archive = self.libs / ARCHIVE_NAME
        options = [f"-XX:SharedArchiveFile={archive}"] if archive.exists() and not self._java_options else self._java_options
        self._java = self._run(java, ["kafka.Kafka", "server.properties"], heap_mb=self._heap_mb, options=options)
        self._lock.tell(broker=self._java.pid)
        self.wait_ready()

    def _check_jars(self) -> None:
        if not any(self.libs.glob("kafka_2.13-*.jar")) or not any(self.libs.glob("kafka-tools-*.jar")):
            raise HubError("HUB-CONF-003", f"no Kafka jars in `{self.libs}`", "run `make setup`, or set CITYHUB_KAFKA_LIBS")

    def _check_space(self) -> None:
        free = shutil.disk_usage(self.folder).free
        if free < self._free_bytes_min:
            wanted = f"{self._free_bytes_min // 1024**2} MiB"
            raise HubError("HUB-BROKER-006", f"{free // 1024**2} MiB free at `{self.folder}`", f"free {wanted} there, or set --state")

    def _choose_ports(self) -> tuple[int, int]:
        """Return the ports: as given, else as remembered, else free ones; HUB-BROKER-004 for one that is taken."""
        before = _remembered_ports(self.folder)
        chosen = [wanted or before.get(name) or choose_free() for name, wanted in zip(_PORT_NAMES, self._wanted, strict=True)]
        for name, port in zip(_PORT_NAMES, chosen, strict=True):
            check_free(port, setting=f"broker.{name}")
        _write(self.folder / "ports.json", json.dumps(dict(zip(_PORT_NAMES, chosen, strict=True))))
        return chosen[0], chosen[1]

    def _format(self, java: str, controller_port: int) -> None:
        """Format once: a draft that appears whole, so that a start killed in between formats again and no data is ever removed."""
        draft = self.folder / "kafka.draft"
        shutil.rmtree(draft, ignore_errors=True)
        _write(self.folder / "format.properties", properties(port=self._port, controller_port=controller_port, home=draft.name))
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = ["kafka.tools.StorageTool", "format", "--standalone", f"--cluster-id={cluster}", "-c", "format.properties"]
        formatting = self._java = self._run(java, tool, heap_mb=FORMAT_HEAP_MB)
        status = formatting.wait(within_s=self._start_timeout_s)
        if status != 0 or not draft.exists():
            raise self._ended("formatting its folder took too long" if status is None else "formatting its folder failed")
        self._java = None
        for path in [*draft.rglob("*"), draft]:
            _sync(path)
        draft.rename(self.folder / "kafka")
        _sync(self.folder)

    def _fence_predecessor(self, java: str, controller_port: int) -> None:
        """Run the controller alone until it has fenced the broker that crashed: see ``aftermath``."""
        _write(self.folder / FENCING_LOG_CONFIGURATION_NAME, FENCING_LOG_CONFIGURATION)
        _write(self.folder / "fencing.properties", fencing_properties(controller_port=controller_port, home="kafka"))
        options = [f"-Dlog4j2.configurationFile={FENCING_LOG_CONFIGURATION_NAME}"]
        controller = self._java = self._run(java, ["kafka.Kafka", "fencing.properties"], heap_mb=FENCING_HEAP_MB, options=options)
        self._lock.tell(broker=controller.pid)
        fenced = aftermath.wait_fenced(controller, out=self.folder / "java.out", within_s=self._start_timeout_s)
        controller.stop(within_s=STOP_WITHIN_S)
        if not fenced:
            raise self._ended("its controller did not come up after a crash")
        self._java = None

    def _run(self, java: str, arguments: list[str], *, heap_mb: int, options: Sequence[str] = ()) -> "_Java":
        command = java_command(java, libs=self.libs, heap_mb=heap_mb, options=options, arguments=arguments)
        return _Java(command, folder=self.folder, lock=self._lock.descriptor)

    def _ended(self, what: str) -> HubError:
        """Return the error for a broker that ended, with the last bad line that its logs hold since this start."""
        out = self.folder / "java.out"
        lines = _tail(out, begin=0) + _tail(self.log, begin=self._log_begin)
        bad = [line.strip() for line in lines if _BAD_LINE.search(line)]
        bind = next((found for line in lines if (found := _BIND_FAILED.search(line))), None)
        if bind is not None:
            number = int(bind[1])
            return taken(number, setting="broker.port" if number == self._port else "broker.controller_port")
        reason = f": `{bad[-1][:REASON_CHARACTERS_MAX]}`" if bad else ""
        return HubError("HUB-BROKER-007", f"embedded broker: {what}{reason}", f"look into `{self.log}` and `{out}`")


class _Java:
    """One Java process, started by a thread that waits for it: the leash of a process is held by the thread that started it."""

    def __init__(self, command: list[str], *, folder: Path, lock: int) -> None:
        """Start it, with standard output in ``java.out``; the process inherits ``lock``."""
        self._command = [sys.executable, "-I", "-S", str(leash.__file__), str(os.getpid()), *command]
        self._folder = folder
        self._lock = lock
        self._started = threading.Event()
        self._over = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._error: OSError | None = None
        threading.Thread(target=self._keep, name="embedded-broker", daemon=True).start()
        self._started.wait()
        if self._error is not None:
            raise self._error

    @property
    def pid(self) -> int:
        """Its process id, also after it has ended."""
        assert self._process is not None  # noqa: S101 - the constructor has waited for it
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Tell whether it runs."""
        return not self._over.is_set()

    def wait(self, *, within_s: float) -> int | None:
        """Return its exit status; None when it still runs after ``within_s``."""
        assert self._process is not None  # noqa: S101 - as above
        return self._process.returncode if self._over.wait(within_s) else None

    def stop(self, *, within_s: float) -> None:
        """Send SIGTERM, SIGKILL after ``within_s`` (0: at once), and return when it is gone."""
        assert self._process is not None  # noqa: S101 - as above
        if within_s > 0 and self.is_running:
            self._process.terminate()
            self._over.wait(within_s)
        if self.is_running:
            self._process.kill()
        self._over.wait()

    def _keep(self) -> None:
        try:
            with (self._folder / "java.out").open("wb") as out:
                self._process = subprocess.Popen(  # noqa: S603 - our own command line
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    cwd=self._folder,
                    pass_fds=(self._lock,),
                    start_new_session=True,
                )
        except OSError as error:
            self._error = error
            self._over.set()
            return
        finally:
            self._started.set()
        self._process.wait()
        self._over.set()


def check_java() -> str:
    """Return the path of Java; HUB-BROKER-005 when it is missing or older than 17."""
    home = os.environ.get("JAVA_HOME")
    of_home = Path(home) / "bin" / "java" if home else None
    java = str(of_home) if of_home is not None and of_home.exists() else shutil.which("java")
    fix = f"install a Java runtime of version {JAVA_MAJOR_MIN} or newer (Debian: `apt-get install default-jre-headless`), or set JAVA_HOME"
    if java is None:
        raise HubError("HUB-BROKER-005", "no `java` on the path", fix)
    try:
        shown = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=30)  # noqa: S603 - found above
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HubError("HUB-BROKER-005", f"`{java}` does not run: {type(error).__name__}", fix) from None
    found = re.search(r'version "(?:1\.)?(\d+)', shown.stderr + shown.stdout)
    if found is None or int(found[1]) < JAVA_MAJOR_MIN:
        raise HubError("HUB-BROKER-005", f"`{java}` is of version {found[1] if found else 'unknown'}", fix)
    return java


def _remembered_ports(folder: Path) -> dict[str, int]:
    try:
        found = json.loads((folder / "ports.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: found[name] for name in _PORT_NAMES if isinstance(found, dict) and isinstance(found.get(name), int)}


def _tail(path: Path, *, begin: int) -> list[str]:
    """Return the last lines of a log from ``begin`` on; from its beginning where it has been begun anew since."""
    try:
        with path.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(begin if begin <= size else 0, size - LOG_TAIL_BYTES))
            return log.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def _write(path: Path, text: str) -> None:
    """Write a file that appears whole."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text, encoding="utf-8")
    _sync(draft)
    draft.replace(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
