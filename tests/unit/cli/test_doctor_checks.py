"""Doctor tells what is wrong, how to mend it, and what is not protected; it changes nothing."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from kernels import kernel_names

from hub.broker.clock import skew_ms
from hub.broker.embedded import EmbeddedBroker
from hub.cli import run
from hub.cli.checks import CHECKS, MAPS_BASE, MAPS_OF_PARTITION, Status, run_check, run_checks
from hub.cli.doctor import NOT_PROTECTED, exit_code
from hub.model.errors import HubError
from hub.settings import BrokerSettings, ExchangeSettings, LedgerSettings, ServeSettings, Settings
from hub.state import initialise


def free_ports(count: int) -> list[int]:
    """Return ports that are free now."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Describe a hub in a folder of its own, on ports that nobody uses."""
    port, controller, serve, worker = free_ports(4)
    return Settings(
        state=tmp_path / "state",
        broker=BrokerSettings(port=port, controller_port=controller),
        serve=ServeSettings(port=serve),
        exchange=ExchangeSettings(metrics_port=worker),
    )


def test_a_new_folder_is_told_as_such(settings: Settings) -> None:
    """Nothing is made by looking."""
    found = run_checks(settings)
    assert found["state folder"].status is Status.DOWN
    assert "no hub was begun" in found["state folder"].detail
    assert "`cityhub up`" in found["state folder"].fix
    for name in ("keys", "trusted keys", "store", "broker", "clock", "serve", "worker"):
        assert found[name].status is Status.SKIPPED, name
        assert "copy" not in found[name].fix, name
    assert not settings.state.exists()


def test_a_hub_that_is_down_has_good_keys_and_store(settings: Settings) -> None:
    """What does not need the broker is told without it."""
    initialise(settings)
    found = run_checks(settings)
    well = ("python", "java", "jars", "state folder", "keys", "trusted keys", "store", "ports", "kernel")
    assert {name: found[name].status for name in well} == dict.fromkeys(well, Status.OK)
    assert {name: found[name].status for name in ("broker", "serve", "worker")} == dict.fromkeys(("broker", "serve", "worker"), Status.DOWN)


DOCTOR = """
from hub.cli import run
from hub.exchange import kernel
run(["doctor", "--json"])
print(kernel.name(), kernel._RUN.__module__.split(".")[2])
"""


@pytest.mark.parametrize("name", kernel_names())
def test_the_kernel_that_doctor_names_is_the_one_that_decides(name: str, tmp_path: Path) -> None:
    """In a process of its own, as an operator asks: a name that came from the setting alone would be believed."""
    environment = {**os.environ, "CITYHUB_KERNEL": name, "CITYHUB_STATE": str(tmp_path)}
    found = subprocess.run([sys.executable, "-c", DOCTOR], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    document, decides = found.stdout.rstrip().rsplit("\n", 1)
    assert decides.split() == [name, name]
    assert json.loads(document)["checks"]["kernel"] == {"status": "ok", "detail": name, "fix": ""}


def test_every_finding_that_is_not_well_has_a_fix(settings: Settings) -> None:
    """A finding without a way to mend it is only bad news."""
    for name, finding in run_checks(settings).items():
        assert finding.status in {Status.OK, Status.SKIPPED} or finding.fix, name


def test_keys_that_others_can_read_fail(settings: Settings) -> None:
    """With the command that mends it."""
    initialise(settings)
    (settings.keys_folder / "master-1.key").chmod(0o644)
    found = run_check("keys", settings)
    assert found.status is Status.FAILED
    assert found.fix.startswith("chmod 600")


def test_an_officer_whose_key_is_not_trusted_fails(settings: Settings) -> None:
    """What such an officer signs, workers refuse."""
    initialise(settings)
    (settings.keys_folder / "trust.keys").write_text("# nobody\n", encoding="utf-8")
    assert run_check("trusted keys", settings).status is Status.FAILED


def test_a_folder_that_others_may_write_to_fails(settings: Settings) -> None:
    """Whoever writes there owns the hub."""
    initialise(settings)
    settings.state.chmod(0o777)
    assert run_check("state folder", settings).status is Status.FAILED


def test_a_port_that_a_stranger_holds_is_told(settings: Settings) -> None:
    """By the name of its setting, before `up` fails on it."""
    with socket.create_server(("127.0.0.1", settings.serve.port)):
        found = run_check("ports", settings)
    assert found.status is Status.WARN
    assert f"serve.port {settings.serve.port}" in found.detail


def test_a_database_that_does_not_answer_is_down_and_shows_no_password(settings: Settings) -> None:
    """The address of a store may hold one."""
    elsewhere = settings.model_copy(update={"ledger": LedgerSettings(url=f"sqlite:///file:{settings.state}/none?mode=ro&uri=true")})
    assert run_check("store", elsewhere).status is Status.DOWN
    (port,) = free_ports(1)
    secret = settings.model_copy(update={"ledger": LedgerSettings(url=f"postgresql://hub:geheim@127.0.0.1:{port}/hub")})
    assert "geheim" not in str(run_check("store", secret))


def test_limits_that_are_too_low_for_the_partitions_are_told(settings: Settings) -> None:
    """Under too few maps or files a broker ends at some agreement, without a word of why."""
    data = settings.state / "broker" / "kafka" / "data"
    data.mkdir(parents=True)
    assert run_check("limits", settings).status is Status.OK
    allowed = int(Path("/proc/sys/vm/max_map_count").read_text())
    count = min(allowed // MAPS_OF_PARTITION, 20_000) + 1
    for number in range(count):
        (data / f"share.a.b-{number}").mkdir()
    found = run_check("limits", settings)
    assert f"{count} partitions need" in found.detail
    too_low = allowed < MAPS_BASE + MAPS_OF_PARTITION * count
    assert found.status is (Status.WARN if too_low else Status.OK), found
    assert ("sysctl -w vm.max_map_count=" in found.fix) == too_low


def test_protection_is_told_in_one_line_until_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Five lines each time are read once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CITYHUB_BROKER__BOOTSTRAP", f"127.0.0.1:{free_ports(1)[0]}")
    run(["doctor"])
    assert "5 things are not protected yet: `cityhub doctor --unprotected` lists them" in capsys.readouterr().err
    run(["doctor", "--unprotected"])
    said = capsys.readouterr().err
    assert all(line in said for line in NOT_PROTECTED["en"])


def test_exit_codes_follow_the_worst_finding() -> None:
    """Down before failed before ok; warnings do not count."""
    assert exit_code([Status.OK, Status.WARN, Status.SKIPPED]) == 0
    assert exit_code([Status.OK, Status.FAILED]) == 1
    assert exit_code([Status.FAILED, Status.DOWN]) == 4


def test_doctor_prints_one_json_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With every check, and in the language asked for what is not protected."""
    monkeypatch.chdir(tmp_path)
    ports = free_ports(2)
    monkeypatch.setenv("CITYHUB_BROKER__BOOTSTRAP", f"127.0.0.1:{ports[0]}")
    monkeypatch.setenv("CITYHUB_SERVE__PORT", str(ports[1]))
    assert run(["--lang", "zh", "doctor", "--json"]) == 4
    found = json.loads(capsys.readouterr().out)
    assert list(found["checks"]) == list(CHECKS)
    assert found["not_protected"] == list(NOT_PROTECTED["zh"])
    assert found["checks"]["java"]["status"] == "skipped"


def test_both_languages_say_the_same_things_about_protection() -> None:
    """Point by point."""
    assert len(NOT_PROTECTED["en"]) == len(NOT_PROTECTED["zh"])
    assert all(sum("read_committed" in line for line in lines) == 1 for lines in NOT_PROTECTED.values())


@pytest.mark.broker
def test_the_clock_of_the_broker_is_read_without_writing(broker: EmbeddedBroker) -> None:
    """Both run on this machine: they differ by less than the round trip."""
    assert abs(skew_ms(broker.bootstrap)) < 200


@pytest.mark.broker
def test_a_live_broker_is_told_with_what_it_speaks(broker: EmbeddedBroker, settings: Settings) -> None:
    """An outside cluster is checked like our own."""
    outside = settings.model_copy(update={"broker": BrokerSettings(bootstrap=broker.bootstrap)})
    found = run_check("broker", outside)
    assert found.status is Status.OK
    assert "transaction.version 2" in found.detail
    assert run_check("clock", outside).status is Status.OK


def test_a_clock_that_nobody_tells_is_a_coded_error() -> None:
    """No broker there."""
    (port,) = free_ports(1)
    with pytest.raises(HubError) as caught:
        skew_ms(f"127.0.0.1:{port}")
    assert caught.value.code == "HUB-BROKER-001"
