"""Failpoints: named places where a test stops a process, so that a kill hits exactly there.

Set by ``CITYHUB_FAILPOINT``, unset in production: then a failpoint is one dictionary look-up. The value is a list of
``<name>@<hit>=<action>``, separated by commas. ``<hit>`` is the number of the visit from 1, or ``*`` for each. Actions:
``hang:<file>`` writes ``{"pid", "name", "detail"}`` to the file and waits until somebody removes it (a killed process never
goes on; a zombie is let go that way), ``sleep:<seconds>`` waits that long.
Every name stands in ``FAILPOINTS``; an unknown name is refused at start, so that a test cannot wait for one in vain.
"""

import asyncio
import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Final

from hub.model.errors import HubError

VARIABLE: Final = "CITYHUB_FAILPOINT"
LOOK_S: Final = 0.02
FAILPOINTS: Final = (
    "lane.drained",
    "lane.decided",
    "lane.offsets_sent",
    "lane.produced",
    "lane.checked",
    "lane.committed",
    "lane.given_back",
    "store.upgrade",
    "plan.stored",
    "plan.before_append",
    "plan.appended",
    "plan.noted",
    "ledger.loss_stored",
    "connector.row_sent",
    "connector.before_commit",
    "connector.after_commit",
)


def _parse(text: str) -> dict[str, list[tuple[str, str, str]]]:
    found: dict[str, list[tuple[str, str, str]]] = {}
    for part in filter(None, text.split(",")):
        place, _, action = part.partition("=")
        name, _, hit = place.partition("@")
        kind, _, argument = action.partition(":")
        if name not in FAILPOINTS or kind not in {"hang", "sleep"} or not (hit == "*" or hit.isdigit()):
            raise HubError(
                "HUB-CONF-001", f"`{part}` is no failpoint", f"`<name>@<hit>=hang:<file>` with a name of {', '.join(FAILPOINTS)}"
            )
        found.setdefault(name, []).append((hit, kind, argument))
    return found


_ARMED = _parse(os.environ.get(VARIABLE, ""))
_VISITS: Counter[str] = Counter()


def _due(name: str, detail: str) -> tuple[float, list[Path]]:
    """Return seconds to wait at this visit, and the marks of hangs, written just now, that have to go before it goes on."""
    _VISITS[name] += 1
    wait = 0.0
    marks = []
    for hit, kind, argument in _ARMED[name]:
        if hit not in {"*", str(_VISITS[name])}:
            continue
        if kind == "sleep":
            wait += float(argument)
            continue
        draft = Path(f"{argument}.{os.getpid()}")
        draft.write_text(json.dumps({"pid": os.getpid(), "name": name, "detail": detail}), encoding="utf-8")
        draft.replace(argument)
        marks.append(Path(argument))
    return wait, marks


def failpoint(name: str, *, detail: str = "") -> None:
    """Stop here if a test asked for it (blocking code)."""
    if name in _ARMED:
        wait, marks = _due(name, detail)
        time.sleep(wait)
        while any(mark.exists() for mark in marks):
            time.sleep(LOOK_S)


async def afailpoint(name: str, *, detail: object = "") -> None:
    """Stop here if a test asked for it (code on the event loop)."""
    if name in _ARMED:
        wait, marks = _due(name, str(detail))
        await asyncio.sleep(wait)
        while any(mark.exists() for mark in marks):  # noqa: ASYNC110 - another process removes it
            await asyncio.sleep(LOOK_S)
