"""The page of `waycue-server label`: the chunk that is asked, its sound and clip, and the sentence field.

It is served on 127.0.0.1 alone, on a port that the system picks, under an address with a secret in it: no other user of
this machine and no other web site can answer. Page and terminal are two hands at one `LabelDesk`; the page asks for the
newest state with a request that waits until there is one.

    GET  /{token}/                page, /{token}/{file} its script and styles
    GET  /{token}/state?after=N   the chunk that is asked, once its turn is not N
    GET  /{token}/frame/N.jpg, /audio/N.wav, /film/I
    POST /{token}/check           {"text"} → how the rules take it
    POST /{token}/answer          {"turn", "action", "text", "keep", "fields"} → {"said"}; 409 answered meanwhile, 422
"""

from __future__ import annotations

import hmac
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, HTTPException, Query
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from server.dataset import rules, wording
from server.dataset.wording import NotTeachable
from server.labelling import conditions
from server.labelling.desk import AskedChunk, LabelDesk
from server.web.guard import Guard
from shared import vocabulary
from shared.errors import Refused, WaycueError

HERE = Path(__file__).parent / "label"
STYLES = Path(__file__).parent / "static" / "review.css"
WAITS_S = 20.0
_FILES = {
    "label.js": HERE / "label.js",
    "label.css": HERE / "label.css",
    "review.css": STYLES,
    "icon.svg": STYLES.with_name("icon.svg"),
}
_UP_WITHIN_S = 30.0
Guesses = Mapping[str, tuple[str, str]]
"""Field → (value, what guessed it)."""


class _Checked(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    text: str = Field(max_length=4000)


class _Answered(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    turn: int
    action: str = Field(max_length=20)
    text: str = Field("", max_length=4000)
    keep: bool = False
    """Write the words down as they are, though they teach nothing like this."""
    fields: dict[str, str] = Field(default_factory=dict, max_length=16)


class LabelPage:
    """The application's state. Safe from any thread."""

    def __init__(
        self,
        desk: LabelDesk,
        *,
        suggest: Callable[[AskedChunk], str],
        note: str,
        guess: Callable[[AskedChunk, str], Guesses],
    ) -> None:
        """suggest, guess: what a model would say, and what the surroundings seem to be; note: which model that is"""
        self.token = secrets.token_urlsafe(18)
        self._desk = desk
        self._suggest, self._guess, self._note = suggest, guess, note
        self._moved = threading.Condition()
        self._closed = False
        desk.on_change(self._tell)

    def close(self) -> None:
        """Let every waiting request go."""
        self._closed = True
        self._tell()

    def _tell(self) -> None:
        with self._moved:
            self._moved.notify_all()

    def state(self, after: int) -> dict[str, Any]:
        """The chunk that is asked as JSON values, at once where its turn is not `after`."""
        with self._moved:
            self._moved.wait_for(lambda: self._closed or self._desk.turn != after, WAITS_S)
        asked = None if self._closed else self._desk.asked()
        counts = [asdict(count) for count in self._desk.counts()]
        if asked is None:
            return {"done": True, "turn": self._desk.turn, "counts": counts}
        earlier = "" if asked.earlier in (None, "skip") else asked.earlier
        return {
            "done": False,
            "turn": asked.turn,
            "video": asked.video.name,
            "place": asked.place,
            "chunk": asked.number + 1,
            "chunks": asked.chunks,
            "span_s": asked.span_s,
            "earlier": earlier,
            "skipped": asked.earlier == "skip",
            "suggestion": self._suggest(asked),
            "note": self._note,
            "fields": dict(asked.fields),
            "guesses": {name: value for name, (value, _) in self._guess(asked, "").items()},
            "choices": conditions.CHOICES,
            "rules": rules.RULES_TEXT,
            "clear": vocabulary.CLEAR,
            "counts": counts,
        }

    def answer(self, request: _Answered) -> str:
        """Raises: Refused, of which NotTeachable."""
        text = request.text.strip()
        if request.action == "save" and not request.keep:
            text = wording.teachable(text)
        asked = self._desk.asked()
        fields = {**(asked.fields if asked else {}), **conditions.by_person(request.fields)}
        guesses = self._guess(asked, text) if asked else {}
        return self._desk.take(request.turn, request.action, text, fields=conditions.with_guesses(fields, guesses))

    def file(self, kind: str, name: str) -> Path:
        """A file of the chunk that is asked, or a film. Raises: KeyError."""
        if kind == "film":
            return dict(enumerate(self._desk.videos))[int(name) if name.isascii() and name.isdigit() else -1]
        asked = self._desk.asked()
        turn, _, ending = name.partition(".")
        if asked is None or turn != str(asked.turn) or (kind, ending) not in (("frame", "jpg"), ("audio", "wav")):
            raise KeyError(name)
        return asked.frame if kind == "frame" else asked.audio


def application(page: LabelPage) -> FastAPI:
    """The routes, behind the guard of the review page."""
    app = FastAPI(title="waycue label", docs_url=None, redoc_url=None, openapi_url=None)

    def checked(token: str) -> None:
        if not hmac.compare_digest(token.encode(), page.token.encode()):
            raise HTTPException(404, "There is no such page. Use the address that the terminal shows.")

    @app.get("/{token}/")
    def index(token: str) -> FileResponse:
        checked(token)
        return FileResponse(HERE / "index.html", media_type="text/html; charset=utf-8")

    @app.get("/{token}/state")
    def state(token: str, after: Annotated[int, Query()] = -1) -> dict[str, Any]:
        checked(token)
        return page.state(after)

    @app.post("/{token}/check")
    def check(token: str, request: _Checked) -> dict[str, Any]:
        checked(token)
        return {"checks": [asdict(item) for item in rules.checks(request.text)]}

    @app.post("/{token}/answer")
    def answer(token: str, request: _Answered) -> JSONResponse:
        checked(token)
        try:
            return JSONResponse({"said": page.answer(request)})
        except NotTeachable as refused:
            body = {"wording": refused.wording, "suggestions": refused.suggestions, "lost": refused.lost}
            return JSONResponse({"detail": str(refused), **body}, 422)
        except Refused as refused:
            return JSONResponse({"detail": str(refused)}, 409)
        except (WaycueError, OSError) as error:
            return JSONResponse({"detail": f"It was not written: {error}"}, 507)

    @app.get("/{token}/{name}")
    def part(token: str, name: str) -> FileResponse:
        checked(token)
        if name not in _FILES:
            raise HTTPException(404, "There is no such file.")
        return FileResponse(_FILES[name])

    @app.get("/{token}/{kind}/{name}")
    def media(token: str, kind: str, name: str) -> FileResponse:
        checked(token)
        try:
            return FileResponse(page.file(kind, name))
        except KeyError:
            raise HTTPException(404, "This chunk is not asked any more.") from None

    app.add_middleware(Guard)
    return app


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


@contextmanager
def served(page: LabelPage) -> Iterator[str]:
    """The page's address, while this lasts. Raises: OSError, Refused where it does not come up."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(application(page), log_level="error", ws="none", timeout_graceful_shutdown=1)
        server = _Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="label page", daemon=True)
        thread.start()
        try:
            if not server.up.wait(_UP_WITHIN_S):
                raise Refused("The page did not come up.", hint="Use the terminal: --show none.")
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/{page.token}/"
        finally:
            page.close()
            server.should_exit = True
            thread.join(5.0)
