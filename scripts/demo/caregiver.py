"""The caregiver of the demo: a sighted person who reviews flagged moments through the server's HTTP API.

What a person would see in the picture is read from the renderer's truth of the walk.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from typing import Any

from shared import vocabulary


class Caregiver:
    """A client of the JSON API at `url`."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def samples(self, state: str = "all") -> list[dict[str, Any]]:
        """Moments in a review state. Raises: OSError."""
        answer = self._call(f"/api/samples?state={state}&limit=500")
        samples: list[dict[str, Any]] = answer["samples"]
        return samples

    def get(self, sample_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._call(f"/api/samples/{sample_id}")
        return answer

    def review(self, sample: Mapping[str, Any], truth: str) -> str:
        """Confirm one moment as it now stands: accept the proposal where it is right, else say what is. Returns the
        action taken."""
        read = self.get(str(sample["sample_id"]))
        if truth in ("", vocabulary.CLEAR):
            action: dict[str, str] = {"action": "nothing"}
        elif vocabulary.normalise(str(read["llm_correction"])) == truth:
            action = {"action": "accept"}
        else:
            action = {"action": "edit", "text": truth}
        self._call(f"/api/samples/{sample['sample_id']}/review", {**action, "row_id": str(read["row_id"])})
        return action["action"]

    def _call(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self._url + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)
