"""create_app: the review page and the JSON API as one FastAPI application, from values that `server.run` gives it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from server.database.store import Store
from server.dataset.folder import Dataset
from server.releases.sheet import ModelSheet
from server.voice.speech import SpokenTexts
from server.web import api, batch, by_ear, deeds, installable, media, moments_page, page, review_api, teach
from server.web.guard import Guard
from server.web.page import PageDesk, PageRenderer
from server.web.review import Reviews
from server.web.teach import LessonsPort
from shared.clock import Clock
from shared.errors import WaycueError

if TYPE_CHECKING:  # older FastAPI has neither the module nor the exporters, and takes the setting without a word
    from fastapi.telemetry import TelemetryConfig

# FastAPI would hand requests and error texts to any OpenTelemetry exporter that the environment names.
_NO_TELEMETRY: TelemetryConfig = {
    "tracing": False, "metrics": False, "logs": False, "operation_spans": False, "auto_configure": False,
}  # fmt: skip
logger = logging.getLogger(__name__)


def create_app(
    store: Store,
    dataset: Dataset,
    *,
    clock: Clock,
    model: Callable[[], str | None] | None = None,
    models: Callable[[], Sequence[ModelSheet]] = tuple,
    hosts: Sequence[str] = (),
    lessons: LessonsPort | None = None,
) -> FastAPI:
    """The application; serve it with uvicorn.

    model: the version that devices are offered, asked for with every page
    models: every version and what it sees, for the page about that
    hosts: names besides the loopback ones that it answers to, without a port
    lessons: what may be taught at once; None = there is no page for that
    """
    # Interactive documentation would load its scripts from another site.
    app = FastAPI(
        title="waycue review", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json", telemetry=_NO_TELEMETRY
    )
    reviews = Reviews(store, dataset, clock)
    pages = PageRenderer(model, may_teach=lessons is not None)
    desk = PageDesk(store, dataset, reviews, pages, clock)
    app.include_router(api.router(store, reviews, clock=clock, model=model))
    app.include_router(review_api.router(store, dataset, reviews, clock))
    app.include_router(media.router(dataset.folder))
    app.include_router(moments_page.router(desk))  # before /moments/{id}
    app.include_router(page.router(desk, models))
    app.include_router(deeds.router(desk))
    app.include_router(by_ear.router(desk, SpokenTexts(clock)))
    app.include_router(installable.router(pages))
    app.include_router(batch.router(store, reviews, pages))
    if lessons is not None:
        app.include_router(teach.router(pages, lessons))
    app.mount("/static", StaticFiles(directory=page.STATIC))
    _answer_errors(app, pages)
    app.add_middleware(Guard, hosts=hosts)
    return app


def _answer_errors(app: FastAPI, pages: PageRenderer) -> None:
    """Every error becomes a sentence: JSON for the API and the media, a page for people."""

    def answer(request: Request, status: int, reason: str) -> Response:
        if request.url.path.startswith(("/api/", "/media/", "/healthz", "/static/")):
            return JSONResponse({"detail": reason}, status)
        return pages.trouble(status, reason)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        return answer(request, error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        return answer(request, 422, _in_words(error))

    @app.exception_handler(WaycueError)
    async def broken(request: Request, error: WaycueError) -> Response:
        return answer(request, 500, str(error))

    @app.exception_handler(SQLAlchemyError)
    async def no_database(request: Request, error: SQLAlchemyError) -> Response:
        logger.error("The database did not answer %s.", request.url.path, exc_info=error)
        return answer(request, 503, "The server's database did not answer. Wait a moment and try again.")

    @app.exception_handler(OSError)
    async def not_written(request: Request, error: OSError) -> Response:
        logger.error("A file could not be written for %s.", request.url.path, exc_info=error)
        return answer(request, 507, f"The server's disk did not take part ({error}). Free some space and try again.")


def _in_words(error: RequestValidationError) -> str:
    """What is wrong with a request's fields: "action: Input should be 'accept', 'edit', 'reject' or 'nothing'."."""
    sentences = []
    for item in error.errors():
        name = ".".join(str(level) for level in item["loc"] if level not in ("body", "query", "path"))
        sentences.append(f"{name or 'the request'}: {item['msg']}.")
    return " ".join(sentences)
