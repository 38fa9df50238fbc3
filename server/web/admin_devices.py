"""/admin/devices: what each reported and waits for; one is let in by a code and its QR picture, or locked out.

A code is shown once, in the answer to the form that asked for it: nothing that is kept or logged has it.
"""

from __future__ import annotations

from typing import Annotated

import segno
from fastapi import APIRouter, Form, Query
from fastapi.responses import HTMLResponse, Response
from markupsafe import Markup

from server.admin import fleet
from server.web.admin_desk import DONE_MOST, AdminDesk, back, size, when
from server.web.page import PageRenderer
from shared import setup_code
from shared.errors import ConfigError, Refused
from shared.setup_code import SetupCode

HERE = "/admin/devices"
HOURS_MOST = 720.0
Done = Annotated[str, Query(max_length=DONE_MOST)]


def add_routes(routes: APIRouter, pages: PageRenderer, desk: AdminDesk) -> None:
    """Looking, letting in, locking out."""
    _add_looking(routes, pages, desk)
    _add_changing(routes, pages, desk)


def _list(pages: PageRenderer, desk: AdminDesk, *, done: str = "", error: str = "", status: int = 200) -> HTMLResponse:
    now_utc = desk.watched.clock.utc_s()
    devices = desk.watched.devices()
    return pages.render(
        "admin_devices.html",
        status=status,
        here="devices",
        devices=devices,
        troubles={device.name: fleet.troubles(device, now_utc=now_utc) for device in devices},
        may_enrol=desk.may_enrol,
        done=done,
        error=error,
        when=when,
        size=size,
    )


def _add_looking(routes: APIRouter, pages: PageRenderer, desk: AdminDesk) -> None:
    @routes.get("/devices")
    def listed(done: Done = "") -> HTMLResponse:
        return _list(pages, desk, done=done)

    @routes.get("/devices/{name}")
    def one(name: str) -> HTMLResponse:
        device = next((each for each in desk.watched.devices() if each.name == name), None)
        if device is None:
            return pages.trouble(404, f"No device is called {name!r:.40}.")
        return pages.render(
            "admin_device.html",
            here="devices",
            device=device,
            troubles=fleet.troubles(device, now_utc=desk.watched.clock.utc_s()),
            certificates=desk.watched.claims.certificates.of(name),
            when=when,
            size=size,
        )


def _add_changing(routes: APIRouter, pages: PageRenderer, desk: AdminDesk) -> None:
    claims = desk.watched.claims

    @routes.post("/devices")
    def let_in(
        name: Annotated[str, Form(max_length=64)],
        cohort: Annotated[str, Form(max_length=96)] = "",
        hours: Annotated[float, Form(gt=0, le=HOURS_MOST)] = 24.0,
    ) -> HTMLResponse:
        if not desk.may_enrol:
            return _list(pages, desk, error="No device can enrol: see broker.tls and enrol.address.", status=409)
        try:
            server = desk.enrolment_address()
            claim = claims.add(name.strip(), cohort=cohort.strip() or None, hours=hours)
        except (Refused, ConfigError) as error:
            return _list(pages, desk, error=str(error), status=422)
        text = setup_code.text_of(SetupCode(server, claim.device, claim.code, None))
        picture = segno.make_qr(text, error="m").svg_inline(scale=1, border=4, light="white", omitsize=True)
        return pages.render(
            "admin_code.html", here="devices", claim=claim, server=server, picture=Markup(picture), when=when
        )

    @routes.post("/devices/{name}/revoke")
    def lock_out(
        name: str, why: Annotated[str, Form(max_length=300)] = "", confirm: Annotated[str, Form(max_length=64)] = ""
    ) -> Response:
        if confirm.strip() != name:
            error = f"Nothing was done: type {name} to confirm."
            return _list(pages, desk, error=error, status=422)
        try:
            count = claims.certificates.revoke(name, why.strip() or "revoked on the page")
        except Refused as refused:
            return _list(pages, desk, error=str(refused), status=404)
        return back(HERE, f"{name} is locked out: {count} certificates were taken back.")
