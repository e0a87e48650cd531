"""The kernels that there are here, by name: each passes the conformance table and agrees with the reference."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from hub.exchange import reference
from hub.exchange.plan import Plan
from hub.exchange.verdict import Chunk, Moment, Source, Verdict

Kernel = Callable[[Plan, Sequence[Chunk], Source, Moment], Verdict]
KERNELS: Final[Mapping[str, Kernel]] = {"reference": reference.run}
