"""Codecs: what can be read here is read within its bound, what cannot is refused by name."""

import gzip
import importlib
import importlib.util
import os
from collections.abc import Callable
from typing import Any

import pytest

from hub.broker.codecs import NAMES, Undecodable, available, decompress

HERE = importlib.util.find_spec("cramjam") is not None
TEXT = os.urandom(500) * 40 + b"\0" * 60_000


def _xerial(block: Callable[[bytes], bytes], text: bytes) -> bytes:
    out = b"\x82SNAPPY\0" + (1).to_bytes(4, "big") * 2
    for at in range(0, len(text), 32 * 1024):
        part = block(text[at : at + 32 * 1024])
        out += len(part).to_bytes(4, "big") + part
    return out


def _compressed(name: str) -> tuple[int, bytes]:
    if name == "gzip":
        return 1, gzip.compress(TEXT)
    if name == "gzip, two members":
        return 1, gzip.compress(TEXT[:1000]) + gzip.compress(TEXT[1000:])
    library: Any = pytest.importorskip("cramjam")
    if name == "snappy, raw":
        return 2, bytes(library.snappy.compress_raw(TEXT))
    if name == "snappy, Java's blocks":
        return 2, _xerial(lambda part: bytes(library.snappy.compress_raw(part)), TEXT)
    return (3, bytes(library.lz4.compress(TEXT))) if name == "lz4" else (4, bytes(library.zstd.compress(TEXT)))


FORMS = ["gzip", "gzip, two members", "snappy, raw", "snappy, Java's blocks", "lz4", "zstd"]


@pytest.mark.parametrize("form", FORMS)
def test_at_the_bound_it_is_read_and_one_past_it_is_refused(form: str) -> None:
    """The bound is on what comes out, whatever the stream claims."""
    codec, compressed = _compressed(form)

    assert decompress(codec, compressed, bytes_max=len(TEXT)) == TEXT
    with pytest.raises(Undecodable) as caught:
        decompress(codec, compressed, bytes_max=len(TEXT) - 1)
    assert caught.value.code == "too-large"


@pytest.mark.parametrize("form", FORMS)
def test_a_cut_stream_is_corrupt_or_shorter_but_never_a_crash(form: str) -> None:
    """Bytes come from outside: the only answers are bytes within the bound, or Undecodable."""
    codec, compressed = _compressed(form)

    for cut in range(1, len(compressed), max(1, len(compressed) // 40)):
        try:
            found = decompress(codec, compressed[:cut], bytes_max=len(TEXT))
        except Undecodable:
            continue
        assert TEXT.startswith(found)


@pytest.mark.parametrize("codec", [2, 3, 4])
def test_a_codec_that_is_not_installed_is_named(codec: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator must learn which package is missing, not that a batch is corrupt."""
    with monkeypatch.context() as patch:
        patch.setitem(importlib.import_module("sys").modules, "cramjam", None)
        assert available() == {0, 1}
        with pytest.raises(Undecodable, match=NAMES[codec]) as caught:
            decompress(codec, b"\0" * 20, bytes_max=1000)

    assert caught.value.code == "codec-missing"


def test_what_is_available_depends_on_the_package_alone() -> None:
    """The doctor shows it."""
    assert available() == (set(NAMES) if HERE else {0, 1})


def test_plain_bytes_are_bounded_too() -> None:
    """Codec 0 is no way round the bound."""
    assert decompress(0, b"abc", bytes_max=3) == b"abc"
    with pytest.raises(Undecodable):
        decompress(0, b"abcd", bytes_max=3)
