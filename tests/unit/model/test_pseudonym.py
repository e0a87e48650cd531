"""Pseudonyms are a contract with every consumer that joins on them: the vectors never change."""

import base64
import hashlib
import hmac
import json
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.model.pseudonym import _UNSETTLED, PSEUDONYM_CHARACTERS, InvalidIdentifier, check_value, derive_key, normal_form, pseudonym

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[2] / "golden" / "pseudonyms.json").read_text(encoding="utf-8"))
MASTER = bytes.fromhex(GOLDEN["master_key"])
KINDS = ("resident-id", "phone", "plate", "credit-code", "name", "aircraft-registration")


def expected(normal: str, *, scope: str, consumer: str, purpose: str, kind: str, epoch: int) -> str:
    """Reckon a pseudonym with the standard library alone: RFC 5869, RFC 2104, RFC 4648."""
    parts = ("cityhub/pseudonym/v1", scope, consumer, purpose, kind, str(epoch))
    info = b"".join(len(part.encode()).to_bytes(2, "big") + part.encode() for part in parts)
    extracted = hmac.new(bytes(32), MASTER, hashlib.sha256).digest()
    key = hmac.new(extracted, info + bytes((1,)), hashlib.sha256).digest()
    digest = hmac.new(key, normal.encode(), hashlib.sha256).digest()
    return base64.b32encode(digest[:16]).decode().lower().rstrip("=")


def golden_key(kind: str) -> bytes:
    """Return the key of the golden file's consumer and purpose."""
    return derive_key(
        MASTER,
        scope=GOLDEN["scope"],
        consumer=GOLDEN["consumer"],
        purpose=GOLDEN["purpose"],
        kind=kind,
        epoch=GOLDEN["key_epoch"],
    )


@pytest.mark.parametrize("vector", GOLDEN["vectors"], ids=lambda vector: f"{vector['kind']}: {vector['case']}")
def test_a_text_has_the_normal_form_and_pseudonym_of_its_vector(vector: dict[str, str]) -> None:
    """Another implementation, native or foreign, must give the same."""
    normal = normal_form(vector["kind"], vector["text"])

    assert normal == vector["normal"]
    assert pseudonym(golden_key(vector["kind"]), normal) == vector["pseudonym"]


@pytest.mark.parametrize("vector", GOLDEN["vectors"], ids=lambda vector: f"{vector['kind']}: {vector['case']}")
def test_the_vectors_agree_with_the_standard_library(vector: dict[str, str]) -> None:
    """The file is no copy of what the hub computed."""
    made = expected(
        vector["normal"],
        scope=GOLDEN["scope"],
        consumer=GOLDEN["consumer"],
        purpose=GOLDEN["purpose"],
        kind=vector["kind"],
        epoch=GOLDEN["key_epoch"],
    )

    assert made == vector["pseudonym"]
    assert len(made) == PSEUDONYM_CHARACTERS


@pytest.mark.parametrize(
    "case", GOLDEN["separation"], ids=lambda case: f"{case['scope']} {case['consumer']} {case['purpose']} {case['kind']}"
)
def test_scope_consumer_purpose_kind_and_epoch_each_make_another_pseudonym(case: dict[str, Any]) -> None:
    """Law 7: nobody can join two consumers' records, nor one consumer's records of two purposes."""
    axes = {name: case[name] for name in ("scope", "consumer", "purpose", "kind", "epoch")}

    made = pseudonym(derive_key(MASTER, **axes), case["normal"])

    assert made == case["pseudonym"] == expected(case["normal"], **axes)
    assert made not in {vector["pseudonym"] for vector in GOLDEN["vectors"]}


@pytest.mark.parametrize("vector", GOLDEN["invalid"], ids=lambda vector: f"{vector['kind']}: {vector['case']}")
def test_what_is_no_valid_form_has_no_pseudonym(vector: dict[str, str]) -> None:
    """It is quarantined; the refusal names the kind and never the value."""
    with pytest.raises(InvalidIdentifier) as refused:
        normal_form(vector["kind"], vector["text"])

    assert str(refused.value) == f"not a valid form of `{vector['kind']}`"


def test_length_prefixes_keep_neighbouring_parts_apart() -> None:
    """Without them two consumers could share a key."""
    one = derive_key(MASTER, scope="330100", consumer="ab", purpose="c", kind="plate", epoch=1)
    other = derive_key(MASTER, scope="330100", consumer="a", purpose="bc", kind="plate", epoch=1)

    assert one != other


def test_the_check_value_is_that_of_its_vector() -> None:
    """Workers of one hub compare it before they take a lane."""
    assert check_value(MASTER) == GOLDEN["check_value"]
    assert check_value(MASTER) == hmac.new(MASTER, b"cityhub/key-check/v1", hashlib.sha256).hexdigest()


@settings(deadline=None)
@given(kind=st.sampled_from(KINDS), text=st.text(max_size=600))
def test_any_text_has_a_normal_form_that_is_its_own_or_is_refused_without_showing_it(kind: str, text: str) -> None:
    """A normal form is a fixed point, so data may be normalised at its source."""
    try:
        normal = normal_form(kind, text)
    except InvalidIdentifier as refusal:
        said = str(refusal)
    else:
        said = f"not a valid form of `{kind}`"
        assert normal_form(kind, normal) == normal
    assert said == f"not a valid form of `{kind}`"


@settings(deadline=None)
@given(digest_key=st.binary(min_size=32, max_size=32), text=st.text(min_size=1, max_size=40))
def test_our_base32_is_the_standard_librarys(digest_key: bytes, text: str) -> None:
    """Ours is faster; RFC 4648 is the rule."""
    digest = hmac.new(digest_key, text.encode(), hashlib.sha256).digest()

    assert pseudonym(digest_key, text) == base64.b32encode(digest[:16]).decode().lower().rstrip("=")


def test_no_version_of_unicode_changes_a_normal_form() -> None:
    """What NFKC and trimming make of every character but the unsettled ones, summed up: the same on every Python.

    Where it differs, this Python's Unicode has given characters a normalisation that others leave as they are: they belong in
    the list. ``native/src/values/unicode.rs`` has the list and the sum as well, over the Unicode of its own.
    """
    known = hashlib.sha256()
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        if 0xD800 <= code <= 0xDFFF or _UNSETTLED.match(char):
            continue
        made = (unicodedata.normalize("NFKC", char), unicodedata.normalize("NFKD", char), unicodedata.combining(char), int(char.isspace()))
        if made != (char, char, 0, 0):
            known.update(f"{char} {made[0]} {made[1]} {made[2]} {made[3]}\n".encode())

    assert known.hexdigest() == "973a6e70d69aca9473f0fd2eff0c790de392416762ab5cb90f2d5e1745ada30d"


@pytest.mark.parametrize("text", ["\U0001ccf1\U0001ccf2", "张\u0897三", "\U000105d2\u0307", "\U00016d67\U00016d67"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_text_whose_form_would_depend_on_the_version_of_unicode_is_no_identifier(kind: str, text: str) -> None:
    """Two workers of different Pythons must not give two pseudonyms; new Chinese characters have no normalisation and are at home."""
    with pytest.raises(InvalidIdentifier):
        normal_form(kind, text)
    assert normal_form("name", "\U00031350\U0002ebf0") == "\U00031350\U0002ebf0"
