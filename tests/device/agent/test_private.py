"""What of a whole walk others could read: nothing on the card of an enrolled device, no faces with privacy.blur."""

from __future__ import annotations

import base64
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from server.database.store import open_store
from server.identity.authority import Authority
from server.identity.certificates import Certificates
from server.identity.sealing_key import SealingKey
from shared import messages, sealing, strict
from shared.clock import SystemClock
from shared.jpeg import decode_picture
from shared.messages import ChunkRecord, Envelope, SealedRecord
from shared.sealing import SealedPlace
from tests.device.agent.stage import StoryModel, nothing, presses, run
from tests.enrolment.quick import enrolled


@pytest.fixture
def key(tmp_path: Path) -> SealingKey:
    """Of the server at which the device of `tmp_path` is enrolled. It is away."""
    home = tmp_path / "home"
    authority = Authority.make(home, clock=SystemClock())
    with closing(open_store(home)) as store:
        certificates = Certificates(store, authority, clock=SystemClock())
        enrolled(certificates, tmp_path / "state", "dev-1", broker="127.0.0.1:9")
    return SealingKey.of(authority)


def test_the_moments_of_an_enrolled_device_are_for_its_server_alone(tmp_path: Path, key: SealingKey) -> None:
    script = presses(tmp_path, {"t_s": 4.5, "action": "flag"})
    done = run(
        tmp_path, StoryModel(nothing), buttons__script=str(script), flags__predecessors=0, device__wearer="Annabel"
    )
    ((record_id, body),) = done.records.items()
    record = strict.read(SealedRecord, body)
    assert (record.of, record.importance) == ("chunk", 1)
    folder = done.state / "outbox" / record_id
    on_card = b"".join(file.read_bytes() for file in folder.iterdir())
    assert b"Annabel" not in on_card
    assert b"JFIF" not in on_card
    inside = messages.decode(
        Envelope,
        sealing.unseal(base64.b64decode(record.sealed), key.private, SealedPlace("dev-1", record_id, "record")),
    )
    assert strict.read(ChunkRecord, inside.body).wearer == "Annabel"
    frame = sealing.unseal((folder / "frame.jpg").read_bytes(), key.private, SealedPlace("dev-1", record_id, "frame"))
    assert decode_picture(frame) is not None


def test_encryption_can_be_left_out(tmp_path: Path, key: SealingKey) -> None:
    script = presses(tmp_path, {"t_s": 4.5, "action": "flag"})
    done = run(
        tmp_path, StoryModel(nothing), buttons__script=str(script), flags__predecessors=0, privacy__encrypt=False
    )
    ((record_id, body),) = done.records.items()
    assert body["wearer"] == "anna"
    assert (done.state / "outbox" / record_id / "frame.jpg").read_bytes().startswith(b"\xff\xd8\xff")


def test_with_blur_a_model_without_a_detector_leaves_no_picture_to_recognise_and_no_clip(tmp_path: Path) -> None:
    script = presses(tmp_path, {"t_s": 4.5, "action": "flag"})
    wanted: dict[str, Any] = {"buttons__script": str(script), "flags__predecessors": 0, "capture__clips": True}
    pictures = {}
    for blur in (False, True):
        folder = tmp_path / str(blur)
        folder.mkdir()
        done = run(folder, StoryModel(nothing), privacy__blur=blur, **wanted)
        ((record_id, body),) = done.records.items()
        assert body.get("hidden") == ("whole" if blur else None)
        assert (done.state / "outbox" / record_id / "clip.mp4").exists() is not blur
        picture = decode_picture((done.state / "outbox" / record_id / "frame.jpg").read_bytes())
        assert picture is not None
        pictures[blur] = picture
    plain, height = pictures[False], pictures[False].shape[0]
    tiny = cv2.resize(plain, (16, round(16 * height / plain.shape[1])), interpolation=cv2.INTER_AREA)
    blocks = cv2.resize(tiny, plain.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    assert np.abs(pictures[True].astype(int) - blocks).mean() < 2.5, "blocks, but for what JPEG makes of them"
