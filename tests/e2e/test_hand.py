"""Every press of a walk, over a real broker to a real server: what was sent, forgotten and discarded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.device.capture import films
from tests.e2e.site import Site, presses, sealed
from tests.pulse import until

SCRIPT = (
    {"t_s": 0.3, "action": "status"},
    {"t_s": 0.5, "action": "hold", "until_s": 1.5},
    {"t_s": 1.0, "action": "repeat"},
    {"t_s": 2.2, "action": "mute"},
    {"t_s": 2.4, "action": "flag"},
    {"t_s": 2.6, "action": "ahead"},
    {"t_s": 2.8, "action": "sees"},
    {"t_s": 3.0, "action": "mute"},
    {"t_s": 3.2, "action": "louder"},
    {"t_s": 3.4, "action": "quieter"},
    {"t_s": 4.5, "action": "hold", "until_s": 5.5},
    {"t_s": 8.4, "action": "pause"},
    {"t_s": 8.6, "action": "flag"},
    {"t_s": 12.0, "action": "pause"},
    {"t_s": 12.2, "action": "discard"},
)


@pytest.mark.slow
def test_a_discarded_correction_and_a_forgotten_walk_are_gone_from_the_server_too(site: Site, tmp_path: Path) -> None:
    """In real time, so that what is taken back was sent before. A second device walk is forgotten as a whole."""
    film = films.make(tmp_path / "walk.mp4", seconds=14.0, fps=5.0, size=(160, 120))
    site.serve()
    done = site.walk(f"replay:{film}", "--pace", "real", "--buttons", presses(tmp_path, *SCRIPT))
    assert done.status == 0, done.err
    announced = {*done.announced}
    assert {"Cannot see ahead.", "Recording paused.", "Not kept, recording is paused."} <= announced
    assert {"Recording is on.", "Correction discarded."} <= announced
    assert [text for text in announced if "onnected." in text]
    (discarded,) = done.report["erased"]
    assert discarded.endswith("-c002")
    assert done.report["corrections"] == [discarded.replace("-c002", "-c001")]
    assert (done.report["sync"]["queued"], done.report["sync"]["failed"]) == (0, 0)
    samples = site.wait_merged(done)
    assert {sample["correction_id"] for sample in samples.values()} == {"", *done.report["corrections"]}
    assert discarded.encode() not in (site.home / "dataset" / "metadata.jsonl").read_bytes()
    sounds = {sample["correction_audio_path"] for sample in samples.values()} - {""}
    kept = {sample[f"{kind}_path"] for sample in samples.values() for kind in ("audio", "frame", "clip")}
    files = {str(path.relative_to(site.home / "dataset")) for path in (site.home / "dataset").glob("*/*")}
    assert files == {path for path in kept | sounds if path}, "the sound of the discarded correction is deleted"

    more = ({"t_s": 0.5, "action": "flag"}, {"t_s": 9.0, "action": "forget"}, {"t_s": 11.0, "action": "flag"})
    again = site.walk(f"replay:{film}", "--pace", "real", "--buttons", presses(tmp_path, *more))
    assert "Last 5 minutes forgotten." in again.announced
    assert len(again.report["erased"]) == 1, again.report
    assert sealed(site.state) == {}
    until(lambda: set(again.report["flagged"]) <= set(site.samples()), "what was flagged after that")
    after = site.samples()
    assert set(after) == {*samples, *again.report["flagged"]}, "the first walk is another clock's"
    facts = [json.loads(line) for line in (site.home / "dataset" / "records.jsonl").read_text().splitlines()]
    told = {fact["record_id"] for fact in facts if fact["what"] in ("record", "part", "heard")}
    assert not told & set(again.report["erased"])
    checked = json.loads(site.server("check", "--json").out)
    assert checked["well"], checked
