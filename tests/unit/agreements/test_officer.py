"""A serve leads only with an officer's key that hub.plan knows, so that workers obey what it signs."""

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.agreements.officer import require_officer
from hub.model.errors import HubError
from hub.model.records import PlanEntry, encode_plan_entry
from hub.model.signing import key_id_of, sign_entry

OURS, BEFORE, STRANGER = (Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2, 3))
TRUST = {key_id_of(key.public_key()): key.public_key() for key in (OURS, BEFORE)}
OWN = key_id_of(OURS.public_key())


def entry(key: Ed25519PrivateKey, *, scope: str = "330100", forged: bool = False) -> bytes:
    """Return an entry that a key signed."""
    signed = sign_entry(PlanEntry("keys", "1", 1, scope, "{}", "", b""), key)
    return encode_plan_entry(msgspec.structs.replace(signed, signature=bytes(64)) if forged else signed)


def allowed(*values: bytes | None, told: str | None = None) -> bool:
    """Ask for the key of ours."""
    return require_officer(values, own=OWN, trust=TRUST, scope="330100", told=told)


@pytest.mark.parametrize(
    "values",
    [
        (),
        (entry(OURS),),
        (entry(BEFORE), entry(OURS)),
        (None, b"nonsense"),
        (entry(STRANGER, scope="440300"),),
        (entry(STRANGER), entry(OURS)),
    ],
)
def test_a_key_that_signed_before_leads_and_so_does_the_first_of_a_new_hub(values: tuple[bytes | None, ...]) -> None:
    """Also beside another that signed before it, and whatever a stranger wrote."""
    assert not allowed(*values)
    assert not allowed(*values, told=OWN)


@pytest.mark.parametrize("values", [(entry(BEFORE),), (entry(STRANGER),), (entry(BEFORE), entry(OURS, forged=True))])
def test_a_key_that_signed_nothing_in_a_plan_of_others_does_not_lead_until_an_officer_says_so(values: tuple[bytes, ...]) -> None:
    """A lost key made anew, or the state of another hub: workers would refuse what it signs."""
    with pytest.raises(HubError, match="HUB-KEY-005") as refused:
        allowed(*values)
    assert f"--lead-with-officer-key {OWN}" in refused.value.fix
    assert allowed(*values, told=OWN)


def test_the_key_that_an_officer_names_must_be_the_one_that_is_here() -> None:
    """Else a mistake in a script would let any key lead."""
    with pytest.raises(HubError, match="HUB-KEY-005"):
        allowed(entry(BEFORE), told=key_id_of(STRANGER.public_key()))


def test_a_key_that_its_own_trust_keys_lack_never_leads() -> None:
    """Not even serve itself would believe what it signs."""
    stranger = key_id_of(STRANGER.public_key())
    for told in (None, stranger):
        with pytest.raises(HubError, match="HUB-KEY-004"):
            require_officer([entry(STRANGER)], own=stranger, trust=TRUST, scope="330100", told=told)
