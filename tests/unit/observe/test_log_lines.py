"""Logs are JSON with declared keys, and no value of a record gets into them by way of a key, an exception or a library."""

import ast
import io
import json
import logging
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from hub.model.errors import HubError
from hub.observe.logs import LOG_KEYS, STRICT_VARIABLE, TEXT_MAX, configure_logs

ROOT = Path(__file__).parents[3]
LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}
PLATE = "浙A12345"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Take the logs of a production worker down in memory."""
    monkeypatch.delenv(STRICT_VARIABLE, raising=False)
    before = logging.getLogger().handlers[:]
    out = io.StringIO()
    configure_logs(process="worker", stream=out)
    yield out
    logging.getLogger().handlers[:] = before
    structlog.reset_defaults()


def read(out: io.StringIO) -> list[dict[str, object]]:
    """Return the lines as a collector would read them."""
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_is_json_with_time_level_event_and_process(lines: io.StringIO) -> None:
    """Times are ISO 8601 in UTC, so that lines of several machines sort."""
    structlog.get_logger().info("lane started", topic="dept.a.b", offset=7)
    (line,) = read(lines)
    assert list(line)[:4] == ["time", "level", "event", "process"]
    assert line["time"].endswith("Z")
    assert (line["level"], line["event"], line["process"]) == ("info", "lane started", "worker")
    assert (line["topic"], line["offset"]) == ("dept.a.b", 7)


def test_an_undeclared_key_is_dropped_in_production(lines: io.StringIO) -> None:
    """A new name must not be a way for a value to get out."""
    structlog.get_logger().info("row refused", plate=PLATE, rows=1)
    (line,) = read(lines)
    assert "plate" not in line
    assert PLATE not in lines.getvalue()
    assert line["rows"] == 1


def test_an_undeclared_key_raises_in_tests(monkeypatch: pytest.MonkeyPatch, lines: io.StringIO) -> None:
    """So that the catalogue of keys is complete before anything is released."""
    monkeypatch.setenv(STRICT_VARIABLE, "1")
    configure_logs(process="worker", stream=lines)
    with pytest.raises(ValueError, match="plate"):
        structlog.get_logger().info("row refused", plate=PLATE)


def test_an_exception_is_logged_without_its_text(lines: io.StringIO) -> None:
    """Decoders put the value into the text of their errors."""
    try:
        raise KeyError(PLATE)
    except KeyError:
        structlog.get_logger().exception("decode failed")
    (line,) = read(lines)
    assert line["error"] == "KeyError"
    assert any("test_log_lines.py" in frame for frame in line["frames"])
    assert PLATE not in lines.getvalue()


def test_an_error_of_ours_is_logged_with_code_and_fix(lines: io.StringIO) -> None:
    """Coded errors hold no values and are what a person needs."""
    try:
        raise HubError("HUB-LANE-001", "`t-0` has no position", "adopt one")
    except HubError:
        structlog.get_logger().exception("lane stopped")
    (line,) = read(lines)
    assert (line["code"], line["fix"]) == ("HUB-LANE-001", "adopt one")


def test_bytes_objects_and_long_texts_are_cut(lines: io.StringIO) -> None:
    """What is no id, class or count has no business in a log."""
    structlog.get_logger().info("odd", message="x" * (TEXT_MAX + 1), reason=b"secret", topic_id=uuid.UUID(int=1), error=object())
    (line,) = read(lines)
    assert len(line["message"]) == TEXT_MAX + 1
    assert line["message"].endswith("…")
    assert (line["reason"], line["topic_id"], line["error"]) == ("<6 bytes>", str(uuid.UUID(int=1)), "object")


@pytest.mark.parametrize("library", ["faust.worker", "aiokafka.producer", "kafka.conn", "mode"])
def test_libraries_are_heard_from_warning_on(library: str, lines: io.StringIO) -> None:
    """Faust sets levels of its own, DEBUG even; its lower lines stay out all the same."""
    logging.getLogger(library).setLevel(logging.DEBUG)
    logging.getLogger().setLevel(logging.DEBUG)
    logging.getLogger(library).info("hello")
    logging.getLogger(library).debug("record %r", PLATE)
    logging.getLogger(library).warning("attempt %d of %s failed: %r, %r", 2, "fetch", ValueError(PLATE), PLATE.encode())
    logging.getLogger(library).setLevel(logging.WARNING)
    (line,) = read(lines)
    assert (line["level"], line["logger"]) == ("warning", library)
    assert "attempt 2 of fetch failed" in line["event"]
    assert PLATE not in lines.getvalue()
    assert repr(PLATE.encode())[2:-1] not in lines.getvalue()


def test_configuring_twice_does_not_double_lines(lines: io.StringIO) -> None:
    """A process may configure itself again after it knows its settings."""
    configure_logs(process="worker", stream=lines)
    logging.getLogger("faust").warning("once")
    assert len(read(lines)) == 1


def test_every_key_in_the_source_is_declared() -> None:
    """A line that no test reaches would raise nowhere; the source is read instead."""
    unknown = []
    for file in [*ROOT.glob("hub/**/*.py"), *ROOT.glob("connectors/**/*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS:
                source = ast.unparse(node.func.value)
                if source in {"log", "_log", "logger", "self._log", "self.log"}:
                    keys = {keyword.arg for keyword in node.keywords if keyword.arg} - {"exc_info"}
                    unknown += [f"{file.relative_to(ROOT)}:{node.lineno} {key}" for key in keys - LOG_KEYS]
    assert unknown == []
