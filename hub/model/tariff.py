"""Tariffs: prices of use. ``name@n`` is that version for ever; versions are never edited.

The spine has tariffs per record. Minimum, package and cap belong to later issues and apply once per agreement and period.
"""

import msgspec


class Tariff(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a tariff per delivered record."""

    name: str
    version: int
    unit_price_micro_fen: int
    """Price of one delivered record."""
    title: str

    @property
    def id(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"

    def charge_micro_fen(self, *, delivered: int) -> int:
        """Return the exact charge for ``delivered`` records, before rounding."""
        return delivered * self.unit_price_micro_fen
