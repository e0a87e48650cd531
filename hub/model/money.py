"""Money: integers in fen on ledgers, micro-fen in unit prices, and the one function that rounds."""

from typing import Final

MICRO: Final = 1_000_000
"""Micro-fen in one fen."""


def round_to_fen(micro_fen: int) -> int:
    """Round micro-fen to whole fen, half to even; the only rounding of money, once per bill line."""
    quotient, rest = divmod(micro_fen, MICRO)
    twice = 2 * rest
    if twice > MICRO or (twice == MICRO and quotient % 2 == 1):
        quotient += 1
    return quotient


def yuan(fen: int) -> str:
    """Return fen as yuan with two decimals and thousands separators, for people: ``¥1,234.50``."""
    sign = "-" if fen < 0 else ""
    whole, cents = divmod(abs(fen), 100)
    return f"{sign}¥{whole:,}.{cents:02d}"
