"""What comes, measured on drawn streets where the renderer knows it: beside the rules that need no measuring."""

from __future__ import annotations

from benchmarks.motion import RULES, figures, street


def test_what_is_said_to_come_comes_more_surely_than_by_any_trivial_rule() -> None:
    judged = [entry for number in (0, 1, 3, 7, 12) for entry in street(1, number)]
    found = {name: figures(judged, rule) for name, rule in RULES.items()}
    measured, always, foot = (found[name] for name in ("measured", "always", "foot"))
    assert measured["precision"] is not None
    assert measured["recall"] is not None
    assert always["precision"] is not None
    assert foot["precision"] is not None
    assert measured["precision"] > max(0.7, 3 * always["precision"], 2 * foot["precision"])
    assert measured["recall"] > 0.25, "never saying so has none"
    assert (measured["false_looks"] or 0.0) < 0.02
