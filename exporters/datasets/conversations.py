"""Conversations about a video or a picture, as Mobile-VideoGPT and other LLaVA-type trainers are taught.

    videos/{walk}_chunk{NNNN}.mp4       the clip, where there is one
    frames/{walk}_chunk{NNNN}.jpg       else the picture
    conversations.json                  one list: {"id", "video" or "image", "conversations": [system, user, assistant]}

Turns are {"role", "content"} with system, user, assistant; or, as ShareGPT has it and LLaVA's own loader reads it,
{"from", "value"} with system, human, gpt. The user's turn begins with the token that stands for the media.

source: Mobile-VideoGPT, https://github.com/Amshaker/Mobile-VideoGPT
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from exporters.datasets.folder import ExportFolder
from exporters.datasets.rows import LeftOut, Progress, Row, count, no_progress, without
from shared import prompt

SYSTEM = "You guide a blind walker. Say what to do in 3 to 8 words, the most dangerous thing first."
CONTEXT = "{context}"


@dataclass(frozen=True, slots=True)
class ConversationStyle:
    """What stands around the instruction."""

    system: str = SYSTEM
    user: str = prompt.REQUEST
    """{context} in it becomes the row's context."""
    turns: Literal["chat", "sharegpt"] = "chat"
    media: Literal["clip", "frame", "best"] = "best"
    """best: the clip where there is one, else the picture."""


def write(
    rows: Sequence[Row],
    folder: ExportFolder,
    *,
    wording: ConversationStyle = ConversationStyle(),
    progress: Progress = no_progress,
) -> LeftOut:
    """Returns what was left out. Raises: OSError."""
    entries, left_out = [], LeftOut()
    for done, row in enumerate(rows, start=1):
        progress(done)
        clip = wording.media == "clip" or (wording.media == "best" and row.clip is not None)
        source = row.clip if clip else row.frame
        reason = without(row, "clip" if clip else "frame")
        if reason or source is None:
            count(left_out, reason)
            continue
        path = folder.place(source, f"videos/{row.name}{source.suffix}" if clip else f"frames/{row.name}.jpg")
        entries.append(entry(row, path, wording=wording, kind="video" if clip else "image"))
    folder.write_json("conversations.json", entries)
    return left_out


def entry(row: Row, path: str, *, wording: ConversationStyle, kind: Literal["video", "image"]) -> dict[str, Any]:
    """One conversation. Pure."""
    question = f"<{kind}>\n{wording.user.replace(CONTEXT, row.context)}"
    turns = (("system", wording.system), ("user", question), ("assistant", row.text))
    if wording.turns == "sharegpt":
        called = {"system": "system", "user": "human", "assistant": "gpt"}
        said = [{"from": called[role], "value": text} for role, text in turns if text]
    else:
        said = [{"role": role, "content": text} for role, text in turns if text]
    return {"id": row.name, kind: path, "conversations": said}
