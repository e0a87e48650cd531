"""The connector's own state file: which files were taken, in their order. It knows one entry more than Kafka's position at most.

Theory of operation. A file is entered here, on disk, before the first position that names it. So at a start:

==========================  =====================================  ====================================================
position in Kafka           journal's last entry                   meaning
==========================  =====================================  ====================================================
none                        none                                   nothing was ever taken
none                        the first, no commit ever seen         killed before the first commit: take it from row 0
entry n, not at its end     n                                      killed inside file n: go on behind its row
entry n, at its end         n                                      nothing is open
entry n, at its end         n + 1                                  killed before the first commit of n + 1: row 0
anything else                                                      one of the two was lost or is another's: HUB-CONN-005
==========================  =====================================  ====================================================

Rows are counted as the journal's ``version`` says. A file that is open under an older one is refused: its position counts rows that
are none any more. Entries that are finished are good in every version.

The last entry may be taken back as long as no position names it. Written whole: draft, fsync, rename, fsync of the folder.
"""

import os
import re
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from connectors.kit.positions import unusable
from connectors.sources.csv_file.file_names import is_stand_in, name_of
from hub.model.errors import HubError

ENTRIES_MAX: Final = 50_000
IDENTITY_CHARACTERS: Final = 16
"""Of the SHA-256 in hex: 64 bits, enough to tell the files of one connector apart."""
VERSION: Final = 2
"""Of the journal. In 1, rows of separators and lines behind a misplaced quote counted as rows."""
_POSITION = re.compile(r"([1-9][0-9]{0,9}),([0-9a-f]{16}),([0-9]{1,12}),([0-9]{1,12}),(open|end)\Z")


class FilePosition(NamedTuple):
    """Where the source stands: in which entry of the journal, behind how many rows of it."""

    number: int
    identity: str
    rows: int
    set_aside: int
    ended: bool

    def text(self) -> str:
        """Return it as it stands in a position."""
        return f"{self.number},{self.identity},{self.rows},{self.set_aside},{'end' if self.ended else 'open'}"


def parse_position(text: str) -> FilePosition:
    """Read a position's text; HUB-CONN-005 where it is none of a source of files."""
    match = _POSITION.match(text)
    if match is None:
        raise unusable("the position that Kafka holds is no position in files")
    return FilePosition(int(match[1]), match[2], int(match[3]), int(match[4]), match[5] == "end")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One file that was taken."""

    number: int
    sha256: str
    name: str
    bytes: int
    schema_id: int
    taken_at: str

    @property
    def identity(self) -> str:
        """The beginning of the hash: what positions and source ids say."""
        return self.sha256[:IDENTITY_CHARACTERS]


class _Written(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    topic_id: str
    commit_seen: bool
    entries: list[Entry]


class Journal:
    """The files that a connector has taken."""

    def __init__(self, folder: Path, *, entries_max: int = ENTRIES_MAX) -> None:
        """Read what is there; HUB-CONN-005 where it cannot be read."""
        self._entries_max = entries_max
        self.file = folder / "files.json"
        self._folder = folder
        self._written = self._load()
        self._index()

    @property
    def last(self) -> Entry | None:
        """The newest entry."""
        return self._written.entries[-1] if self._written.entries else None

    @property
    def counts_otherwise(self) -> bool:
        """Tell whether positions in the last entry count rows as an older version did."""
        return self._written.version < VERSION

    def find(self, sha256: str) -> Entry | None:
        """Return the entry of a content, None where it was never taken."""
        return self._by_hash.get(sha256)

    def took(self, name: str) -> bool:
        """Tell whether a file of that name was taken, whatever was in it."""
        return name in self._names

    def stand(self, position: FilePosition | None, *, topic_id: str) -> FilePosition | None:
        """Return where to go on: in the last entry, or None where no file is open. HUB-CONN-005 where the two contradict each other."""
        last = self.last
        if last is None:
            if position is not None:
                raise unusable(f"Kafka holds a position, and the state file `{self.file}` is empty or gone")
            return None
        if self._written.topic_id != topic_id:
            raise unusable("the topic is not the one that files were published to before: it was re-created under the same name")
        if position is None:
            if last.number == 1 and not self._written.commit_seen:
                return FilePosition(1, last.identity, 0, 0, ended=False)
            raise unusable("files were published before, and Kafka holds no position: it was deleted or has expired")
        return self._beside(position, last)

    def _beside(self, position: FilePosition, last: Entry) -> FilePosition | None:
        named = self._written.entries[position.number - 1] if position.number <= last.number else None
        if named is None or named.identity != position.identity:
            raise unusable(f"Kafka's position names a file that the state file `{self.file}` does not know")
        if position.number == last.number:
            return None if position.ended else position
        if position.number == last.number - 1 and position.ended:
            return FilePosition(last.number, last.identity, 0, 0, ended=False)
        raise unusable(f"Kafka's position is behind the state file `{self.file}`: it was set back")

    def take(self, entry: Entry, *, topic_id: str) -> None:
        """Enter a file; on disk when this returns."""
        if len(self._written.entries) >= self._entries_max:
            fix = "empty the folder, and go on under a new connector name"
            raise HubError("HUB-CONN-008", f"this connector has taken {self._entries_max} files, as many as it remembers", fix)
        entries = [*self._written.entries, entry]
        self._write(msgspec.structs.replace(self._written, version=VERSION, topic_id=topic_id, entries=entries))

    def take_back(self, number: int) -> None:
        """Forget the last entry, which no position names yet."""
        if self.last is None or self.last.number != number:
            raise AssertionError("only the last entry can be taken back")
        self._write(msgspec.structs.replace(self._written, entries=self._written.entries[:-1]))

    def count_anew(self) -> None:
        """Note that rows of the last entry are counted as this version does; none of them was counted before."""
        if self.counts_otherwise:
            self._write(msgspec.structs.replace(self._written, version=VERSION))

    def see_commit(self) -> None:
        """Note, once, that Kafka has held a position: from now on its absence is an alarm."""
        if not self._written.commit_seen:
            self._write(msgspec.structs.replace(self._written, commit_seen=True))

    def begin_anew(self) -> None:
        """Put the state file away beside itself and begin with an empty one."""
        if self.file.exists():
            number = 1
            while (aside := self._folder / f"files.{number}.json").exists():
                number += 1
            self.file.rename(aside)
        self._write(_NOTHING)

    def _load(self) -> _Written:
        try:
            written = msgspec.json.decode(self.file.read_bytes(), type=_Written)
        except FileNotFoundError:
            return _NOTHING
        except (msgspec.DecodeError, OSError):
            raise unusable(f"the state file `{self.file}` cannot be read") from None
        if written.version > VERSION:
            raise unusable(f"the state file `{self.file}` is of a later version")
        return msgspec.structs.replace(written, entries=[_shown(entry) for entry in written.entries])

    def _write(self, written: _Written) -> None:
        write_whole(self.file, msgspec.json.format(msgspec.json.encode(written), indent=1))
        self._written = written
        self._index()

    def _index(self) -> None:
        self._by_hash = {entry.sha256: entry for entry in self._written.entries}
        self._names = {entry.name for entry in self._written.entries}


_NOTHING: Final = _Written(version=VERSION, topic_id="", commit_seen=False, entries=[])


def counted_otherwise(entry: Entry, at: FilePosition) -> HubError:
    """Return the error of a file that is open under an older version."""
    message = f"`{entry.name}` is open behind row {at.rows} of an earlier version, which counted its rows otherwise"
    fix = "finish it with that version, or leave its rest out: `cityhub connector run --give-up-rest`"
    return HubError("HUB-CONN-005", message, fix)


def _shown(entry: Entry) -> Entry:
    """Return an entry whose name may be said: earlier versions wrote names as they were."""
    if is_stand_in(entry.name) or (name := name_of(Path(entry.name))) == entry.name:
        return entry
    return msgspec.structs.replace(entry, name=name)


def write_whole(file: Path, content: bytes) -> None:
    """Write a file of mode 0600 so that after a power cut it is the old one or the new one, never half of it."""
    draft = file.with_name(f".{file.name}.draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    draft.replace(file)
    fsync_folder(file.parent)


def fsync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
