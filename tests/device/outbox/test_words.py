"""A correction that is held until it is known what was heard in it: its words go along, and never instead of it."""

from __future__ import annotations

import base64
import errno
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from device.outbox.folder import SIDECAR
from device.outbox.late import LateOutbox
from device.outbox.outbox import Outbox
from shared import atomic, sealing, strict
from shared.messages import CorrectionRecord, Envelope, EraseRecord, SealedRecord, decode
from shared.sealing import SealedPlace
from tests.device.outbox.records import DEVICE, chunk, correction, payloads, wav

KEY = X25519PrivateKey.generate()
NAME = correction(1).correction_id
WORDS = {
    "heard": "kegel links",
    "heard_meaning": "Caution, cone on the left.",
    "heard_confidence": 1.0,
    "heard_by": "x",
}
BOTH = {NAME, f"{NAME}.correction_audio"}


@pytest.fixture(params=[None, KEY], ids=["plain", "sealed"])
def box(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Outbox]:
    key = None if request.param is None else request.param.public_key()
    with closing(Outbox(tmp_path / "outbox", key=key)) as made:
        yield made


def sent(box: Outbox) -> set[str]:
    """Names of what is handed out now."""
    items = box.claim(100)
    box.release(items)
    return {item.name for item in items}


def kept(box: Outbox) -> CorrectionRecord:
    """The record as the server will read it."""
    envelope = decode(Envelope, (box.folder / NAME / SIDECAR).read_bytes())
    if envelope.kind == "sealed":
        body = strict.read(SealedRecord, envelope.body)
        plain = sealing.unseal(base64.b64decode(body.sealed), KEY, SealedPlace(DEVICE, NAME, "record"))
        envelope = decode(Envelope, plain)
    return strict.read(CorrectionRecord, envelope.body)


def test_it_waits_for_its_words_while_the_rest_is_sent_and_then_goes_with_them(box: Outbox) -> None:
    called: list[None] = []
    box.hold(NAME)
    sealed = box.seal_correction(correction(1), wav(1))
    box.seal_chunk(chunk(1), payloads(1))
    assert sent(box) == {f"{chunk(1).chunk_id}{kind}" for kind in ("", ".frame", ".audio")}
    assert box.counts().queued == 2
    box.on_change(lambda: called.append(None))
    box.let_go(NAME, replace(sealed, **WORDS))  # type: ignore[arg-type]
    assert called == [None], "who sends is told"
    assert sent(box) >= BOTH
    assert kept(box) == replace(sealed, **WORDS)  # type: ignore[arg-type]
    assert (box.counts().queued, box.counts().lost) == (2, 0)
    for item in box.claim(100):
        assert item.path.stat().st_size == item.size_bytes


def test_without_words_it_goes_as_it_was_sealed(box: Outbox) -> None:
    box.hold(NAME)
    sealed = box.seal_correction(correction(1), wav(1))
    box.let_go(NAME)
    assert sent(box) == BOTH
    assert kept(box) == sealed


def test_what_may_have_been_sent_is_not_rewritten(box: Outbox) -> None:
    sealed = box.seal_correction(correction(1), wav(1))
    box.claim(100)
    box.let_go(NAME, replace(sealed, **WORDS))  # type: ignore[arg-type]
    assert kept(box) == sealed


def test_what_was_sent_in_an_earlier_life_is_not_rewritten_though_it_is_held_again(tmp_path: Path) -> None:
    """The server has it without words: with them it would be another record of the same name."""
    with closing(Outbox(tmp_path)) as box:
        sealed = box.seal_correction(correction(1), wav(1))
        claimed = box.claim(100)
        box.hold(NAME)
        box.let_go(NAME, replace(sealed, **WORDS))  # type: ignore[arg-type]
        assert kept(box) == sealed
        box.release(claimed)
    with closing(Outbox(tmp_path)) as again:
        again.hold(NAME)
        again.let_go(NAME, replace(sealed, **WORDS))  # type: ignore[arg-type]
        assert kept(again) == sealed


def test_words_do_not_bring_back_what_the_wearer_erased(box: Outbox) -> None:
    box.hold(NAME)
    sealed = box.seal_correction(correction(1), wav(1))
    box.seal_erase(EraseRecord("pi-1-b0071-e001", DEVICE, 1_700_000_000.0, (NAME,)))
    box.let_go(NAME, replace(sealed, **WORDS))  # type: ignore[arg-type]
    assert sent(box) == {"pi-1-b0071-e001"}
    assert not (box.folder / NAME).exists()


def test_a_full_disk_costs_the_words_and_not_the_correction(box: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes, *, mode: int = 0o644) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    box.hold(NAME)
    sealed = box.seal_correction(correction(1), wav(1))
    with monkeypatch.context() as disk:
        disk.setattr(atomic, "write_bytes", full)
        with pytest.raises(OSError, match="No space"):
            box.let_go(NAME, replace(sealed, **WORDS))  # type: ignore[arg-type]
    assert sent(box) == BOTH
    assert kept(box) == sealed


def test_a_restart_before_the_words_sends_it_without(tmp_path: Path) -> None:
    with closing(Outbox(tmp_path)) as box:
        box.hold(NAME)
        box.seal_correction(correction(1), wav(1))
    with closing(LateOutbox(tmp_path)) as again:
        assert {item.name for item in again.claim(9)} == BOTH
        again.let_go(NAME)
