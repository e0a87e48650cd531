"""Settings: what cannot work is refused before anything starts, at its own place, with a way to mend it."""

import os
from pathlib import Path

import pytest

from hub.model.errors import HubError
from hub.settings import Settings, contradictions, load_settings


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a settings file, with no variable beside it."""
    for name in [name for name in os.environ if name.startswith("CITYHUB_")]:
        monkeypatch.delenv(name)
    path = tmp_path / "cityhub.yaml"
    monkeypatch.setenv("CITYHUB_CONFIG", str(path))
    path.write_text("", encoding="utf-8")
    return path


def refused(code: str) -> HubError:
    """Load; return the refusal."""
    with pytest.raises(HubError) as caught:
        load_settings()
    assert caught.value.code == code
    return caught.value


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        *(("exchange", "plan_fresh_s", value) for value in (".inf", ".nan", "-1", "0", "61")),
        *(("exchange", "session_timeout_s", value) for value in ("0", ".nan", ".inf", "5")),
        *(("exchange", "heartbeat_interval_s", value) for value in ("0", ".nan", "-1")),
        *(("exchange", "undeliverable_retry_s", value) for value in ("0", ".inf", ".nan")),
        *(("exchange", key, "0") for key in ("step_ms", "step_bytes_max", "inflight_bytes_max", "fetch_bytes_max", "lane_queue_chunks")),
        *(("exchange", key, "0") for key in ("fetch_answer_bytes_max", "fetch_min_bytes", "fetch_max_wait_ms", "transaction_timeout_ms")),
        *(("exchange", "transaction_timeout_ms", value) for value in ("-1", "900001")),
        *(("exchange", "metrics_port", value) for value in ("-1", "70000", "abc")),
        *(("serve", "port", value) for value in ("-1", "70000", "65536", "abc")),
        *(("serve", "request_timeout_s", value) for value in ("0", ".inf", ".nan")),
        *(("broker", key, value) for key in ("port", "controller_port") for value in ("-1", "70000")),
        *(("broker", "heap_mb", value) for value in ("0", "-768", "1")),
        *(("broker", "replication", value) for value in ("0", "-1")),
        *(("broker", "start_timeout_s", value) for value in ("0", ".inf", ".nan")),
        *(("officer", key, '""') for key in ("person", "org")),
    ],
)
def test_a_value_that_cannot_work_is_refused_with_its_line(file: Path, section: str, key: str, value: str) -> None:
    """Several of these were accepted, and delivered nothing beside a green /readyz."""
    file.write_text(f"# ours\n{section}:\n  {key}: {value}\n", encoding="utf-8")
    (problem,) = refused("HUB-CONF-001").problems
    assert (problem.where, problem.field) == (f"{file}:3", f"{section}.{key}")
    assert problem.message
    assert problem.fix


@pytest.mark.parametrize("prefix", ["a/b", "a b", "ä", "x" * 81])
def test_a_prefix_that_no_topic_may_have_is_refused(file: Path, prefix: str) -> None:
    """Kafka would refuse each topic later, one by one."""
    file.write_text(f'topics_prefix: "{prefix}"\n', encoding="utf-8")
    (problem,) = refused("HUB-CONF-001").problems
    assert (problem.where, problem.field) == (f"{file}:1", "topics_prefix")
    assert "letters, digits" in problem.message


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("exchange: {heartbeat_interval_s: 3}", "exchange.heartbeat_interval_s"),
        ("exchange: {step_ms: 6000}", "exchange.transaction_timeout_ms"),
        ("exchange: {inflight_bytes_max: 4194304}", "exchange.inflight_bytes_max"),
        ("exchange: {step_bytes_max: 104857600}", "exchange.inflight_bytes_max"),
        ("exchange: {fetch_min_bytes: 16777216}", "exchange.fetch_min_bytes"),
        ("serve: {port: 19092}", "serve.port"),
        ("serve: {read_requests_max: 32}", "serve.read_requests_max"),
        ("serve: {read_requests_max: 26}", "serve.read_requests_max"),
        ("serve: {read_requests_max: 20, act_requests_max: 14, withdrawal_requests_max: 32}", "serve.read_requests_max"),
        ("serve: {connections_max: 8}", "serve.connections_max"),
        ("serve: {connections_max: 100}", "serve.connections_max"),
        ("serve: {waiting_requests_max: 1024}", "serve.connections_max"),
        ("exchange: {metrics_port: 18080}", "serve.port"),
    ],
)
def test_values_that_contradict_each_other_are_refused(file: Path, text: str, field: str) -> None:
    """Each would pass alone."""
    file.write_text(f"{text}\n", encoding="utf-8")
    problems = refused("HUB-CONF-001").problems
    assert field in [problem.field for problem in problems]
    assert all(problem.message and problem.fix for problem in problems)


def test_the_defaults_contradict_nothing_and_free_ports_are_no_twins(file: Path) -> None:
    """A positive control of the checks above."""
    assert list(contradictions(Settings())) == []
    file.write_text("serve: {port: 0}\nexchange: {metrics_port: 0}\nbroker: {port: 0, controller_port: 0}\n", encoding="utf-8")
    assert load_settings().serve.port == 0


def test_serves_address_can_be_called_also_where_it_is_ipv6(file: Path) -> None:
    """An address with colons stands in brackets."""
    file.write_text('serve: {host: "::1", port: 18090}\n', encoding="utf-8")
    assert load_settings().serve_url == "http://[::1]:18090"
    assert Settings().serve_url == "http://127.0.0.1:18080"


def test_a_variable_is_blamed_for_its_own_value(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It wins over the file, so the file is not at fault."""
    file.write_text("broker: {port: 19192}\n", encoding="utf-8")
    monkeypatch.setenv("CITYHUB_BROKER__PORT", "abc")
    (problem,) = refused("HUB-CONF-001").problems
    assert (problem.where, problem.field) == ("CITYHUB_BROKER__PORT", "broker.port")


@pytest.mark.parametrize(
    ("variable", "near"),
    [
        ("CITYHUB_BROKER_PORT", "CITYHUB_BROKER__PORT"),
        ("CITYHUB_STAT", "CITYHUB_STATE"),
        ("CITYHUB_EXCHANGE__STEP_MSS", "CITYHUB_EXCHANGE__STEP_MS"),
        ("CITYHUB_BROKER__TLS__CAA", "CITYHUB_BROKER__TLS__CA"),
        ("CITYHUB_QQQ", "two underscores"),
    ],
)
def test_an_unknown_variable_is_an_error_with_a_suggestion(file: Path, monkeypatch: pytest.MonkeyPatch, variable: str, near: str) -> None:
    """One underscore in the place of two was ignored in silence."""
    monkeypatch.setenv(variable, "1")
    (problem,) = refused("HUB-CONF-002").problems
    assert problem.where == variable
    assert near in problem.fix
    assert file.exists()


@pytest.mark.usefixtures("file")
@pytest.mark.parametrize("variable", ["CITYHUB_KERNEL", "CITYHUB_LANG", "CITYHUB_DEBUG", "CITYHUB_KAFKA_LIBS", "CITYHUB_BROKER__TLS__CA"])
def test_variables_that_are_read_elsewhere_are_known(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """The positive control of the test above."""
    monkeypatch.setenv(variable, "1")
    load_settings()


@pytest.mark.usefixtures("file")
def test_a_section_in_one_variable_that_is_no_json_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pydantic's own words would be an unexpected failure."""
    monkeypatch.setenv("CITYHUB_BROKER", "{port")
    assert "no JSON" in refused("HUB-CONF-001").message


def test_an_unknown_key_has_its_line(file: Path) -> None:
    """All of them at once."""
    file.write_text("state: x\nbroker:\n  prot: 1\n  tls: {caa: x}\nserv: {}\n", encoding="utf-8")
    problems = refused("HUB-CONF-002").problems
    found = {(problem.where.rpartition(":")[2], problem.field, problem.fix.partition("?")[0]) for problem in problems}
    wanted = {("3", "broker.prot", "did you mean `broker.port`"), ("5", "serv", "did you mean `serve`")}
    assert wanted <= found
    assert ("4", "broker.tls.caa") in {row[:2] for row in found}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("broker: {port: 1\n", "is no YAML in line 2, column 1"),
        ("a: b: c\n", "is no YAML in line 1, column 5"),
        ("\tstate: x\n", "is no YAML in line 1, column 1"),
        ("state: !!python/object:os.system x\n", "is no YAML in line 1, column 8"),
        ("since: 2026-13-45\n", "is no YAML"),
        ("[" * 5000, "is no YAML"),
        ("- a\n", "holds no mapping"),
    ],
)
def test_a_file_that_is_no_yaml_is_refused_with_line_and_column(file: Path, text: str, told: str) -> None:
    """And its text is not repeated."""
    file.write_text(text, encoding="utf-8")
    assert told in refused("HUB-CONF-001").message


def test_a_file_that_cannot_be_read_says_why(file: Path) -> None:
    """Other encodings, folders, nothing."""
    file.write_bytes("state: 中".encode("gb18030"))
    assert "is not UTF-8" in refused("HUB-CONF-001").message
    file.unlink()
    assert "does not exist" in refused("HUB-CONF-001").message
    file.mkdir()
    assert "cannot be read: Is a directory" in refused("HUB-CONF-001").message
