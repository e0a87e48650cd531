"""What a connector is told of the hub: where it is, how things are called there, and its bounds. Arguments, never settings read here."""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from connectors.kit.contract import Definition, Target
from connectors.kit.publisher import Publisher
from connectors.kit.registry import Registry, post
from hub.broker.admin import Admin
from hub.model.errors import HubError
from hub.model.names import Names

NEAR: Final = 0.6
SOURCE_PARTITION = "all"
"""Sources of this build have one partition each: its files, or its table, in one order."""


class HubAccess(msgspec.Struct, frozen=True, kw_only=True):
    """The hub, as a connector reaches it."""

    bootstrap: str
    serve_url: str
    names: Names
    state: Path
    """State folder of the hub's installation; a connector has a folder of its own below."""
    record_bytes_max: int
    transaction_timeout_ms: int

    def folder(self, definition: Definition) -> Path:
        """Return the connector's own state folder."""
        return self.state / "connectors" / definition.name

    def publisher(self, definition: Definition) -> Publisher:
        """Return the connector's publisher, not yet opened."""
        name = definition.name
        return Publisher(
            self.bootstrap,
            topic=self.names.dept(definition.dataset),
            group=self.names.connector_group(connector=name, source_partition=SOURCE_PARTITION),
            transactional_id=self.names.connector_transactional_id(connector=name, source_partition=SOURCE_PARTITION),
            timeout_ms=self.transaction_timeout_ms,
        )

    def _near(self, dataset: str) -> str | None:
        """Return the dataset of the catalogue whose name is nearest to ``dataset``; None where there is none, or nobody to ask."""
        registry = Registry(self.serve_url, subject="")
        try:
            known = [found for subject in registry.subjects() if (found := self.names.dataset_of_subject(subject)) is not None]
        except HubError:
            return None
        finally:
            registry.close()
        return next((found for found in difflib.get_close_matches(dataset, known, n=2, cutoff=NEAR) if found != dataset), None)

    @contextmanager
    def target(self, definition: Definition) -> Iterator[Target]:
        """Reach topic and registry; HUB-BROKER-001, -009 where that fails. The registry is asked when a schema is needed."""
        topic = self.names.dept(definition.dataset)
        with Admin(self.bootstrap, client_id=f"cityhub-connector-{definition.name}") as admin:
            topic_id = admin.topic_ids([topic]).get(topic)
            if topic_id is None:
                raise topic_is_missing(topic, dataset=definition.dataset, near=self._near(definition.dataset))
            partitions = admin.partitions(topic)
        registry = Registry(self.serve_url, subject=self.names.dept_subject(definition.dataset))
        try:
            yield Target(topic, str(topic_id), partitions, registry, self.record_bytes_max, self.folder(definition))
        finally:
            registry.close()

    @contextmanager
    def recorded_anew(self, definition: Definition) -> Iterator[None]:
        """Record at serve that the source is about to publish everything again, then what became of it; HUB-SERVE-001 without serve."""
        path = f"/v1/connectors/{definition.name}/anew"
        act = post(self.serve_url, path, {"dataset": definition.dataset})["act"]
        try:
            yield
        except BaseException:
            post(self.serve_url, f"{path}/{act}", {"outcome": "failed"})
            raise
        post(self.serve_url, f"{path}/{act}", {"outcome": "done"})


def topic_is_missing(topic: str, *, dataset: str, near: str | None = None) -> HubError:
    """Return the error of a dataset that was never published, or whose topic is gone; ``near`` may be the one that was meant."""
    fix = f"publish the dataset first: `cityhub dataset publish {dataset}`"
    return HubError("HUB-BROKER-009", f"topic `{topic}` does not exist", f"did you mean `{near}`? Else {fix}" if near else fix)
