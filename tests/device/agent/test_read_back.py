"""What the server understood of a correction reaches the wearer's ear, once, and only while it is the last one."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared import policy
from shared.errors import MessageError
from shared.messages import CorrectionHeard, encode
from tests.device.agent.stage import StoryModel, agent, config, film, nothing, presses


def test_only_the_last_correction_that_was_not_discarded_is_read_back(tmp_path: Path) -> None:
    script = presses(
        tmp_path,
        {"t_s": 0.5, "action": "hold", "until_s": 1.5},
        {"t_s": 2.5, "action": "hold", "until_s": 3.5},
        {"t_s": 7.5, "action": "discard"},
    )
    made = agent(
        config(tmp_path, film(tmp_path), buttons__script=str(script), broker__address="127.0.0.1:1"),
        StoryModel(nothing),
        tmp_path,
    )
    made.run()
    parts = made.parts
    posted: list[object] = []
    parts.guidance.post = posted.append  # type: ignore[method-assign, assignment]
    assert parts.link is not None
    first, second = (f"{parts.walk.walk_id}-c{number:03d}" for number in (1, 2))
    for name, text in ((second, "Stop, curb ahead."), (first, "Caution, bin ahead."), ("pi-9-x-c001", "Stop.")):
        parts.link.on_message(f"wc/v1/{parts.walk.device}/down/heard", encode(CorrectionHeard(name, text)))
    assert posted == [policy.WordsHeard("Caution, bin ahead.")]
    parts.link.on_message(f"wc/v1/{parts.walk.device}/down/heard", b"not json")
    assert parts.link.counters["handler_errors"] == 1
    with pytest.raises(MessageError):
        parts._server_heard(b"{}")


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    script = presses(tmp_path, {"t_s": 0.5, "action": "hold", "until_s": 1.5})
    chosen = config(tmp_path, film(tmp_path, 4.0), buttons__script=str(script), voice__read_back=False)
    made = agent(chosen, StoryModel(nothing), tmp_path)
    made.run()
    posted: list[object] = []
    made.parts.guidance.post = posted.append  # type: ignore[method-assign, assignment]
    made.parts._server_heard(encode(CorrectionHeard(f"{made.parts.walk.walk_id}-c001", "Stop, curb ahead.")))
    assert posted == []
