"""Logs: one JSON object a line on stderr; on a terminal, lines for people.

Every line has ``time`` (ISO 8601, UTC), ``level``, ``event`` and ``process``; further keys come from ``LOG_KEYS`` and no others:
an unknown key raises where ``CITYHUB_LOG_STRICT`` is ``1`` (tests) and is dropped elsewhere, so that a field value cannot slip in
under a new name. What a caller typed is cut out of an error's text, where it is no identifier. Exceptions are logged as type and
frames, without their text, which may hold values of records. What the libraries log (faust, aiokafka, kafka) comes through from
WARNING on, never below, with exceptions and bytes cut out of it, and one kind of message at most ``REPEATS_MAX`` times in
``REPEATS_WINDOW_S``.

``log = structlog.get_logger()`` in a module, ``configure_logs(process="worker")`` once in a process.
"""

import contextlib
import logging
import os
import sys
import time
import traceback
import uuid
from pathlib import Path
from types import TracebackType
from typing import Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from hub.model.errors import HubError
from hub.model.written import masked

STRICT_VARIABLE: Final = "CITYHUB_LOG_STRICT"
TEXT_MAX: Final = 400
FRAMES_MAX: Final = 20
ITEMS_MAX: Final = 50
REPEATS_MAX: Final = 3
REPEATS_WINDOW_S: Final = 10.0
REPEATS_KINDS_MAX: Final = 500

_TEXTS: Final = ("message", "fix", "reason")
_STANDING: Final = ("time", "level", "event", "process", "logger")
LOG_KEYS: Final = frozenset(
    {
        # what failed
        "code", "message", "fix", "reason", "error", "frames",
        # who and what, by id
        "act", "agreement", "agreement_version", "client_id", "connector", "dataset", "group", "kind", "lane", "object_id",
        "partition", "revision", "schema_id", "subject", "topic", "topic_id", "transactional_id",
        # where a lane, a plan or a ledger stands
        "chain", "first_offset", "next_offset", "offset", "plan_from", "plan_offset", "position", "step",
        # how many
        "bytes", "count", "delivered", "denied", "filtered", "gaps", "lost", "partitions",
        "quarantined", "records", "rows", "suppressed",
        # how long, and when
        "at_ms", "lag", "seconds", "wait_s",
        # processes and their world
        "bootstrap", "file", "folder", "kernel", "method", "port", "route", "signal", "stage",
        "state", "status", "url", "version", "kafka_error",
    }
)  # fmt: skip
"""Every key that a log line may carry besides time, level, event, process and logger. Ids, classes and counts only."""

_LIBRARIES: Final = ("faust", "mode", "aiokafka", "kafka", "asyncio", "uvicorn", "sqlalchemy", "httpx")


def configure_logs(*, process: str, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send the logs of this process, and the warnings of the libraries, to ``stream`` (stderr)."""
    out: TextIO = _Lossy(stream or sys.stderr)  # type: ignore[assignment]  # what a log needs of a text stream
    render: Processor = (
        structlog.dev.ConsoleRenderer(pad_event_to=36) if out.isatty() else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    shared: list[Processor] = [_Process(process), _times, structlog.processors.add_log_level, _exceptions, _KnownKeys(strict=_strict())]
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    _route_libraries(out, shared, render)


class _Lossy:
    """A stream that loses what cannot be written: a full disk under the logs must not stop what is logged."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or not."""
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, or not."""
        with contextlib.suppress(OSError):
            self._stream.flush()

    def isatty(self) -> bool:
        """Tell whether a person reads."""
        return self._stream.isatty()


def _strict() -> bool:
    return os.environ.get(STRICT_VARIABLE) == "1"


class _Process:
    def __init__(self, process: str) -> None:
        self.process = process

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["process"] = self.process
        return event


_times = structlog.processors.TimeStamper(fmt="iso", utc=True, key="time")


class _KnownKeys:
    """Drops keys outside the catalogue, or raises; cuts long texts."""

    def __init__(self, *, strict: bool) -> None:
        self.strict = strict

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        unknown = [key for key in event if key not in LOG_KEYS and key not in _STANDING and not key.startswith("_")]
        if unknown and self.strict:
            message = f"log keys {unknown} are not declared in hub.observe.logs.LOG_KEYS"
            raise ValueError(message)
        standing = {key: event[key] for key in _STANDING if key in event}
        return standing | {key: value if key.startswith("_") else _said(key, value) for key, value in event.items() if key not in unknown}


def _said(key: str, value: object) -> object:
    """Return a value as a line may carry it: of an error's text without what a caller typed."""
    return _plain(masked(value) if key in _TEXTS and isinstance(value, str) else value)


def _plain(value: object) -> object:
    """Return ``value`` as JSON can show it: texts cut, bytes as a length, objects as their type."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in list(value)[:ITEMS_MAX]]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in list(value.items())[:ITEMS_MAX]}
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    text = str(value) if isinstance(value, str | uuid.UUID | Path) else type(value).__name__
    return text if len(text) <= TEXT_MAX else text[:TEXT_MAX] + "…"


def _exceptions(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Put type and frames in the place of ``exc_info``; of our own errors also code, message and fix."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info if isinstance(info, BaseException) else info[1] if isinstance(info, tuple) else None
    if error is None:
        return event
    event["error"] = type(error).__name__
    event["frames"] = frames_of(error.__traceback__)
    if isinstance(error, HubError):
        event.update(code=error.code, message=error.message, fix=error.fix)
    return event


def frames_of(trace: TracebackType | None) -> list[str]:
    """Return the innermost frames as ``module/file.py:line function``; no source text, no values."""
    found = traceback.extract_tb(trace)[-FRAMES_MAX:]
    return ["/".join(Path(frame.filename).parts[-2:]) + f":{frame.lineno} {frame.name}" for frame in found]


def _route_libraries(out: TextIO, shared: list[Processor], render: Processor) -> None:
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    handler.addFilter(_Repeats())
    handler.addFilter(_Warnings())
    root = logging.getLogger()
    for old in list(root.handlers):
        if getattr(old, "cityhub", False):
            root.removeHandler(old)
    handler.cityhub = True  # type: ignore[attr-defined]  # a mark of ours, so that a second call replaces the handler
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)


class _Repeats(logging.Filter):
    """Lets one kind of message of a library pass a few times in each window, then says how many more there were.

    A kind is a logger and the text before its arguments. While the broker is away, Kafka's clients write 200 lines a second.
    """

    def __init__(self) -> None:
        super().__init__()
        self._windows: dict[tuple[str, str], list[float]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether ``record`` passes."""
        if record.levelno < logging.WARNING:
            return False
        now = time.monotonic()
        kind = (record.name, str(record.msg))
        window = self._windows.setdefault(kind, [now, 0])
        kept_back = 0
        if now - window[0] >= REPEATS_WINDOW_S:
            kept_back = int(window[1]) - REPEATS_MAX
            window[:] = [now, 0]
        window[1] += 1
        if window[1] > REPEATS_MAX:
            return False
        if len(self._windows) > REPEATS_KINDS_MAX:
            self._windows.clear()
        if kept_back > 0:
            record.msg = f"{record.msg} (and {kept_back} more since)"
        return True


class _Warnings(logging.Filter):
    """Lets WARNING and above pass, whatever level a library set, and cuts values out of the arguments."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether ``record`` passes."""
        if record.levelno < logging.WARNING:
            return False
        if isinstance(record.args, tuple):
            record.args = tuple(_harmless(argument) for argument in record.args)
        elif isinstance(record.args, dict):
            record.args = {key: _harmless(argument) for key, argument in record.args.items()}
        return True


def _harmless(argument: object) -> object:
    if isinstance(argument, int | float | str) or argument is None:
        return argument
    if isinstance(argument, BaseException):
        return type(argument).__name__
    if isinstance(argument, bytes | bytearray | memoryview):
        return f"<{len(argument)} bytes>"
    text = str(argument)
    return text if len(text) <= TEXT_MAX else text[:TEXT_MAX] + "…"
