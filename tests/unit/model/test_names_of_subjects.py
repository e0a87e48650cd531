"""Subjects and datasets, both ways."""

import pytest

from hub.model.names import Names

NAMES = Names(scope="330100", prefix="hz.")


def test_the_dataset_of_a_subject_is_the_one_that_has_it() -> None:
    """Also where a prefix stands before every topic."""
    assert NAMES.dataset_of_subject(NAMES.dept_subject("civil-affairs/subsidies")) == "civil-affairs/subsidies"


@pytest.mark.parametrize("subject", ["", "dept.a.b-value", "hz.share.a.b-value", "hz.dept.a.b", "hz.dept.a-value", "hz.dept.A.b-value"])
def test_other_subjects_have_none(subject: str) -> None:
    """Shares, other hubs, and what is no subject."""
    assert NAMES.dataset_of_subject(subject) is None
