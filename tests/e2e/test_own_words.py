"""A correction that the device puts into words: pressed, spoken, read back in its ear, and on the server's page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from shared.chunk_format import SAMPLE_RATE_HZ
from shared.wav import decode_sound
from tests.device.agent.speaking import spoken_film
from tests.e2e.site import Site, presses
from tests.shared.speech.voices import needs_espeak

CONE = "Caution, cone on the left."


@needs_espeak
@pytest.mark.soak
def test_a_correction_is_heard_by_the_device_read_back_and_proposed_by_a_server_that_listens_to_nothing(
    site: Site, tmp_path: Path
) -> None:
    """Real processes and a real broker. The server has no recogniser: what it proposes can only be the device's."""
    (site.home / "waycue.toml").write_text('[speech]\nrecogniser = "none"\n')
    (tmp_path / "device.toml").write_text('[corrections]\ntranscribe = "device"\n')
    film, script = spoken_film(tmp_path, [(1.0, "cone on the left")], seconds=16.0)
    site.serve()
    sound = tmp_path / "heard.wav"
    done = site.walk(
        f"replay:{film}",
        "--pace",
        "real",
        "--buttons",
        presses(tmp_path, *script),
        "--config",
        str(tmp_path / "device.toml"),
        "--speech",
        str(sound),
    )
    assert done.status == 0, done.err
    [back] = [entry for entry in done.report["announced"] if entry["text"].startswith("Heard")]
    assert (back["text"], back["why"]) == (f"Heard: {CONE}", "heard")
    samples = decode_sound(sound.read_bytes())
    first = int((back["t_s"]) * SAMPLE_RATE_HZ)
    assert np.abs(samples[first : first + 3 * SAMPLE_RATE_HZ]).max() > 0.1, "it comes out of the speaker"
    assert (done.report["sync"]["queued"], done.report["sync"]["failed"]) == (0, 0)
    [sample] = [sample for sample in site.wait_merged(done).values() if sample["correction_id"]]
    assert (sample["transcript"], sample["llm_correction"]) == ("cone on the left", CONE)
    assert (sample["state"], sample["ground_truth"], sample["source"]) == ("pending", "", "wearer_voice")
    [record] = [
        fact["body"]
        for fact in map(json.loads, (site.home / "dataset" / "records.jsonl").read_text().splitlines())
        if fact["what"] == "record" and fact["kind"] == "correction"
    ]
    assert (record["heard_meaning"], record["heard_by"]) == (CONE, "pocketsphinx")
