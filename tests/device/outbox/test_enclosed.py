"""An outbox with the server's key: nothing of a moment can be read on the card, and everything else is as before."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from device.outbox import inspect
from device.outbox.folder import INDEX
from device.outbox.outbox import Outbox
from shared import sealing
from shared.errors import MessageError
from shared.messages import ChunkRecord
from shared.sealing import SealedPlace
from tests.device.outbox.records import DEVICE, chunk, clip, correction, jpeg, payloads, wav

KEY = X25519PrivateKey.generate()


def opened(folder: Path) -> closing[Outbox]:
    return closing(Outbox(folder, key=KEY.public_key()))


def bytes_on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_nothing_of_a_moment_lies_on_the_card_in_clear(tmp_path: Path) -> None:
    with opened(tmp_path) as box:
        box.seal_chunk(chunk(1), payloads(1, clip_bytes=9000))
        box.seal_correction(correction(1), wav(2))
        found = bytes_on_disk(tmp_path)
        for secret in (
            jpeg(1)[4:100],
            wav(1)[12:100],
            clip(1)[8:100],
            wav(2)[12:100],
            b"curb",
            b"walk",
            b"JFIF",
            b"RIFF",
        ):
            assert secret not in found
    with closing(Outbox(tmp_path / "plain")) as plain:
        plain.seal_chunk(chunk(1), payloads(1))
        assert b"curb ahead" in bytes_on_disk(tmp_path / "plain"), "the control: without a key it does"


def test_what_lies_there_is_what_only_the_server_can_open(tmp_path: Path) -> None:
    with opened(tmp_path) as box:
        sealed = box.seal_chunk(chunk(1), payloads(1))
        (frame,) = [item for item in box.claim(9) if item.kind == "frame"]
        content = sealing.unseal(frame.path.read_bytes(), KEY, SealedPlace(DEVICE, frame.record_id, "frame"))
        assert content == jpeg(1)
        assert [part.size_bytes for part in sealed.parts] == [3000, 5000], "the record names the parts as they were"
        assert frame.size_bytes == 3000 + sealing.OVERHEAD_BYTES


def test_the_order_of_sending_is_the_same(tmp_path: Path) -> None:
    def order(folder: Path, key: X25519PrivateKey | None) -> list[tuple[str, str]]:
        with closing(Outbox(folder, key=None if key is None else key.public_key())) as box:
            box.seal_chunk(chunk(1, flags=("audit",)), payloads(1, clip_bytes=9000))
            box.seal_chunk(chunk(2), payloads(2))
            box.seal_correction(correction(2), wav(9))
            return [(item.record_id, item.kind) for item in box.claim(20, bulk=True)]

    assert order(tmp_path / "sealed", KEY) == order(tmp_path / "plain", None)


def test_sealing_the_same_again_does_nothing_and_other_content_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as box:
        box.seal_chunk(chunk(1), payloads(1))
        before = bytes_on_disk(tmp_path / chunk(1).chunk_id)
        box.seal_chunk(chunk(1), payloads(1))
        assert bytes_on_disk(tmp_path / chunk(1).chunk_id) == before
        with pytest.raises(MessageError, match="other content"):
            box.seal_chunk(chunk(1), payloads(2))


def test_a_lost_index_is_built_again_from_what_can_still_be_read(tmp_path: Path) -> None:
    with opened(tmp_path) as box:
        box.seal_chunk(chunk(1), payloads(1))
        box.seal_correction(correction(1), wav(1))
        order = [(item.record_id, item.kind, item.size_bytes) for item in box.claim(9)]
    for file in tmp_path.glob(f"{INDEX}*"):
        file.unlink()
    with opened(tmp_path) as box:
        assert [(item.record_id, item.kind, item.size_bytes) for item in box.claim(9)] == order


def test_what_was_kept_before_there_was_a_key_is_sent_as_it_is(tmp_path: Path) -> None:
    with closing(Outbox(tmp_path)) as plain:
        plain.seal_chunk(chunk(1), payloads(1))
    with opened(tmp_path) as box:
        box.seal_chunk(chunk(2), payloads(2))
        kinds = {item.record_id: item.size_bytes for item in box.claim(9) if item.kind == "frame"}
        assert kinds == {chunk(1).chunk_id: 3000, chunk(2).chunk_id: 3064}


def test_a_person_who_looks_sees_headers_only(tmp_path: Path) -> None:
    with opened(tmp_path) as box:
        box.seal_chunk(chunk(1), payloads(1))
        (line,) = inspect.waiting(tmp_path)
        assert (line.kind, line.state) == ("chunk", "waiting")
        shown = json.dumps(inspect.show(tmp_path, chunk(1).chunk_id))
        assert "only the server can read" in shown
        assert "curb" not in shown
        assert inspect.export(tmp_path, chunk(1).chunk_id, tmp_path / "out") > 8000


def test_a_record_too_large_to_travel_fails_where_the_agent_can_still_say_so(tmp_path: Path) -> None:
    large = ChunkRecord(
        **{name: getattr(chunk(1), name) for name in chunk(1).__slots__ if name != "extra"},
        extra={f"h{number}": "x" * 4000 for number in range(13)},
    )
    with opened(tmp_path) as box:
        with pytest.raises(MessageError):
            box.seal_chunk(large, payloads(1))
        assert not (tmp_path / large.chunk_id).exists()
