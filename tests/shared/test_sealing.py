"""What is sealed to the server can be read with its key, as what it is, unaltered; and with nothing else."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from shared import sealing
from shared.errors import MessageError
from shared.sealing import MAGIC, OVERHEAD_BYTES, SealedPlace, is_sealed, seal, unseal

KEY = X25519PrivateKey.generate()
PLACE = SealedPlace("anna", "anna-b1-00001", "frame")
CONTENT = b"\xff\xd8\xff picture"


@given(st.binary(max_size=4096))
def test_what_was_sealed_comes_out_again(content: bytes) -> None:
    sealed = seal(content, KEY.public_key(), PLACE)
    assert unseal(sealed, KEY, PLACE) == content
    assert len(sealed) == len(content) + OVERHEAD_BYTES
    assert is_sealed(sealed[:8])


def test_no_two_are_alike_and_none_shows_its_content() -> None:
    first, second = (seal(CONTENT, KEY.public_key(), PLACE) for _ in range(2))
    assert first != second
    assert CONTENT not in first


@given(st.data())
def test_one_changed_bit_anywhere_is_refused(data: st.DataObject) -> None:
    sealed = bytearray(seal(CONTENT, KEY.public_key(), PLACE))
    at = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[at // 8] ^= 1 << at % 8
    with pytest.raises(MessageError):
        unseal(bytes(sealed), KEY, PLACE)


@given(st.binary(max_size=200))
def test_anything_else_is_refused_and_raises_nothing_else(file: bytes) -> None:
    for candidate in (file, MAGIC + file, MAGIC + sealing.key_id(KEY.public_key()) + file):
        with pytest.raises(MessageError):
            unseal(candidate, KEY, PLACE)


@pytest.mark.parametrize(
    "place",
    [
        SealedPlace("ben", PLACE.record_id, PLACE.kind),
        SealedPlace(PLACE.device, "anna-b1-00002", PLACE.kind),
        SealedPlace(PLACE.device, PLACE.record_id, "audio"),
    ],
)
def test_a_file_in_another_ones_place_is_refused(place: SealedPlace) -> None:
    with pytest.raises(MessageError, match="altered"):
        unseal(seal(CONTENT, KEY.public_key(), PLACE), KEY, place)


def test_another_servers_key_is_told_apart_from_damage() -> None:
    with pytest.raises(MessageError, match="another key than this server's") as caught:
        unseal(seal(CONTENT, KEY.public_key(), PLACE), X25519PrivateKey.generate(), PLACE)
    assert "backup" in caught.value.hint


@pytest.mark.parametrize("head", [b"\xff\xd8\xff\xe0", b"RIFF\0\0\0\0WAVE", b"\0\0\0\x18ftyp", b""])
def test_pictures_sounds_and_videos_are_not_taken_for_sealed(head: bytes) -> None:
    assert not is_sealed(head)
