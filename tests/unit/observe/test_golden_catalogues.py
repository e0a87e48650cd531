"""What people meet by name stands in golden files, so that a change of it is seen and judged: metrics, log keys, error codes."""

import pytest
from golden_files import hold
from prometheus_client.metrics import MetricWrapperBase
from rich.cells import cell_len

from hub.model.errors import CODES
from hub.observe import logs, metrics
from hub.observe.metrics import Family


def aligned(rows: list[tuple[str, ...]]) -> str:
    """Return rows under each other, Chinese characters two columns wide."""
    widths = [max(cell_len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = ["  ".join(cell + " " * (widths[at] - cell_len(cell)) for at, cell in enumerate(row)).rstrip() for row in rows]
    return "\n".join([*lines, ""])


@pytest.mark.golden
def test_metrics_change_only_when_someone_looked() -> None:
    """Dashboards and alerts of others hang on names, labels and meanings."""
    rows = [("name", "type", "processes", "labels", "help")]
    for value in vars(metrics).values():
        metric = value.metric if isinstance(value, Family) else value
        if not isinstance(metric, MetricWrapperBase):
            continue
        shown_by = [process for process in metrics.PROCESSES if metric in metrics._OF_PROCESS[process]._collector_to_names]
        name = metric.describe()[0].name + ("_total" if metric._type == "counter" else "")
        rows.append((name, metric._type, ",".join(shown_by), ",".join(metric._labelnames) or "-", metric._documentation))
    hold("observe/metrics.txt", aligned(rows))


@pytest.mark.golden
def test_log_keys_change_only_when_someone_looked() -> None:
    """Each new key is a place where a value could get out."""
    hold("observe/log-keys.txt", "\n".join([*sorted(logs.LOG_KEYS), ""]))


@pytest.mark.golden
def test_error_codes_change_only_when_someone_looked() -> None:
    """Programs branch on code and exit code; people read the titles in either language."""
    rows = [("code", "exit", "status", "en", "zh")]
    rows += [(code, str(int(entry.exit)), str(entry.status), entry.en, entry.zh) for code, entry in sorted(CODES.items())]
    hold("cli/codes.txt", aligned(rows))
