# The extension module that is built from `native/`. Only `hub.exchange.native` and `transport/reception.py` import it, and tests.

from collections.abc import Sequence
from typing import Final, Self, TypeAlias

from typing_extensions import Buffer

_Tally: TypeAlias = tuple[int, int, int, int, int, int]
_Row: TypeAlias = tuple[int, int, str, int | None, int]
_Kept: TypeAlias = tuple[bytes | None, bytes | None, bytes | None, int | None]
_Decided: TypeAlias = tuple[int, int | None, list[_Tally], list[list[tuple[BatchBuffer, int]]], list[_Row], list[_Kept], list[int]]

# A plan, lowered and compiled; keys live in it and are wiped with it.
class Program:
    def __new__(cls, spec: str, keys: Sequence[bytes]) -> Self: ...
    # Decide a step without the interpreter.
    # Returns records, where a limit stopped it, tallies by agreement (delivered, filtered, suppressed, quarantined, source and
    # delivered bytes), batches by agreement, rows of quarantine (first and next offset, code, agreement, which of what is kept),
    # what is kept (key, value, hash, length) and unknown schema ids.
    def run(self, chunks: Sequence[tuple[Buffer, int]], position: int, now_ms: int, denied: Sequence[bool]) -> _Decided: ...

    # Decide a step, and return the nanoseconds of each stage.
    def profile(
        self, chunks: Sequence[tuple[Buffer, int]], position: int, now_ms: int, denied: Sequence[bool]
    ) -> list[tuple[str, int]]: ...

# A record batch that a kernel built, in memory that goes back to a pool when the last view on it is gone.
class BatchBuffer:
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    # Set them in place and make the CRC; BufferError while the batch is viewed.
    def stamp(self, producer_id: int, epoch: int, sequence: int, transactional: bool) -> None: ...

# Writable pooled memory for what a broker answers.
class ReceiveBuffer:
    def __new__(cls, size: int) -> Self: ...
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

# Records, plain bytes, record headers, gzip members and zstd window (a power of two) of one batch, at most.
BATCH_BOUNDS: Final[tuple[int, int, int, int, int]]

# Read one whole batch: offset, key and value of each record; ValueError with the code where it is unreadable.
def read_records(batch: Buffer) -> list[tuple[int, bytes | None, bytes | None]]: ...

# Build batches that are not yet stamped, each with its number of records.
def build_batches(
    records: Sequence[tuple[bytes | None, bytes | None]], *, bytes_max: int, timestamp_ms: int, codec: int
) -> list[tuple[BatchBuffer, int]]: ...

# Single values by themselves, for tests.
class _Values:
    SHA_256: str  # by what pseudonyms are worked out on this processor
    @staticmethod
    def holds(spec: str, values: Sequence[bytes]) -> list[bool]: ...
    @staticmethod
    def truths(specs: Sequence[str], values: Sequence[bytes]) -> list[int]: ...
    @staticmethod
    def changed(spec: str, values: Sequence[bytes]) -> list[bytes | None]: ...
    @staticmethod
    def normal_forms(kind: str, texts: Sequence[str]) -> list[str | None]: ...
    @staticmethod
    def pseudonyms(keys: Sequence[bytes], jobs: Sequence[tuple[int, str]]) -> list[str]: ...

values: Final[_Values]
