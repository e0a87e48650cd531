"""cityhub: the shared data-exchange hub of a city."""

__version__ = "0.1.0"
