"""Codecs: what can be read here is read within its bound, what cannot is refused by name."""

import gzip
import importlib
import importlib.util
import os
from collections.abc import Callable
from typing import Any

import pytest

from hub.broker.codecs import NAMES, Undecodable, available, compress, decompress
from hub.settings import BATCH_GZIP_MEMBERS_MAX

HERE = importlib.util.find_spec("cramjam") is not None
TEXT = os.urandom(500) * 40 + b"\0" * 60_000


def _found(codec: int, frame: str) -> bytes | None:
    try:
        return decompress(codec, bytes.fromhex(frame.replace(" ", "")), bytes_max=1000)
    except Undecodable as refusal:
        return None if refusal.code == "codec-corrupt" else b"too large"


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
LZ4 = "04224d18604082"
"""The header of an lz4 frame of independent blocks of at most 64 KiB."""
ZSTD = "28b52ffd"


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


def test_a_codec_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator must learn which package is missing, not that a batch is corrupt."""
    with monkeypatch.context() as patch:
        patch.setitem(importlib.import_module("sys").modules, "cramjam", None)
        assert available() == {0, 1, 2, 3}
        with pytest.raises(Undecodable, match="zstd") as caught:
            decompress(4, b"\0" * 20, bytes_max=1000)

    assert caught.value.code == "codec-missing"


def test_what_is_available_depends_on_the_package_alone() -> None:
    """The doctor shows it."""
    assert available() == (set(NAMES) if HERE else {0, 1, 2, 3})


def test_plain_bytes_are_bounded_too() -> None:
    """Codec 0 is no way round the bound."""
    assert decompress(0, b"abc", bytes_max=3) == b"abc"
    with pytest.raises(Undecodable):
        decompress(0, b"abcd", bytes_max=3)


@pytest.mark.parametrize("codec", sorted(NAMES))
@pytest.mark.parametrize("size", [0, 1, 30_000, 70_000, 300_000, 1_200_000, 4_300_000])
def test_what_is_compressed_is_read_again(codec: int, size: int) -> None:
    """Sizes on both sides of every block size that is written."""
    plain = (TEXT * (1 + size // len(TEXT)))[:size]

    assert decompress(codec, compress(codec, plain), bytes_max=size) == plain


def test_snappy_and_lz4_are_written_as_java_reads_them() -> None:
    """Raw snappy and dependent lz4 blocks are refused by Java's readers."""
    assert compress(2, TEXT).startswith(b"\x82SNAPPY\0" + bytes([0, 0, 0, 1] * 2))
    assert compress(3, TEXT).startswith(b"\x04\x22\x4d\x18\x60")


def test_bytes_that_do_not_shrink_are_stored_in_lz4() -> None:
    """A block of noise costs its four bytes of length and no more."""
    noise = os.urandom(100_000)

    assert len(compress(3, noise)) == 7 + 4 + len(noise) + 4


def test_an_unknown_codec_is_refused_by_name() -> None:
    """Codecs 5 to 7 stand for nothing."""
    with pytest.raises(Undecodable, match="codec-unknown"):
        compress(5, b"abc")


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
def test_nothing_is_no_stream(codec: int) -> None:
    """A library may take no bytes for an empty stream; what one library takes must not decide."""
    with pytest.raises(Undecodable, match="codec-corrupt"):
        decompress(codec, b"", bytes_max=10)


def test_members_of_gzip_are_counted() -> None:
    """A megabyte of empty members would take minutes."""
    member = gzip.compress(b"a")

    assert decompress(1, member * BATCH_GZIP_MEMBERS_MAX, bytes_max=100) == b"a" * BATCH_GZIP_MEMBERS_MAX
    with pytest.raises(Undecodable, match="too-large"):
        decompress(1, member * (BATCH_GZIP_MEMBERS_MAX + 1), bytes_max=100)


@pytest.mark.parametrize(
    ("frame", "plain"),
    [
        (LZ4 + "05000000 40 61626364" + "00000000", b"abcd"),
        (LZ4 + "0d000000 44 61626364 0400 50 65666768 69" + "00000000", b"abcdabcdabcdefghi"),
        (LZ4 + "08000000 10 61 0100 30 626364" + "00000000", b"a" * 5 + b"bcd"),
        (LZ4 + "04000080 61626364" + "00000000", b"abcd"),
        (LZ4 + "04000080 61626364 04000000 00 0400 00" + "00000000", None),
        (LZ4 + "05000000 50 61626364" + "00000000", None),
        (LZ4 + "08000000 10 61 0000 30 626364" + "00000000", None),
        (LZ4 + "08000000 10 61 0200 30 626364" + "00000000", None),
        (LZ4 + "07000000 10 61 0100" + "00000000", None),
        (LZ4 + "05000000 40 61626364", None),
        (LZ4 + "05000000 40 61626364" + "00000000 00", None),
        (LZ4 + "04010080" + "00" * 200 + "00000000", None),
        ("04224d18604083" + "00000000", None),
        ("04224d186130c9" + "00000000", None),
        ("04224d18" + "4040c0" + "04000080 61626364 04000000 00 0400 00" + "00000000", b"abcd" * 2),
        ("04224d18" + "7440bd" + "01000080 61 00000000" + "00000000 00000000", b"a"),
    ],
)
def test_lz4_is_read_strictly(frame: str, plain: bytes | None) -> None:
    """Which broken blocks are taken depends on a library's version and processor; a native reader must take the same ones."""
    assert _found(3, frame) == plain


@pytest.mark.parametrize(
    ("block", "plain"),
    [
        ("03 08 616263", b"abc"),
        ("8380808000 08 616263", b"abc"),
        ("838080808000 08 616263", None),
        ("01 f0 00 61", b"a"),
        ("01 fc 00000000 61", b"a"),
        ("0b 08 616263 11 03", b"abcabcabcab"),
        ("06 08 616263 0a 0300", b"abcabc"),
        ("06 08 616263 0b 03000000", b"abcabc"),
        ("06 08 616263 0a 0400", None),
        ("06 08 616263 0a 0000", None),
        ("05 08 616263 0a 0300", None),
        ("07 08 616263 0a 0300", None),
        ("06 08 616263 0a 03", None),
        ("03 08 6162", None),
        ("03", None),
        ("00", b""),
        ("82534e4150505900 0000000100000001", b""),
        ("82534e4150505900 0000000100000001 00000005 03 08 616263", b"abc"),
        ("82534e4150505900 0000000100000001 00000000", None),
        ("82534e4150505900 0000000100000001 00000006 03 08 616263", None),
        ("82534e4150505900 00000001000000", None),
    ],
)
def test_snappy_is_read_by_its_description(block: str, plain: bytes | None) -> None:
    """Versions of one library differ in the long lengths and late literals that they take."""
    assert _found(2, block) == plain


@pytest.mark.parametrize(
    ("frame", "plain"),
    [
        (ZSTD + "2003 190000 616263", b"abc"),
        (ZSTD + "0000 190000 616263", b"abc"),
        (ZSTD + "2003 180000 616263 010000", b"abc"),
        (ZSTD + "2003 1b0000 61", b"aaa"),
        (ZSTD + "2003 190000 6162", None),
        (ZSTD + "2004 180000 616263 010000", None),
        (ZSTD + "2002 180000 616263 010000", None),
        (ZSTD + "4000 0000 190000 616263", None),
        (ZSTD + "2003 190000 616263 00", None),
        (ZSTD + "2003 190000 616263" + ZSTD + "2003 190000 616263", None),
        (ZSTD + "2803 190000 616263", None),
        (ZSTD + "2003 1f0000 61", None),
        (ZSTD + "0068 190000 616263", b"abc"),
        (ZSTD + "0069 190000 616263", b"too large"),
        (ZSTD + "2103 07 190000 616263", None),
        ("502a4d1800000000" + ZSTD + "2003 190000 616263", None),
    ],
)
def test_zstd_is_exactly_one_frame_within_the_window(frame: str, plain: bytes | None) -> None:
    """Several frames, skippable ones, dictionaries and windows over eight megabytes are no client's batch."""
    assert _found(4, frame) == plain


def test_what_a_frame_claims_reserves_nothing() -> None:
    """Its blocks say how much it can be at most: one block is at most 128 KiB, whatever the frame says."""
    claimed = bytes.fromhex(ZSTD + "e0" + "0000800000000000" + "190000616263")

    with pytest.raises(Undecodable, match="codec-corrupt"):
        decompress(4, claimed, bytes_max=32 * 1024 * 1024)
