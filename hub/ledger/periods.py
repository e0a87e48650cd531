"""Periods of account: calendar months in Asia/Shanghai, whose borders are whole hours in UTC."""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

import msgspec

from hub.ledger.chain import HOUR_MS
from hub.model.errors import HubError
from hub.model.written import identifier

TZ: Final = "Asia/Shanghai"
_OFFSET: Final = timezone(timedelta(hours=8))
"""Fixed since 1991: no need for a tz database, which slim machines lack."""
_PERIOD: Final = re.compile(r"(20[0-9]{2})-(0[1-9]|1[0-2])\Z")


class Period(msgspec.Struct, frozen=True):
    """One month."""

    period_id: str
    start_ms: int
    end_ms: int
    """Exclusive."""

    @property
    def hours(self) -> range:
        """Hours since 1970 that belong to it."""
        return range(self.start_ms // HOUR_MS, self.end_ms // HOUR_MS)

    @classmethod
    def parse(cls, text: str) -> "Period":
        """Read ``2026-11``; HUB-LEDGER-003 when it is no month."""
        found = _PERIOD.match(text)
        if found is None:
            raise HubError("HUB-LEDGER-003", f"`{identifier(text)}` is no period", "write year and month, such as 2026-11")
        year, month = int(found[1]), int(found[2])
        start = datetime(year, month, 1, tzinfo=_OFFSET)
        end = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=_OFFSET)
        return cls(text, _ms(start), _ms(end))


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def utc(ms: int) -> str:
    """Return UTC milliseconds as ISO 8601 to the second, as they stand in records."""
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def shown_hour(hour: int) -> str:
    """Return an hour since 1970 as people in Asia/Shanghai read it: ``2026-11-24 18:00 +08:00``."""
    return datetime.fromtimestamp(hour * 3600, _OFFSET).strftime("%Y-%m-%d %H:00 +08:00")
