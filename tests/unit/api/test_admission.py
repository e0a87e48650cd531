"""Whose places a request takes: a withdrawal waits for nobody who reads, checks or registers."""

import pytest

from hub.api.admission import kind_of


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("POST", "/v1/agreements/parking/suspend", "withdrawal"),
        ("POST", "/v1/agreements/parking/end", "withdrawal"),
        ("POST", "/v1/agreements/parking/sign", "act"),
        ("POST", "/v1/agreements", "act"),
        ("POST", "/subjects/s/versions", "act"),
        ("POST", "/subjects/s", "check"),
        ("POST", "/compatibility/subjects/s/versions/latest", "check"),
        ("GET", "/v1/agreements/suspend", "read"),
        ("GET", "/readyz", "health"),
    ],
)
def test_each_kind_of_request_has_places_of_its_own(method: str, path: str, kind: str) -> None:
    """Registrations under thousands of agreements take all places of acts, and a right must be withdrawn beside them."""
    assert kind_of(method, path) == kind
