"""What ``discover`` says that a column would fit: never what would change a value."""

import pytest

from connectors.sources.csv_file.proposal import would_fit


@pytest.mark.parametrize(
    "values",
    [
        ["24332000000012345678", "24332000000012345679"],
        ["0571", "0574"],
        ["12e5", "34E10"],
        ["000870", "000871"],
        ["13800001258", "13900001259"],
        ["330106", "330105"],
        ["5.10", "5.1"],
        ["1.0000000000000001", "2.5"],
        ["-0", "1"],
        ["a", "1"],
        [],
    ],
)
def test_codes_and_what_a_number_would_change_stay_text(values: list[str]) -> None:
    """Invoice numbers, area codes, case numbers, telephone numbers: their zeros and digits are part of them."""
    assert would_fit(values) == "string"


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "22", "-3"], "int"),
        (["1", "3000000000"], "long"),
        (["1234.50", "99.00"], "decimal(6,2)"),
        (["0.5", "12", "-3.25"], "double"),
        (["true", "false"], "boolean"),
        (["2026-11-24"], "date"),
        (["2026-11-24T09:30:00"], "timestamp-millis"),
    ],
)
def test_what_keeps_every_value_is_proposed(values: list[str], kind: str) -> None:
    """Amounts as decimals, not as doubles."""
    assert would_fit(values) == kind
