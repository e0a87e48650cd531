"""A serve with one thing broken, for the controls of `make revocation`: `broken_serve.py no-fence | early-answer`."""

import sys
import threading
import time
from collections.abc import Sequence
from typing import Final

from hub.broker.fencing import LaneGate
from hub.cli import main
from hub.model.names import Names, TopicPartition

LATE_S: Final = 1.5
_whole = LaneGate.fence


def _no_fence(_gate: LaneGate, _lanes: Sequence[TopicPartition], *, names: Names) -> None:
    del names


def _early_answer(gate: LaneGate, lanes: Sequence[TopicPartition], *, names: Names) -> None:
    def later() -> None:
        time.sleep(LATE_S)
        _whole(gate, lanes, names=names)

    threading.Thread(target=later, daemon=True).start()


LaneGate.fence = {"no-fence": _no_fence, "early-answer": _early_answer}[sys.argv[1]]  # type: ignore[method-assign]  # the break
main(["serve", "--init"])
