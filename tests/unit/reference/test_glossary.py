"""`docs/reference/glossary.md` is the product's dictionary: its names are in the code, its Chinese words in the Chinese texts."""

import ast
import re
from collections import Counter, defaultdict
from functools import cache
from typing import Final, NamedTuple

import pytest
from citations import is_name
from reference_pages import ROOT, code, column, headings, hold_table, modules, read_table

from hub.cli import NOUNS
from hub.model.errors import CODES
from hub.model.names import Names

PAGE: Final = "glossary.md"
UNSAID: Final = "Words without a Chinese text yet"
NOT_USED: Final = "Words that are not used"
TWICE: Final = "Words that mean two things today"
SECOND: Final = "Other words with a second meaning"
OURS: Final = "Names that are the house's own today"
_CHINESE: Final = re.compile(r"[\u4e00-\u9fff]")
LEFT_OUT: Final = {
    ("HUB-STORE-002", "hub"),  # "program": it is one machine's
    ("HUB-DATASET-002", "hub"),  # "may not enter" says where
    ("HUB-LANE-009", "record"),  # "would be delivered twice" says what
    ("HUB-CONN-010", "record"),  # same
    ("HUB-LEDGER-001", "usage step"),  # in the word for the chain
    ("HUB-LEDGER-009", "usage"),  # in the word for its topic
    ("HUB-SCHEMA-002", "pass"),  # the verb
}
"""Words of an English title that its Chinese one does not have to repeat."""


class Term(NamedTuple):
    """One word of the glossary."""

    word: str
    chinese: str
    section: str
    places: str


@cache
def terms() -> tuple[Term, ...]:
    """Return every word of the glossary."""
    text = (ROOT / "docs/reference" / PAGE).read_text(encoding="utf-8")
    sections = [name for name in headings(text)[1:] if name not in {NOT_USED, TWICE, SECOND, OURS}]
    return tuple(Term(row[0], row[1], name, row[3]) for name in sections for row in read_table(PAGE, name).rows)


def pages(*names: str) -> str:
    """Return the text of pages, and of those of ``docs`` that are written by hand."""
    files = [*(ROOT / name for name in names), *sorted((ROOT / "docs").glob("*.md"))]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


@cache
def chinese_texts() -> str:
    """Return what the product says in Chinese: README, pages, titles of errors, the command line."""
    return "\n".join([pages("README.zh-CN.md"), *(text for module in modules() for text in module.strings if _CHINESE.search(text))])


@cache
def english_texts() -> str:
    """Return what the product says in English, and what its source says of itself."""
    return "\n".join([pages("README.md", "ARCHITECTURE.md"), *(text for module in modules() for text in module.strings)])


# Words and their code


def test_one_word_has_one_meaning_in_both_languages() -> None:
    """A word that stands twice would have two meanings, and two words with one Chinese word are one."""
    found = terms()
    assert len(found) > 80
    for place in (0, 1):
        assert [word for word, times in Counter(term[place] for term in found).items() if times > 1] == []


def test_every_noun_of_the_command_line_is_a_word() -> None:
    """What people type is what they look up; a command that is a verb is its own word."""
    words = {term.word for term in terms()}
    nouns = {noun.name for noun in NOUNS} - {"up", "down", "doctor", "db"}
    assert {"agreement", "ledger"} <= nouns
    assert {noun for noun in nouns if noun not in words and noun.removesuffix("s") not in words} == set()


@pytest.mark.parametrize("term", terms(), ids=lambda term: term.word)
def test_what_a_word_points_at_is_in_the_code(term: Term) -> None:
    """A reader goes from the word to the code; where the code was renamed, the glossary is too."""
    assert is_there(term.places), term.places


def is_there(place: str) -> bool:
    """Tell whether a module, a name in it, a file or a topic exists."""
    found = re.fullmatch(r"(topic )?`([^`]+)`", place)
    if found is None:
        return False
    if found[1]:
        return found[2] in {Names(scope="330100").plan, Names(scope="330100").usage}
    if "/" in found[2]:
        return (ROOT / found[2]).exists()
    return is_name(found[2])


@pytest.mark.parametrize("place", ["`hub.model.usage.Nothing`", "`hub.nowhere`", "`hub/nowhere.py`", "topic `hub.other`", "somewhere", ""])
def test_what_is_not_in_the_code_is_found(place: str) -> None:
    """The positive control."""
    assert not is_there(place)


# Chinese


def test_chinese_words_are_those_of_the_chinese_texts() -> None:
    """A word that is in no text yet stands apart, and leaves that table once a text uses it."""
    said = chinese_texts()
    wrong = [(term.word, term.chinese) for term in terms() if (term.chinese in said) == (term.section == UNSAID)]
    assert wrong == []


def missing_in(english: str, chinese: str) -> set[str]:
    """Return the words of a title whose Chinese word its translation lacks; of words inside each other the longest counts."""
    left, found = english, set()
    for term in sorted(terms(), key=lambda term: -len(term.word)):
        pattern = re.compile(rf"(?<![\w.]){re.escape(term.word)}s?(?![\w]|\.\w)")
        if pattern.search(left):
            left = pattern.sub(" ", left)
            if term.chinese not in chinese:
                found.add(term.word)
    return found


def test_titles_of_errors_say_the_same_word_in_both_languages() -> None:
    """One who reads Chinese finds in the manual what the message told him."""
    missing = {(name, word) for name, entry in CODES.items() for word in missing_in(entry.en, entry.zh)}
    assert missing == LEFT_OUT


def test_a_title_with_another_word_is_found() -> None:
    """The positive control: `subject` and `topic` once had one word."""
    assert missing_in("subject belongs to no dataset", "该主题不属于任何数据集") == {"subject"}
    assert missing_in("topic does not exist", "话题不存在") == {"topic"}


# Words that are not used


def _said(word: str, texts: str) -> bool:
    if _CHINESE.search(word):
        return word in texts.replace("不是匿名化", "")
    return re.search(rf"\b{word}s?\b", texts, re.IGNORECASE) is not None


def test_words_that_are_not_used_are_in_no_text() -> None:
    """A second word for one thing makes people ask what the difference is."""
    texts = {"Chinese": chinese_texts(), "English": english_texts()}
    rows = read_table(PAGE, NOT_USED).rows
    assert len(rows) > 5
    assert [row[0] for row in rows if _said(row[0], texts[row[2]])] == []
    assert _said("需求部门", texts["Chinese"]), "the control: these texts are read"
    assert _said("quarantine", texts["English"]), "the control: these texts are read"


# Names of the code as they are today


def _classes() -> dict[str, list[str]]:
    found = defaultdict(list)
    for module in modules():
        for node in module.nodes:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(module.name)
    return found


@pytest.mark.golden
def test_names_of_classes_with_two_meanings_are_all_told() -> None:
    """The list may only become shorter; a new one is a choice that somebody made and sees here."""
    twice = {name: modules for name, modules in _classes().items() if len(modules) > 1}
    hold_table(PAGE, TWICE, ((code(name), " ".join(map(code, twice[name]))) for name in sorted(twice)))


def test_names_of_the_house_are_in_the_code() -> None:
    """What was renamed leaves the list."""
    places = [*column(PAGE, OURS), *column(PAGE, SECOND, 2)]
    assert len(places) > 10
    assert [place for place in places if not is_there(code(place))] == []
