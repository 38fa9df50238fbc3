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

from server.access.service import Access
from server.database.store import Store
from server.dataset.folder import Dataset
from server.metrics.requests import Counted
from server.privacy.desk import PrivacyDesk
from server.releases.sheet import ModelSheet
from server.voice.speech import SpokenTexts
from server.web import (
    account_page,
    accounts_api,
    admin,
    api,
    batch,
    by_ear,
    consent,
    deeds,
    ear_deleting,
    ear_near,
    installable,
    media,
    moments_page,
    no_database,
    page,
    people_page,
    push_page,
    review_api,
    signing_in,
    teach,
)
from server.web.admin_desk import AdminDesk
from server.web.by_ear import EarDesk
from server.web.entry import Entry, is_for_programs
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
    access: Access | None = None,
    alone: bool = True,
    privacy: PrivacyDesk | None = None,
    desk: AdminDesk | None = None,
) -> FastAPI:
    """The application; serve it with uvicorn.

    model: the version that devices are offered, asked for with every page
    models: every version and what it sees, for the page about that
    hosts: names besides the loopback ones that it answers to, without a port
    lessons: what may be taught at once; None = there is no page for that
    access: who may come in; None = as the store has it
    alone: only this machine can reach the page: while there is no account, it may be used without one
    privacy: consent, deleting and blurring; None = there are no pages for that
    desk: what the pages for admins and of web push work on; None = there are none
    """
    # Interactive documentation would load its scripts from another site.
    app = FastAPI(
        title="waycue review", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json", telemetry=_NO_TELEMETRY
    )
    reviews = Reviews(store, dataset, clock)
    pages = PageRenderer(model, may_teach=lessons is not None, may_delete=privacy is not None)
    review_desk = PageDesk(store, dataset, reviews, pages, clock)
    app.include_router(api.router(store, reviews, clock=clock, model=model))
    app.include_router(review_api.router(store, dataset, reviews, clock))
    app.include_router(media.router(dataset.blobs))
    app.include_router(moments_page.router(review_desk))  # before /moments/{id}
    app.include_router(page.router(review_desk, models))
    app.include_router(deeds.router(review_desk))
    ear = EarDesk(review_desk, SpokenTexts(clock))
    by_sound = by_ear.router(ear), ear_near.router(ear)
    for routes in (*by_sound, installable.router(pages), batch.router(store, reviews, pages)):
        app.include_router(routes)
    if lessons is not None:
        app.include_router(teach.router(pages, lessons))
    if privacy is not None:
        app.include_router(consent.router(store, pages, privacy))
        app.include_router(ear_deleting.router(ear, privacy))
    if desk is not None:
        _add_admin(app, pages, desk)
        app.include_router(push_page.router(pages, desk.push))
    app.mount("/static", StaticFiles(directory=page.STATIC))
    access = access or Access(store, clock)
    app.include_router(signing_in.router(pages, access))
    app.include_router(account_page.router(pages, access))
    app.include_router(people_page.router(pages, access))
    app.include_router(accounts_api.router(access))
    _answer_errors(app, pages)
    app.add_middleware(Entry, access=access, alone=alone, trouble=pages.trouble)
    app.add_middleware(Guard, hosts=hosts)
    return app


def _add_admin(app: FastAPI, pages: PageRenderer, desk: AdminDesk) -> None:
    pages.may_admin = True
    app.include_router(admin.router(pages, desk))
    app.add_middleware(Counted, counts=desk.metrics.requests)


def _answer_errors(app: FastAPI, pages: PageRenderer) -> None:
    """Every error becomes a sentence: JSON for the API and the media, a page for people."""

    def answer(request: Request, status: int, reason: str) -> Response:
        if is_for_programs(request.url.path):
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
    async def not_kept(request: Request, error: SQLAlchemyError) -> Response:
        logger.error("The database did not answer %s.", request.url.path, exc_info=error)
        return answer(request, 503, no_database.in_words(error))

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
