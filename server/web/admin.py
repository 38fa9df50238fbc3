"""The pages for admins, /admin/…: plain forms, tables and pictures made here; no JavaScript. And /metrics.

admin            puts them together; overview, progress, coverage, error patterns, storage
admin_models     versions, promote, roll back, rollouts
admin_nights     nights
admin_devices    devices, adding one, revoking one
admin_settings   settings
admin_telling    who is told what
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import HTMLResponse

from server.admin import better, charts, health, nights, storage
from server.admin.charts import AdminChart, ChartBar
from server.admin.reckoning import ErrorFigures
from server.privacy import making_room
from server.review import coverage, figures, patterns
from server.review.coverage import Coverage
from server.web import admin_devices, admin_metrics, admin_models, admin_nights, admin_settings, admin_telling
from server.web.admin_desk import DONE_MOST, AdminDesk, admin_only, size, when
from server.web.page import PageRenderer

Done = Annotated[str, Query(max_length=DONE_MOST)]


def router(pages: PageRenderer, desk: AdminDesk) -> APIRouter:
    """All routes for admins, and /metrics."""
    routes = APIRouter(include_in_schema=False)
    own = APIRouter(prefix="/admin", dependencies=[Depends(admin_only)], include_in_schema=False)
    _add_figures(own, pages, desk)
    _add_dataset(own, pages, desk)
    for module in (admin_models, admin_nights, admin_devices, admin_settings, admin_telling):
        module.add_routes(own, pages, desk)
    routes.include_router(own)
    admin_metrics.add_routes(routes, desk)
    return routes


def _add_figures(routes: APIRouter, pages: PageRenderer, desk: AdminDesk) -> None:
    @routes.get("")
    def overview(done: Done = "") -> HTMLResponse:
        lines = health.lines(desk.watched.facts())
        return pages.render("admin_overview.html", here="", lines=lines, worst=health.worst(lines), done=done)

    @routes.get("/progress")
    def progress() -> HTMLResponse:
        registry, store = desk.watched.registry, desk.watched.store
        kept = desk.reckoned.get("corrections")
        found = better.progress(
            figures.course(store),
            registry.list(),
            nights.runs(store.home, store),
            corrections=kept.value,
            champion=registry.champion(),
        )
        drawn = [
            charts.shares("Right on the audit stream, week by week", found.weeks, what="week"),
            charts.shares("Right on the audit stream, by model", found.models, what="model"),
        ]
        return pages.render("admin_progress.html", here="progress", found=found, charts=drawn, when=when, reckoned=kept)


def _add_dataset(routes: APIRouter, pages: PageRenderer, desk: AdminDesk) -> None:
    @routes.get("/coverage")
    def recorded() -> HTMLResponse:
        known = desk.reckoned.get("coverage")
        found: Coverage | None = known.value
        drawn, todo = ([], []) if found is None else (_coverage_charts(found), coverage.next_up(found))
        return pages.render(
            "admin_coverage.html", here="coverage", found=found, charts=drawn, next=todo, reckoned=known, when=when
        )

    @routes.get("/errors")
    def errors() -> HTMLResponse:
        known = desk.reckoned.get("errors")
        found: ErrorFigures | None = known.value
        return pages.render(
            "admin_errors.html",
            here="errors",
            found=found,
            picture=None if found is None else _error_chart(found),
            reckoned=known,
            when=when,
        )

    @routes.get("/storage")
    def stored() -> HTMLResponse:
        known = desk.reckoned.get("storage")
        store, parts, disk = desk.watched.store, known.value or {}, desk.watched.outlook()
        bars = [
            ChartBar(name, float(used), 0.0, size(used)) for name, used in sorted(parts.items(), key=lambda p: -p[1])
        ]
        return pages.render(
            "admin_storage.html",
            here="storage",
            picture=charts.bars("What is stored", bars, head=("Part", "Size")) if bars else None,
            reckoned=known,
            when=when,
            used=size(sum(parts.values())),
            free=size(disk.free),
            total=size(disk.total),
            nearly_full=disk.nearly_full,
            forecast=storage.in_words(disk.forecast),
            bounded=desk.watched.space.bounded,
            space=making_room.in_words(making_room.standing(store), desk.watched.space),
        )


def _error_chart(found: ErrorFigures) -> AdminChart | None:
    kinds = Counter[str]()
    for item in found.patterns:
        kinds[item.kind] += item.count
    bars = [ChartBar(kind, float(kinds[kind]), 0.0, str(kinds[kind])) for kind in patterns.KINDS if kinds[kind]]
    return charts.bars("Errors by kind", bars, head=("Kind", "Moments")) if bars else None


def _coverage_charts(found: Coverage) -> list[AdminChart]:
    """One for each field, and one for what the plan asks for together."""
    grouped: dict[str, list[ChartBar]] = {}
    for cell in found.cells:
        title = f"Confirmed moments by {cell.where[0][0]}" if len(cell.where) == 1 else "Asked for together"
        text = f"{cell.confirmed} of {cell.want}" if cell.want else str(cell.confirmed)
        guessed = f" (+{cell.guessed})" if cell.guessed else ""
        bar = ChartBar(cell.name, float(cell.confirmed), float(cell.want), f"{text}{guessed}")
        grouped.setdefault(title, []).append(bar)
    return [charts.bars(title, bars, head=("What", "Confirmed (guessed)")) for title, bars in grouped.items()]
