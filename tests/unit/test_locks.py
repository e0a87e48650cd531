"""A lock is on a name, as far as others can tell: whoever finds the name finds the lock."""

from pathlib import Path

from hub.locks import FileLock


def test_a_lock_is_never_taken_on_a_file_without_its_name(tmp_path: Path) -> None:
    """Two that race with somebody who deletes the file end on one file."""
    first = FileLock(tmp_path / "lock")
    assert first.take()
    first.write("a long word")
    first.write("me")
    assert (first.read(), first.stands()) == ("me", True)
    assert not FileLock(tmp_path / "lock").take()
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600
    first.release()
    assert not first.stands()


def test_a_lock_whose_file_was_taken_away_does_not_stand(tmp_path: Path) -> None:
    """Another process can make the file anew and hold that one."""
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert first.take()
    (tmp_path / "lock").unlink()
    assert (first.held, first.stands()) == (True, False)
    assert second.take()
    assert second.stands()
    first.release()
    assert second.stands()
    second.release()
    assert second.read() == ""
