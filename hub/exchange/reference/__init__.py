"""The reference kernel: the truth in Python, one module each for decode, authorise, anonymise, route and meter.

Owns what a plan means for a record. Pure: no I/O, no clock; the same arguments give the same verdict. A native kernel must give
the same bytes, counts and codes; where the two differ, this one is right.
"""

from hub.exchange.reference.step import run

__all__ = ["run"]
