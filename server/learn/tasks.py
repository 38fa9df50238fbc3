"""What a fine-tuned model is for. Only one for guidance may ever be the base of a night."""

from __future__ import annotations

import json
from pathlib import Path

from shared.errors import ConfigError

ABOUT_FILE = "finetune.json"
"""In the folder of an adapter that `finetune` wrote."""
GUIDANCE, EXERCISES = "guidance", "exercise-feedback"


def refuse_other(base: str) -> None:
    """Raises: ConfigError where a folder holds what was fine-tuned for something else than guidance."""
    try:
        task = json.loads((Path(base) / ABOUT_FILE).read_bytes()).get("task")
    except (OSError, ValueError, AttributeError):
        return
    if task != GUIDANCE:
        raise ConfigError(
            f"The base model {base!r} was fine-tuned for {task}, not for guidance: no night starts from it.",
            hint="Set learn.base to another one.",
        )
