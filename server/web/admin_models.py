"""/admin/models: every version with its verdict, one with its gate and results, promoting, rolling back, rollouts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

from fastapi import APIRouter, Form, Query
from fastapi.responses import HTMLResponse, Response

from server.admin import versions
from server.gate.evidence import GateDecision, of_dict
from server.releases.registry import PREVIOUS, RegisteredModel
from server.releases.rollout_requests import RolloutRequest
from server.releases.rollout_rules import Rollout, RolloutState
from server.releases.sheet import sheet_of
from server.web.admin_desk import DONE_MOST, AdminDesk, back, when
from server.web.page import PageRenderer
from shared.errors import BundleError, Refused

HERE = "/admin/models"
Why = Annotated[str, Form(max_length=300)]
Done = Annotated[str, Query(max_length=DONE_MOST)]


def add_routes(routes: APIRouter, pages: PageRenderer, desk: AdminDesk) -> None:
    """Looking and choosing."""
    _add_looking(routes, pages, desk)
    _add_choosing(routes, pages, desk)
    _add_rollouts(routes, pages, desk)


def _add_looking(routes: APIRouter, pages: PageRenderer, desk: AdminDesk) -> None:
    @routes.get("/models")
    def listed(done: Done = "") -> HTMLResponse:
        return _list(pages, desk, done=done)

    @routes.get("/models/{version}")
    def one(version: str, done: Done = "") -> HTMLResponse:
        return _one(pages, desk, version, done=done)


def _list(pages: PageRenderer, desk: AdminDesk, *, done: str = "", error: str = "", status: int = 200) -> HTMLResponse:
    registry = desk.watched.registry
    lines = tuple(reversed(versions.listed(registry)))
    return pages.render(
        "admin_models.html",
        status=status,
        here="models",
        lines=lines,
        previous=next((line.version for line in lines if line.role == PREVIOUS), ""),
        rollouts=desk.rollouts.status()[:10],
        log=tuple(reversed(registry.log()))[:30],
        done=done,
        error=error,
        when=when,
    )


def _one(
    pages: PageRenderer, desk: AdminDesk, version: str, *, done: str = "", error: str = "", status: int = 200
) -> HTMLResponse:
    registry = desk.watched.registry
    try:
        model = registry.get(version)
    except Refused as refused:
        return pages.trouble(404, str(refused))
    known = desk.reckoned.get("version", version)
    line = next(line for line in versions.listed(registry) if line.version == version)
    return pages.render(
        "admin_model.html",
        status=status,
        here="models",
        line=line,
        lineage=versions.lineage(version, registry.list()),
        sheet=sheet_of(model, line.role),
        gate=gate_of(model),
        champion=str(model.evaluation.get("champion", "")),
        rollouts=[each for each in desk.rollouts.status() if each.rollout.version == version],
        field=known.value,
        reckoned=known,
        devices=[device.name for device in desk.watched.devices() if device.state == "enrolled"],
        running=RolloutState.RUNNING,
        done=done,
        error=error,
        when=when,
    )


def gate_of(model: RegisteredModel) -> GateDecision | None:
    """What the gate decided, rule by rule; None where it judged nothing, or an older gate wrote otherwise."""
    judged = model.evaluation.get("gate")
    if not isinstance(judged, Mapping) or not judged:
        return None
    try:
        return of_dict(judged)
    except (KeyError, TypeError, ValueError):
        return None


def _add_choosing(routes: APIRouter, pages: PageRenderer, desk: AdminDesk) -> None:
    registry = desk.watched.registry

    @routes.post("/models/{version}/promote")
    def promote(version: str, why: Why = "") -> Response:
        if not why.strip():
            return _one(pages, desk, version, error="Say why: it stands in the log for good.", status=422)
        try:
            registry.promote(version, why.strip())
        except (Refused, BundleError) as error:
            return _list(pages, desk, error=str(error), status=409)
        return back(HERE, f"{version} is the champion; devices get it with their next update.")

    @routes.post("/models/rollback")
    def rollback(why: Why = "") -> Response:
        if not why.strip():
            return _list(pages, desk, error="Say why: it stands in the log for good.", status=422)
        try:
            version = registry.rollback(why.strip())
        except (Refused, BundleError) as error:
            return _list(pages, desk, error=str(error), status=409)
        return back(HERE, f"{version} is the champion again.")


def _add_rollouts(routes: APIRouter, pages: PageRenderer, desk: AdminDesk) -> None:
    @routes.post("/models/{version}/rollout")
    def start(
        version: str,
        why: Why = "",
        percent: Annotated[int, Form(ge=0, le=100)] = 0,
        device: Annotated[list[str] | None, Form(max_length=200)] = None,
        companion: Annotated[str, Form(max_length=200)] = "",
    ) -> Response:
        supervised = bool(companion.strip())
        request = RolloutRequest(
            version, percent, tuple(device or ()), supervised=supervised, companion=companion, why=why.strip()
        )
        try:
            desk.rollouts.start(request)
        except (Refused, BundleError) as error:
            return _list(pages, desk, error=str(error), status=409)
        return back(HERE, f"{version} is offered to {request.recipients()}.")

    @routes.post("/models/{version}/rollout/{step}")
    def change(version: str, step: str, why: Why = "") -> Response:
        take = _step(desk, step)
        if take is None:
            return pages.trouble(404, "A rollout is advanced, halted or finished.")
        try:
            after = take(version, why=why.strip())
        except (Refused, BundleError) as error:
            return _list(pages, desk, error=str(error), status=409)
        return back(HERE, f"The rollout of {version}: {after.state}, {after.percent} %.")


def _step(desk: AdminDesk, name: str) -> Callable[..., Rollout] | None:
    """What takes a rollout on, None for another name."""
    match name:
        case "advance":
            return desk.rollouts.advance
        case "halt":
            return desk.rollouts.halt
        case "finish":
            return desk.rollouts.finish
        case _:
            return None
