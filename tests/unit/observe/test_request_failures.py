"""What serve's log says of a request that failed: the route's template, never the path that was sent."""

import io
import json

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from hub.api.problems import install
from hub.observe.logs import configure_logs


@pytest.fixture
def log() -> io.StringIO:
    """Give the log of this process."""
    stream = io.StringIO()
    configure_logs(process="serve", stream=stream)
    return stream


def failing() -> TestClient:
    """Return an application with a route that fails on whatever it is asked."""
    app = FastAPI()
    install(app)

    @app.get("/v1/agreements/{agreement_id}")
    def fail(agreement_id: str) -> None:
        raise ValueError(agreement_id)

    return TestClient(app, raise_server_exceptions=False)


@pytest.mark.parametrize("value", ["330106199001011258", "王小明", "13800001258"])
def test_a_failed_request_is_logged_by_its_route(log: io.StringIO, value: str) -> None:
    """A number that somebody pasted into a path stands in no log, and in no answer."""
    answer = failing().get(f"/v1/agreements/{value}?at={value}")
    assert answer.status_code == 500
    assert value not in answer.text
    (line,) = [json.loads(text) for text in log.getvalue().splitlines() if "request_failed" in text]
    assert line["route"] == "/v1/agreements/{agreement_id}"
    assert value not in log.getvalue()
    assert "%E7" not in log.getvalue()
