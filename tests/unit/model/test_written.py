"""What is written down of what somebody typed."""

import pytest

from hub.model.errors import HubError, Problem
from hub.model.names import TopicPartition, dataset_parts
from hub.model.written import identifier, is_identifier, masked

PERSONAL = ("330106199001011258", "王小明", "13800001258", "a330106199001011258", "wang xiao ming", "330106 19900101 1258", "")


@pytest.mark.parametrize(
    "text",
    [
        *("parking-7", "transport/flights", "dept.transport.flights-value", "dept.a.b-20261201-2", "_x", "a" * 160, ".cityhub/keys"),
        *(
            "per-record@12",
            "a-20261201",
            "dept.a.b-2026-12-01-3",
            "share.a.b-3",
            "http://192.168.100.200:8080/readyz",
            "c/12345678-1234-4123-8123-123456789012/0",
        ),
        *("237b0c3a7cff2ec0", "0123456a7890abcd", "abcdef0123a56789"),
    ],
)
def test_identifiers_are_said(text: str) -> None:
    """Whoever mends something must find it."""
    assert identifier(text) == text


GROUPED = (
    *("id.110101-19900307-7715", "tel:138-0013-8000", "a138.0013.8000", "a_138_0013_8000", "a-110101-19900307-771"),
    *("E12345678", "e12345678", "EA1234567", "passport/E12345678", "zhangsan@example.com", "zhang@163.com"),
)


NO_KEYS = (
    *("13800001258abcde", "6222021234567abc", "dept/13800001258abcde"),
    "1101011990030777",
    "110101900307771a",
    "a110101900307771",
    "110101900307771AB",
    "237b0c3a7cff2ec0-1",
)


@pytest.mark.parametrize("text", [*PERSONAL, *GROUPED, "a" * 161, "a`b", "a\nb", "x123456789", *NO_KEYS])
def test_anything_else_is_said_by_its_length(text: str) -> None:
    """A slip of the clipboard is not kept."""
    assert not is_identifier(text)
    assert identifier(text) == f"({len(text)} characters, no identifier)"


def test_an_errors_text_is_masked_where_it_quotes_what_is_no_identifier() -> None:
    """Commands and ids stay, so that a log still says what to do."""
    said = masked("agreement `parking-7`, subject `王小明`, number `330106199001011258`: `cityhub exchange adopt dept.a.b-2 --at 12`")
    assert said == "agreement `parking-7`, subject `(3 characters)`, number `(18 characters)`: `cityhub exchange adopt dept.a.b-2 --at 12`"
    assert masked("signed with `237b0c3a7cff2ec0` and `0123456a7890abcd`") == "signed with `237b0c3a7cff2ec0` and `0123456a7890abcd`"
    assert masked("`/tmp/x y/.cityhub/keys` and `chmod 700 /tmp/x`") == "`/tmp/x y/.cityhub/keys` and `chmod 700 /tmp/x`"


@pytest.mark.parametrize(
    "typed",
    [
        *("138 0013 8000", "110101 19900307 7715", "tel:138-0013-8000", "id.110101-19900307-7715", "E12345678", "E 12345678"),
        *(
            "zhangsan@example.com",
            "add zhangsan@example.com now",
            "１３８",
            "a`138 0013 8000",
            "a`138`b",
            "`",
            "``x",
            "a`b`138 0013 8000`c",
        ),
    ],
)
def test_numbers_in_groups_addresses_and_back_ticks_are_masked(typed: str) -> None:
    """However somebody wrote it: nothing of it is left, also not outside of the quotation that it ended early."""
    said = masked(f"agreement `{typed}` is not known")
    assert said.startswith("agreement `(")
    assert said.endswith("characters)` is not known")


def test_a_message_that_was_cut_within_a_quotation_shows_nothing_of_it() -> None:
    """One back-tick alone."""
    assert masked("agreement `138 0013") == "agreement `(8 characters)`"


def test_what_is_kept_of_a_refusal_is_its_code_and_title() -> None:
    """An act stands for ever: no word of the caller's is in it."""
    faults = tuple(Problem("王小明.yaml:1", "rows", "13800001258", "fix") for _ in range(3))
    error = HubError("HUB-AGREE-001", "agreement file `王小明.yaml` has 3 faults", "mend 330106199001011258", problems=faults)
    assert error.written == "HUB-AGREE-001 agreement file is not valid, 3 faults"
    assert HubError("HUB-AGREE-002", "agreement `x` is not known").written == "HUB-AGREE-002 agreement is not known"


@pytest.mark.parametrize("text", PERSONAL[:4])
def test_refusals_of_names_do_not_repeat_them(text: str) -> None:
    """Wherever a name is read."""
    for read in (dataset_parts, TopicPartition.parse):
        with pytest.raises(HubError) as raised:
            read(text)  # type: ignore[operator]
        assert text not in str(raised.value)
