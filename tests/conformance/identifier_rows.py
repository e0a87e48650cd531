"""Rows of pseudonyms, of the record's key and of tombstones."""

import base64
import hashlib
import hmac
import struct
from collections.abc import Iterator
from typing import Any

from row_words import ID, NAME, NAMES, NAN, NULL, PEOPLE, PERSON, TAGS, TEXTS, UUID, encode, grant, when

# pseudonyms.json: identifier kind × null × where it stands. The key that the table is made under, and the form that
# docs/reference/shapes.md "Pseudonyms" tells.

MASTER_KEY = bytes(range(32))
SEPARATION = ("cityhub/pseudonym/v1", "330100", "parking-office", "enforcement")


def pseudonym(kind: str, normal: str) -> str:
    """Return base32 of the first 16 bytes of HMAC-SHA-256 of a normal form, under HKDF-SHA-256 of the master key of epoch 1."""
    info = b"".join(struct.pack(">H", len(part)) + part for part in (text.encode() for text in (*SEPARATION, kind, "1")))
    extracted = hmac.new(bytes(32), MASTER_KEY, hashlib.sha256).digest()
    key = hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()
    return base64.b32encode(hmac.new(key, normal.encode(), hashlib.sha256).digest()[:16]).decode().lower().rstrip("=")


# Kind, text, and the normal form by hand.
IDENTIFIED = [
    ("resident-id", "11010519491231002X", "11010519491231002X"),
    ("resident-id", " 110105 19491231-002x", "11010519491231002X"),
    ("resident-id", "110105491231002", "11010519491231002X"),
    ("resident-id", "１１０１０５１９４９１２３１００２Ｘ", "11010519491231002X"),
    ("phone", "13800138000", "13800138000"),
    ("phone", "+86 138-0013-8000", "13800138000"),
    ("phone", "(0571) 8788-1234", "057187881234"),
    ("phone", "138.0013.8000", "13800138000"),
    ("phone", "0571.87881234", "057187881234"),
    # what stands before a mobile number and is no part of it
    ("phone", "8613800138000", "13800138000"),
    ("phone", "013800138000", "13800138000"),
    ("phone", "086 13800138000", "13800138000"),
    ("phone", "86134567", "86134567"),
    ("plate", "浙A12345", "浙A12345"),
    ("plate", "浙a·123 45", "浙A12345"),
    ("credit-code", "91350100m000100y43", "91350100M000100Y43"),
    ("name", "王 小 明 ", "王小明"),
    ("name", "阿卜杜拉•买买提", "阿卜杜拉·买买提"),
    ("name", "王\t小明\r\n", "王小明"),
    ("case-number", "  a b-c ", "a b-c"),
    ("case-number", "a-1\n", "a-1"),
    ("case-number", "\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"),
    # where the blocks of SHA-256 end: 55 bytes are the last that fit into one with their padding, 512 characters the most
    *(("case-number", "a" * length, "a" * length) for length in (1, 54, 55, 56, 63, 64, 65, 119, 120, 512)),
    ("case-number", "路" * 512, "路" * 512),
    ("case-number", "😀" * 512, "😀" * 512),
]
UNIDENTIFIED = [
    ("resident-id", "bad"),
    ("resident-id", "110105194912310021"),
    ("resident-id", ""),
    ("phone", "1380013800O"),
    # through a spreadsheet, which took the column for numbers
    *(("phone", f"13800138000{tail}") for tail in (".0", ".", ".00", ".000", ".5")),
    ("phone", "57187881234.0"),
    ("phone", "8613800138000.0"),
    ("phone", "1.3800138E10"),
    ("resident-id", "110105491231002.0"),
    ("resident-id", "1.1010549123100E+14"),
    ("credit-code", "91350100M000100Y43.0"),
    ("plate", "浙A12345.0"),
    ("plate", "12345.0"),
    ("plate", "1.2345E8"),
    # what begins like a mobile number and is longer or shorter
    *(
        ("phone", text)
        for text in ("138001380001", "1380013800", "86138001380001", "861380013800", "86138001380", "01380013800", "+861380013800")
    ),
    # control characters, and marks that no eye sees
    *(
        (kind, text)
        for kind in ("case-number", "name")
        for text in ("\0\0\0\0\x07\x16ab", "a\x1fb", "a\x7f", "a\x85b", "\ufeffa", "a\u200bb", "\u202ea")
    ),
    ("case-number", "a\tb"),
    ("plate", "浙ABCDEF"),
    ("credit-code", "91350100M000100Y44"),
    ("name", " \u3000 "),
    ("case-number", ""),
    ("case-number", "a" * 513),
    # a character that Unicode gave a normal form after version 14
    ("case-number", "a\u0897"),
]


def pseudonym_rows() -> Iterator[dict[str, Any]]:
    """Yield each identifier required, and nullable in either order; null stays null. Then where identifiers stand."""
    for identifier, text, normal in IDENTIFIED:
        given, want = [grant("pseudonym", identifier=identifier)], pseudonym(identifier, normal)
        yield {"type": "string", "source": encode("string", text), "grants": given, "delivered": encode("string", want)}
        for union in (["null", "string"], ["string", "null"]):
            yield {"type": union, "source": encode(union, text), "grants": given, "delivered": encode(union, want)}
            yield {"type": union, "source": encode(union, NULL), "grants": given, "delivered": encode(union, NULL)}
    for identifier, text in UNIDENTIFIED:
        for kind in ("string", ["null", "string"]):
            given = [grant("pseudonym", identifier=identifier)]
            yield {"type": kind, "source": encode(kind, text), "grants": given, "quarantined": "identifier_invalid"}
    plate, ming = pseudonym("plate", "浙A12345"), pseudonym("name", "王小明")
    uuid = pseudonym("case-number", ID)
    names, several = [grant("pseudonym", "f[]", identifier="name")], [{"name": f"王{n}", "age": n} for n in range(40)]
    placed: list[tuple[Any, Any, list[dict[str, Any]], Any, Any]] = [
        (UUID, ID, [grant("pseudonym", identifier="case-number")], "string", uuid),
        (["null", UUID], ID, [grant("pseudonym", identifier="case-number")], ["null", "string"], uuid),
        (["string"], "王小明", [grant("pseudonym", identifier="name")], "string", ming),
        (TEXTS, ["王小明", None, "王 小明"], names, TEXTS, [ming, None, ming]),
        (TEXTS, [], names, TEXTS, []),
        (TAGS, {"浙A12345": "浙A-12345"}, [grant("pseudonym", "f{}", identifier="plate")], TAGS, {"浙A12345": plate}),
        (PERSON, {"name": "王小明", "age": 5}, [grant("pseudonym", "f.name", identifier="name")], NAME, {"name": ming}),
        (["null", PERSON], NULL, [grant("pseudonym", "f.name", identifier="name")], ["null", NAME], NULL),
        (
            PEOPLE,
            several,
            [grant("pseudonym", "f[].name", identifier="name")],
            NAMES,
            [{"name": pseudonym("name", one["name"])} for one in several],
        ),
    ]
    for kind, value, given, out, want in placed:
        yield {"type": kind, "source": encode(kind, value), "grants": given, "delivered": encode(out, want)}
    about = "one element that is no identifier sets the record aside"
    yield {"type": TEXTS, "source": encode(TEXTS, ["王", ""]), "grants": names, "quarantined": "identifier_invalid", "about": about}
    source = encode("string", "浙A12345") * 2
    fields = [{"name": "f", "type": "string", "identifier": "plate"}, {"name": "g", "type": "string"}]
    for given, want, about in (
        ([grant("pseudonym")], plate, "the kind that the schema declares"),
        ([grant("pseudonym", identifier="name")], pseudonym("name", "浙A12345"), "the agreement's kind overrules the schema's"),
    ):
        yield {"fields": fields, "source": source, "grants": given, "delivered": encode("string", want), "about": about}
    given = [grant("pseudonym"), grant("pseudonym", "g", identifier="case-number")]
    want = encode("string", plate) + encode("string", pseudonym("case-number", "浙A12345"))
    yield {"fields": fields, "source": source, "grants": given, "delivered": want, "about": "one text under two kinds: two pseudonyms"}


# keys.json: what becomes of the record's key, and of a tombstone.

PLATE = "浙A12345".encode()
PLATE_PSEUDONYM = pseudonym("plate", "浙A12345").encode()
# The agreement's word, the dataset's identifier kind, the key, and the key that the consumer gets, or a code.
KEYS: list[tuple[str, str | None, bytes | None, bytes | str | None]] = [
    ("drop", None, PLATE, None),
    ("drop", "plate", PLATE, None),
    ("drop", "plate", None, None),
    ("drop", "plate", b"\xff", None),
    ("keep", "plate", PLATE, PLATE),
    ("keep", "plate", " 浙a·12345".encode(), " 浙a·12345".encode()),
    ("keep", "plate", b"no plate", b"no plate"),
    ("keep", "plate", b"", b""),
    ("keep", "plate", None, None),
    ("keep", "plate", b"\xff", "value_invalid"),
    # Avro's frame before the text: UTF-8 by chance
    ("keep", "case-number", b"\0\0\0\0\x07\x16a-1", "value_invalid"),
    ("keep", "case-number", b"a-1\x7f", "value_invalid"),
    ("keep", "case-number", "a-1\x85".encode(), "value_invalid"),
    ("keep", "case-number", b"\ta-1\r\n", b"\ta-1\r\n"),
    ("pseudonym", "case-number", b"\0\0\0\0\x07\x16a-1", "value_invalid"),
    ("pseudonym", "case-number", b"\ta-1\r\n", pseudonym("case-number", "a-1").encode()),
    ("pseudonym", "case-number", b"a\t1", "identifier_invalid"),
    ("pseudonym", "plate", PLATE, PLATE_PSEUDONYM),
    ("pseudonym", "plate", " 浙a·12345".encode(), PLATE_PSEUDONYM),
    ("pseudonym", "name", PLATE, pseudonym("name", "浙A12345").encode()),
    ("pseudonym", "plate", None, None),
    ("pseudonym", "plate", b"no plate", "identifier_invalid"),
    ("pseudonym", "plate", b"", "identifier_invalid"),
    ("pseudonym", "plate", b"\xff", "value_invalid"),
]


def key_rows() -> Iterator[dict[str, Any]]:
    """Yield each key on a record and on a tombstone, which is delivered where its key is granted and there is no rule."""
    kept, always, never = [grant()], when("isNull", False), when("isNull", True)
    for word, identifier, key, want in KEYS:
        declared = {} if identifier is None else {"key_identifier": identifier}
        common = {"type": "int", "grants": kept, "key_rule": word, **declared, **({} if key is None else {"key": key.hex()})}
        code = {"quarantined": want} if isinstance(want, str) else {}
        found = {} if not isinstance(want, bytes) else {"delivered_key": want.hex()}
        yield common | {"source": "02"} | (code or {"delivered": "02", **found})
        shown = word != "drop" and key is not None
        yield common | {"source": None} | ((code or {"delivered": None, **found}) if shown else {"suppressed": True})
        yield common | {"source": None, "rows": always, "suppressed": True}
        yield common | {"source": "02", "rows": always} | (code or {"delivered": "02", **found})
        yield common | {"source": "02", "rows": never, "filtered": True}
    common = {"key_rule": "pseudonym", "key_identifier": "plate", "key": PLATE.hex()}
    text, joined = encode("string", "浙A·12345"), PLATE_PSEUDONYM.decode()
    yield {
        "type": "string",
        "source": text,
        "grants": [grant("pseudonym", identifier="plate")],
        "delivered": encode("string", joined),
        "delivered_key": PLATE_PSEUDONYM.hex(),
        "about": "one identifier in the key and in a field is one pseudonym",
    } | common
    for key, code in ((b"\xff", "value_invalid"), (b"no plate", "identifier_invalid"), (PLATE, "transform_failed")):
        bad = {"type": "double", "source": encode("double", NAN), "grants": [grant("bucket", width=1)], "quarantined": code}
        yield bad | common | {"key": key.hex(), "about": "the key is looked at before the fields"}
    unread = {"type": "int", "source": "", "grants": kept, "quarantined": "truncated"}
    yield unread | common | {"key": "ff", "about": "and after the record has been read"}
    for word, declared in (("keep", {}), ("pseudonym", {}), ("hash", {}), ("hash", {"key_identifier": "plate"})):
        yield {"type": "int", "grants": kept, "key_rule": word, **declared, "refused": "key"}
