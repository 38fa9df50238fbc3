"""GET /api/words?text=: how words would be taught, while a person types them. Nothing is written.

{"wording", "lost", "suggestions", "told"}    wording "" = they may not be taught; told: all of it in one sentence
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from server.dataset import wording
from server.dataset.wording import NotTeachable
from server.web.api import MAX_TYPED
from shared.errors import Refused


def reading(text: str) -> dict[str, Any]:
    """What the page shows under the field. Pure."""
    try:
        sentence, lost, suggestions = wording.teachable(text), (), ()
    except NotTeachable as instead:
        sentence, lost, suggestions = instead.wording, instead.lost, instead.suggestions
        if not sentence:
            return {"wording": "", "lost": [], "suggestions": list(suggestions), "told": str(instead)}
    except Refused as refused:
        return {"wording": "", "lost": [], "suggestions": [], "told": str(refused)}
    told = " ".join(filter(None, (f"Will be taught as “{sentence}”.", wording.left_out(lost))))
    return {"wording": sentence, "lost": list(lost), "suggestions": list(suggestions), "told": told}


def router() -> APIRouter:
    """The route."""
    routes = APIRouter()

    @routes.get("/api/words")
    def words(text: Annotated[str, Query(max_length=MAX_TYPED)] = "") -> dict[str, Any]:
        """How words would be taught."""
        return reading(text)

    return routes
