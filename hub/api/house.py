"""What the routes work with: the application, and whether this process may write."""

from collections.abc import Mapping
from typing import Protocol

from hub.agreements.control import ControlPlane
from hub.app import Hub
from hub.observe.health import Check


class House(Protocol):
    """The serve process, as its routes see it."""

    port: int
    """Where it listens."""

    @property
    def hub(self) -> Hub:
        """The application, for reading."""
        ...

    @property
    def control(self) -> ControlPlane:
        """The control plane; HUB-SERVE-002 while this process stands by."""
        ...

    @property
    def checks(self) -> Mapping[str, Check]:
        """What /readyz asks."""
        ...
