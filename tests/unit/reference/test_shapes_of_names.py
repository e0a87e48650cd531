"""`docs/reference/shapes.md` on names, topics, headers and files: each table is held against the part of the code that decides it."""

import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from reference_pages import ROOT, code, column, hold_table, modules, read_table

from connectors.kit import records
from hub.agreements import file as agreement_file
from hub.broker import topics
from hub.broker.topics import TopicSpec, usage_partition
from hub.catalogue.entry_file import SCHEMA_PATH
from hub.ledger.chain import ChainId
from hub.ledger.periods import Period
from hub.ledger.tariffs import TariffBook, released_tariffs
from hub.model import framing, names, plan_proof
from hub.model.dataset import DEFAULT_PARTITIONS
from hub.model.entry import Kind, plan_key
from hub.model.errors import CODES, HubError
from hub.model.identifiers import is_identifier_kind
from hub.model.names import Names, TopicPartition, is_slug
from hub.model.paths import is_path
from hub.model.signing import key_id_of
from hub.store.acts import new_ulid

PAGE = "shapes.md"
TEXT = (ROOT / "docs/reference" / PAGE).read_text(encoding="utf-8")
NAMES = Names(scope="330100")
DAY_MS = 24 * 3600 * 1000
KEY_ID = "[0-9a-f]{16}"
ULID = "[0-9A-HJKMNP-TV-Z]{26}"


def _unwrapped(text: str) -> str:
    return text.replace("\n", " ")


def _pattern(compiled: re.Pattern[str]) -> str:
    return code(compiled.pattern.removesuffix(r"\Z"))


def _tariff(text: str) -> bool:
    """Two parts read a tariff's name: the agreement file its shape, the tariff book its version. They must not differ."""
    shape = agreement_file._TARIFF.match(text) is not None
    try:
        released_tariffs().check(text)
    except HubError:
        return False
    return shape


def _reads(read: Callable[[str], Any]) -> Callable[[str], bool]:
    def accepts(text: str) -> bool:
        try:
            read(text)
        except HubError:
            return False
        return True

    return accepts


FORMS: dict[str, tuple[str, Callable[[str], bool]]] = {
    "scope": (_pattern(names._SCOPE), _reads(lambda text: Names(scope=text))),
    "slug": (_pattern(names._SLUG), is_slug),
    "dataset": ("`<org>/<slug>`", _reads(NAMES.dept)),
    "partition": ("`<topic>-<number>`", _reads(TopicPartition.parse)),
    "schema file": ("`<owner>/<record>/v<n>.avsc`", lambda text: SCHEMA_PATH.match(text) is not None),
    "field path": ("names with `.` between, `[]` or `{}` behind", is_path),
    "identifier kind": ("one of a list, or `x-…`", is_identifier_kind),
    "tariff": ("`<slug>` or `<slug>@<n>`", _tariff),
    "period": ("`<year>-<month>`", _reads(Period.parse)),
    "chain": ("`<topic id>/<partition>`", _reads(ChainId.parse)),
    "key id": (code(KEY_ID), lambda text: re.fullmatch(KEY_ID, text) is not None),
    "act id": (code(ULID), lambda text: re.fullmatch(ULID, text) is not None),
}


@pytest.mark.golden
def test_every_form_of_a_name_has_its_row() -> None:
    """A reader finds what a name looks like before he invents one."""
    hold_table(PAGE, "Names and ids", ((name, form) for name, (form, _) in FORMS.items()))


@pytest.mark.parametrize("name", FORMS)
def test_examples_of_names_are_accepted_and_refused_by_the_code(name: str) -> None:
    """An example that the hub refuses would teach the wrong form."""
    (row,) = [row for row in read_table(PAGE, "Names and ids").rows if row[0] == name]
    accepts = FORMS[name][1]
    accepted, refused = (re.findall(r"`([^`]+)`", row[place]) for place in (2, 3))
    assert accepted
    assert refused
    assert [text for text in accepted if not accepts(text)] == []
    assert [text for text in refused if accepts(text)] == []


def test_forms_are_those_of_the_patterns_that_read_them() -> None:
    """The page shows two patterns; a name one character longer is refused."""
    assert is_slug("a" * 40)
    assert not is_slug("a" * 41)
    assert not is_slug("a\n")
    with pytest.raises(HubError):
        Names(scope="3" * 13)
    assert re.fullmatch(KEY_ID, key_id_of(Ed25519PrivateKey.generate().public_key()))
    assert re.fullmatch(ULID, new_ulid())


def test_versions_of_agreements_end_where_the_page_says() -> None:
    """The bound stands in the code under its name."""
    assert f"a whole number from 1 to {agreement_file.VERSION_MAX:,}" in TEXT


# Topics


def _specs() -> Iterator[TopicSpec]:
    many = {"partitions": DEFAULT_PARTITIONS, "replication": 3}
    yield topics.dept_topic(NAMES, "porg/pset", **many)
    yield topics.share_topic(NAMES, consumer="pconsumer", agreement="pagreement", **many)
    yield topics.quarantine_topic(NAMES, "porg/pset", **many)
    yield topics.plan_topic(NAMES, replication=3)
    yield topics.usage_topic(NAMES, replication=3)


_COMMON = {"max.message.bytes": "1048588", "min.insync.replicas": "2"}
_PLACES = {
    "330100": "<scope>",
    "porg": "<org>",
    "pset": "<dataset>",
    "pconsumer": "<consumer>",
    "pagreement": "<agreement>",
    "pconnector": "<connector>",
    "psource": "<source partition>",
    "ptopic-7": "<topic>-<partition>",
    "ppass": "<pass>",
}


def _placed(name: str) -> str:
    for part, shown in _PLACES.items():
        name = name.replace(part, shown)
    return code(name)


def _setting(key: str, value: str) -> str:
    days = int(value) // DAY_MS if key.endswith(".ms") and value.isdigit() else 0
    return f"{code(f'{key}={value}')}{f' ({days} days)' if days else ''}"


@pytest.mark.golden
def test_topics_have_the_settings_of_the_code() -> None:
    """Whoever makes topics by hand on a cluster of his own reads them here."""
    rows = []
    for spec in _specs():
        assert spec.config.items() >= _COMMON.items()
        settings = [_setting(key, value) for key, value in spec.config.items() if key not in _COMMON]
        as_source = spec.name.startswith(("share.", "quarantine."))
        rows.append((_placed(spec.name), "as its source" if as_source else str(spec.partitions), "<br>".join(settings)))
    hold_table(PAGE, "Topics", rows)
    assert f"takes batches of `max.message.bytes` {_COMMON['max.message.bytes']} and asks for `min.insync.replicas` 2" in _unwrapped(TEXT)
    assert topics.plan_topic(NAMES, replication=1).config["min.insync.replicas"] == "1"


def test_keys_of_control_topics_are_made_as_the_page_says() -> None:
    """Positive and exact: the keys of plan and usage are put together by the code that writes them."""
    keys = dict(zip(column(PAGE, "Topics"), column(PAGE, "Topics", 3), strict=True))
    assert plan_key(Kind.DATASET, "<object id>").decode() == keys["hub.plan"].replace("<kind>", "dataset")
    assert keys["hub.usage"] == "<source topic id>/<partition>"
    assert usage_partition(b"00000000-0000-0000-0000-000000000000/0") in range(topics.USAGE_PARTITIONS)


@pytest.mark.golden
def test_groups_and_transactional_ids_are_those_of_the_code() -> None:
    """An operator gives rights on exactly these; a name that is missing here is a right that is missing."""
    lane = TopicPartition("ptopic", 7)
    source = {"connector": "pconnector", "source_partition": "psource"}
    group, transaction, other = "consumer group", "transactional id", "ppass"
    rows = [
        (NAMES.exchange_group, group),
        (NAMES.standing_group, group),
        (NAMES.acts_group, group),
        (NAMES.connector_group(**source), group),
        (NAMES.transactional_id(lane), transaction),
        (NAMES.transactional_id(lane, pass_id=other), transaction),
        (NAMES.connector_transactional_id(**source), transaction),
        (NAMES.touching_id, transaction),
        (NAMES.plan_writer_id, transaction),
    ]
    hold_table(PAGE, "Groups and transactional ids", ((_placed(name), kind) for name, kind in rows))
    told = {"exchange_group", "standing_group", "acts_group", "connector_group", "transactional_id"}
    told |= {
        "connector_transactional_id",
        "touching_id",
        "plan_writer_id",
        "dept",
        "share",
        "quarantine",
        "plan",
        "usage",
        "dept_subject",
        "share_subject",
    }
    made = {name for name in vars(Names) if not name.startswith("_")} - {"scope", "prefix", "dataset_of_subject"}
    assert made == told, "a name that the hub uses is not on the page"


def test_subjects_are_those_of_the_code() -> None:
    """TopicNameStrategy, as clients of the registry expect."""
    assert _placed(NAMES.dept_subject("porg/pset")) in TEXT
    assert _placed(NAMES.share_subject(consumer="pconsumer", agreement="pagreement")) in TEXT


@pytest.mark.golden
def test_headers_of_records_are_all_on_the_page() -> None:
    """Also one that a later part adds: every text that begins like a header of ours is one of the table."""
    hold_table(PAGE, "Headers of records", ((code(name),) for name in sorted((plan_proof.HEADER, records.SOURCE_ID_HEADER))))
    found = {text for module in modules() for text in module.strings if re.match(r"ch-[a-z-]+\Z", text)}
    assert found == set(column(PAGE, "Headers of records"))
    assert f"at most {records.SOURCE_ID_BYTES_MAX} bytes" in TEXT
    proof = plan_proof.plan_proof(bytes(32), scope="330100", epoch=1, key=b"k", value=b"v")
    assert (proof[:4], len(proof)) == (b"\0\0\0\1", 4 + 32)


def test_framing_is_that_of_the_code() -> None:
    """Five bytes, and the border between the hub's own ids and the others."""
    assert framing.frame_header(258) == b"\0\0\0\1\2"
    assert f"Ids from {framing.HUB_SCHEMA_IDS_FROM:,} are the hub's own" in TEXT


# Files and errors


def test_every_path_of_the_state_folder_is_written_by_the_code() -> None:
    """A path that nobody writes sends whoever makes a backup astray."""
    texts = {text for module in modules() for text in module.strings}
    paths = column(PAGE, "State folder")
    assert len(paths) > 10
    for path in paths:
        for part in re.findall(r"[a-z0-9_.-]+", re.sub(r"<[a-z]+>", " ", path)):
            assert any(part in text for text in texts), (path, part)
    assert not any("cellar" in text for text in texts), "the control: this is a path of nobody"


@pytest.mark.golden
def test_every_family_of_codes_is_on_the_page() -> None:
    """A family is what a code is about: the first thing that an operator reads of it."""
    families = dict.fromkeys(name.rpartition("-")[0] for name in CODES)
    hold_table(PAGE, "Codes of errors", ((code(family),) for family in families))
    assert all(re.fullmatch(r"HUB-[A-Z]+-\d{3}", name) for name in CODES)


def test_a_topic_id_is_a_uuid_and_a_chain_is_known_by_it() -> None:
    """Names and offsets are used again, ids are not."""
    topic_id = uuid.uuid4()
    assert str(ChainId(str(topic_id), 3)) == f"{topic_id}/3"


def test_the_tariff_book_of_the_examples_is_the_released_one() -> None:
    """The control of the row `tariff`: without the release its examples would be refused."""
    assert isinstance(released_tariffs(), TariffBook)
    assert "per-record@1" in released_tariffs().ids
