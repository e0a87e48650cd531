"""A process that takes the lease of serve and writes under it, a number at a time, until it may not: for tests that stop and wake it.

python tests/lease_holder.py URL STATE SILENT_MS
"""

import sys
import time
from pathlib import Path

import sqlalchemy as sa

from hub.model.errors import HubError
from hub.store import lease as leases
from hub.store.engine import fence_of, open_engine, writing

WRITTEN = sa.table("written", sa.column("epoch"), sa.column("number"))


def main(url: str, state: str, silent_ms: str) -> None:
    """Take it, say so, write; say why it ended."""
    leases.SILENT_MS_MAX = int(silent_ms)
    engine = open_engine(url)
    lease = leases.serve_lease(state=Path(state), url=url)
    if not lease.take():
        sys.exit("taken")
    epoch = leases.begin_term(engine)
    say(f"leads {epoch}")
    number = 0
    try:
        while True:
            with writing(engine) as connection:
                connection.execute(WRITTEN.insert().values(epoch=epoch, number=number))
            number += 1
            say(f"wrote {number}")
            if number % 5 == 0 and (why := lease.lost()) is not None:
                fence_of(engine).shut(why)
            time.sleep(0.02)
    except HubError as error:
        say(f"ended {error.code}")


def say(words: str) -> None:
    """Tell the test."""
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
