"""Single values in Rust and in Python: the same answer of every test, the same bytes of every transform, the same identifiers."""

import json
import random
import sys
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from value_cases import KINDS, conditions, grants, schema_of_value, values_of

from hub.exchange.reference.authorise import compile_rule
from hub.exchange.reference.decode import Rejected, compile_reader
from hub.exchange.reference.forms import compile_leaf
from hub.model.agreement import Bucket, Condition, Grant, Truncate
from hub.model.field_types import FieldType
from hub.model.granted import Leaf
from hub.model.pseudonym import InvalidIdentifier, derive_key, normal_form, pseudonym

native = pytest.importorskip("hub.exchange._native", reason="the native kernel is not built").values
specs = pytest.importorskip("hub.exchange.native.values", reason="the native kernel is not built")

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "pseudonyms.json").read_text(encoding="utf-8"))
IDENTIFIERS = ("resident-id", "phone", "plate", "credit-code", "name", "other")
VALUES = 200
SETTINGS = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


def decoded(kind: FieldType, values: Sequence[bytes]) -> list[Any]:
    """Return what the reference reads."""
    read = compile_reader(kind)
    found: list[Any] = []
    for value in values:
        assert read(value, 0, found.append) == len(value)
    return found


def told(condition: Condition, kind: FieldType, values: Sequence[bytes]) -> list[bool]:
    """Return what the reference answers."""
    predicate = compile_rule(condition, schema_of_value(kind))
    return [predicate([value]) is True for value in decoded(kind, values)]


def made(grant: Grant, kind: FieldType, values: Sequence[bytes]) -> list[bytes | None]:
    """Return what the reference makes of each value; None where it refuses."""
    encode = compile_leaf(Leaf(grant, None), kind, lambda _identifier: str)
    return [_or_none(encode, value) for value in decoded(kind, values)]


def _or_none(encode: Callable[[Any], bytes], value: Any) -> bytes | None:
    try:
        return encode(value)
    except Rejected:
        return None


@SETTINGS
@given(data=st.data(), kind=KINDS, seed=st.integers(0, 2**32))
def test_every_test_gives_the_answer_of_the_reference(data: st.DataObject, kind: FieldType, seed: int) -> None:
    """Law 2: rows are what was agreed, whichever kernel runs."""
    condition = data.draw(conditions(kind))
    assume(condition is not None)
    around = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    values = values_of(kind, seed, around=around, count=VALUES)

    answers = native.holds(json.dumps(specs.test_spec(condition, kind)), values)

    assert answers == told(condition, kind, values)


@SETTINGS
@given(data=st.data(), kind=KINDS, seed=st.integers(0, 2**32))
def test_a_column_answers_all_its_tests_at_once(data: st.DataObject, kind: FieldType, seed: int) -> None:
    """The dictionary of texts and the tables are the tests themselves, put together."""
    found = [condition for condition in data.draw(st.lists(conditions(kind), min_size=1, max_size=9)) if condition is not None]
    assume(found)
    around = tuple(value for rule in found for value in (rule.value if isinstance(rule.value, tuple) else (rule.value,)))
    values = values_of(kind, seed, around=around, count=VALUES)

    words = native.truths([json.dumps(specs.test_spec(condition, kind)) for condition in found], values)

    for place, condition in enumerate(found):
        assert [bool(word >> place & 1) for word in words] == told(condition, kind, values)
    assert not any(word >> len(found) for word in words)


@SETTINGS
@given(data=st.data(), kind=KINDS.filter(lambda kind: kind.base != "boolean"), seed=st.integers(0, 2**32))
def test_every_change_has_the_bytes_of_the_reference(data: st.DataObject, kind: FieldType, seed: int) -> None:
    """Law 2: values cross in the form that was agreed, whichever kernel runs."""
    grant = data.draw(grants(kind))
    assume(grant is not None)
    found = grant.parameters
    around: tuple[Any, ...] = ()
    if isinstance(found, Bucket):
        around = (*found.edges, found.width)
    elif isinstance(found, Truncate):
        around = (found.step,)
    values = values_of(kind, seed, around=tuple(value for value in around if value is not None), count=VALUES)

    written = native.changed(json.dumps(specs.change_spec(Leaf(grant, None), kind)), values)

    assert written == made(grant, kind, values)


def forms(kind: str, texts: Sequence[str]) -> list[str | None]:
    """Return the normal forms of the reference."""
    found: list[str | None] = []
    for text in texts:
        try:
            found.append(normal_form(kind, text))
        except InvalidIdentifier:
            found.append(None)
    return found


def test_a_kernel_that_is_wrong_would_be_seen() -> None:
    """The comparison can fail: each of these specs says another thing than its condition or grant."""
    kind = FieldType(base="long")
    condition, grant = Condition("value", "gteq", 10), Grant("value", "bucket", parameters=Bucket(width=10))
    values = values_of(kind, 1, around=(10,), count=VALUES)
    wrong_test = specs.test_spec(Condition("value", "gt", 10), kind)
    wrong_change = specs.change_spec(Leaf(Grant("value", "bucket", parameters=Bucket(width=11)), None), kind)

    assert native.holds(json.dumps(wrong_test), values) != told(condition, kind, values)
    assert native.changed(json.dumps(wrong_change), values) != made(grant, kind, values)


PARTS = (
    *"0123456789Xx+-()·.•‧ \t\n\r\x0b\x1c\x1f\x85\xa0\u2003\u3000\u2011\u2212\u30fb\uff0d０Ｘｘ＋（）",
    *(
        "86",
        "+86",
        "0086",
        "086",
        ".0",
        "E8",
        "e10",
        "\0",
        "\ufeff",
        "\u200b",
        "13800138000",
        "粤B",
        "浙A12345",
        "張",
        "张三",
        "ß",
        "ı",
        "ſ",
        "ﬁ",
        "O\xa8",
    ),
    *("Å", "e\u0301", "\u0301", "가", "\u1100\u1161"),
    *("110105", "19491231", "1949", "002X", "110105491231002", "91330106MA2CFX3H0", "MA27XXXX", "\u0897", "\U0001ccf0", "\U00031350"),
)
TEXTS = st.one_of(st.lists(st.sampled_from(PARTS), max_size=14).map("".join), st.text(max_size=20), st.text("0123456789Xx -", max_size=22))


@settings(SETTINGS, max_examples=600)
@given(texts=st.lists(TEXTS, min_size=1, max_size=60), kind=st.sampled_from(IDENTIFIERS))
def test_every_text_has_the_normal_form_of_the_reference(texts: list[str], kind: str) -> None:
    """Law 7: a pseudonym is the same on every worker."""
    assert native.normal_forms(kind, texts) == forms(kind, texts)


@pytest.mark.parametrize("kind", IDENTIFIERS)
def test_valid_identifiers_with_one_character_changed_have_the_normal_form_of_the_reference(kind: str) -> None:
    """Random text is hardly ever an identifier; one change away from one is where kernels could differ."""
    rng = random.Random(9)
    seeds = [vector["text"] for vector in GOLDEN["vectors"] if vector["kind"] == kind] or ["N12345", "É tude"]
    seeds += [_resident(rng) for _ in range(300)] + [_credit(rng) for _ in range(100)]
    texts = [_changed(rng.choice(seeds), rng) for _ in range(20_000)]

    found = native.normal_forms(kind, texts)

    assert found == forms(kind, texts)
    assert sum(form is not None for form in found) > 100


def _resident(rng: random.Random) -> str:
    body = f"{rng.randint(110000, 659999)}{rng.choice((0, 1, 99, 1899, 1900, 1949, 2000, 2023, 2024)):04}"
    body += f"{rng.randint(0, 13):02}{rng.choice((0, 1, 28, 29, 30, 31, 32)):02}{rng.randint(0, 999):03}"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return body + "10X98765432"[sum(int(digit) * weight for digit, weight in zip(body, weights, strict=True)) % 11]


def _credit(rng: random.Random) -> str:
    letters = "0123456789ABCDEFGHJKLMNPQRTUWXY"
    body = "".join(rng.choices(letters, k=17))
    return body + letters[-sum(letters.index(letter) * pow(3, place, 31) for place, letter in enumerate(body)) % 31]


def _changed(text: str, rng: random.Random) -> str:
    place = rng.randrange(len(text) + 1)
    part = rng.choice((*PARTS, "", "", ""))
    found = text[:place] + part + text[place + rng.randrange(2) :]
    return rng.choice((found, found, found.lower(), found.translate(_WIDE), text))


_WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}


def characters() -> list[str]:
    """Return every character but surrogates, which no text in UTF-8 holds."""
    return [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF]


def test_every_character_has_the_normal_form_of_the_reference() -> None:
    """The versions of Unicode behind the two differ; what they give a text must not."""
    texts = characters()

    assert native.normal_forms("other", texts) == forms("other", texts)


def test_every_pair_that_normalises_has_the_normal_form_of_the_reference() -> None:
    """Marks are ordered and composed across characters, so that characters alone are not enough."""
    every = characters()
    moving = [char for char in every if unicodedata.combining(char) or unicodedata.normalize("NFKD", char) != char]
    moving = [char for char in moving if not "\uac02" < char < "\ud7a0"]
    partners = "a\u0301\u0323\u0345\u3099\u1161\u11a8\uac00\u0338\u05b0\u0f71\U00011127\U000114b9\u4e00\u0928\U000105d2\U000113c9"
    for partner in partners:
        before, behind = [partner + char for char in moving], [char + partner for char in moving]
        assert native.normal_forms("other", before) == forms("other", before)
        assert native.normal_forms("other", behind) == forms("other", behind)
    rng = random.Random(7)
    runs = ["".join(rng.choices(moving, k=rng.randint(2, 9))) for _ in range(60_000)]
    assert native.normal_forms("other", runs) == forms("other", runs)


@pytest.mark.parametrize("length", [511, 512, 513, 1025])
@pytest.mark.parametrize("char", ["a", "é", "张", "\U00020000", "\u0301", "ﷺ"])
def test_the_bound_on_characters_is_the_reference_s(char: str, length: int) -> None:
    """Bytes are not characters."""
    for kind in ("name", "other"):
        assert native.normal_forms(kind, [char * length]) == forms(kind, [char * length])


@pytest.mark.parametrize("vector", GOLDEN["vectors"], ids=lambda vector: f"{vector['kind']}: {vector['case']}")
def test_the_golden_vectors_hold(vector: dict[str, str]) -> None:
    """Pseudonyms are a contract with every consumer that joins on them."""
    axes = {name: GOLDEN[name] for name in ("scope", "consumer", "purpose")}
    key = derive_key(bytes.fromhex(GOLDEN["master_key"]), **axes, kind=vector["kind"], epoch=GOLDEN["key_epoch"])

    assert native.normal_forms(vector["kind"], [vector["text"]]) == [vector["normal"]]
    assert native.pseudonyms([key], [(0, vector["normal"])]) == [vector["pseudonym"]]


@settings(SETTINGS, max_examples=200)
@given(
    keys=st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=5),
    texts=st.lists(st.text(max_size=30) | st.integers(50, 130).map(lambda length: "x" * length), max_size=70),
    seed=st.integers(0, 2**32),
)
def test_pseudonyms_of_mixed_keys_are_the_reference_s(keys: list[bytes], texts: list[str], seed: int) -> None:
    """Lanes with mixed keys, a tail of fewer, and among them texts that take more than one block."""
    jobs = _jobs(keys, texts, seed)

    assert native.pseudonyms(keys, jobs) == [pseudonym(keys[key], text) for key, text in jobs]


@settings(SETTINGS, max_examples=200)
@given(
    keys=st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=5),
    texts=st.lists(st.text(max_size=13), max_size=70),
    seed=st.integers(0, 2**32),
)
def test_pseudonyms_of_short_texts_are_the_reference_s(keys: list[bytes], texts: list[str], seed: int) -> None:
    """Every text takes one block, so that all lanes of a turn are full."""
    jobs = _jobs(keys, texts, seed)

    assert native.pseudonyms(keys, jobs) == [pseudonym(keys[key], text) for key, text in jobs]


def _jobs(keys: list[bytes], texts: list[str], seed: int) -> list[tuple[int, str]]:
    rng = random.Random(seed)
    return [(rng.randrange(len(keys)), text) for text in texts]
