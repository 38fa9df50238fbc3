"""Conversations about a video or a picture, as Mobile-VideoGPT and other LLaVA-type trainers are taught.

    videos/{walk}_chunk{NNNN}.mp4       the clip, where there is one
    frames/{walk}_chunk{NNNN}.jpg       else the picture
    conversations.json                  one list: {"id", "video" or "image", "conversations": [system, user, assistant]}

Turns are {"role", "content"} with system, user, assistant; or, as ShareGPT has it and LLaVA's own loader reads it,
{"from", "value"} with system, human, gpt. The user's turn begins with the token that stands for the media.

source: Mobile-VideoGPT, https://github.com/Amshaker/Mobile-VideoGPT
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from exporters.datasets.folder import ExportFolder
from exporters.datasets.rows import LeftOut, Row, missing
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


def write(rows: Iterable[Row], folder: ExportFolder, *, style: ConversationStyle = ConversationStyle()) -> LeftOut:
    """Returns what was left out. Raises: OSError."""
    entries, left_out = [], LeftOut()
    for row in rows:
        clip = style.media == "clip" or (style.media == "best" and row.clip is not None)
        reason = missing(row, "clip" if clip else "frame")
        if reason:
            left_out[reason] += 1
        elif clip:
            path = folder.place(row.file("clip"), f"videos/{row.name}{row.file('clip').suffix}")
            entries.append(entry(row, path, style=style, kind="video"))
        else:
            path = folder.place(row.file("frame"), f"frames/{row.name}.jpg")
            entries.append(entry(row, path, style=style, kind="image"))
    folder.write_json("conversations.json", entries)
    return left_out


def entry(row: Row, path: str, *, style: ConversationStyle, kind: Literal["video", "image"]) -> dict[str, Any]:
    """One conversation. Pure."""
    question = f"<{kind}>\n{style.user.replace(CONTEXT, row.context)}"
    turns = (("system", style.system), ("user", question), ("assistant", row.text))
    if style.turns == "sharegpt":
        called = {"system": "system", "user": "human", "assistant": "gpt"}
        said = [{"from": called[role], "value": text} for role, text in turns if text]
    else:
        said = [{"role": role, "content": text} for role, text in turns if text]
    return {"id": row.name, kind: path, "conversations": said}
