"""Keys and their reading; what the guard lets through is in test_app.py."""

import pytest

from kiban.core.errors import KibanError
from kiban.serve import guard


def test_without_the_variable_there_are_no_keys() -> None:
    assert guard.read_keys({}) == ()


def test_several_keys_can_be_given_for_a_rotation() -> None:
    keys = guard.read_keys({guard.KEYS: " abcdefghijklmnop,\nqrstuvwxyz012345 ,"})
    assert len(keys) == 2
    assert len({len(key) for key in keys}) == 1


@pytest.mark.parametrize("value", ["", " ", ",", "short", "abcdefghijklmnop,short", "ä" * 20])
def test_a_variable_without_a_good_key_does_not_open_the_door(value: str) -> None:
    """As when a secret could not be had."""
    with pytest.raises(KibanError, match="KIBAN_API_KEYS: each key must have at least 16 ASCII characters") as caught:
        guard.read_keys({guard.KEYS: value})
    assert "short" not in str(caught.value)
