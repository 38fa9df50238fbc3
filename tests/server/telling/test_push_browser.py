"""The page of messages in a real Chromium, and its service worker. Offline no maker's service answers PushManager: what
it would answer is put in its place; all before and after it is the real thing."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

from server.telling.push import PushWay
from server.telling.settings import TellingSection
from server.web.app import create_app
from tests.server.access.people import Town
from tests.server.telling.push_services import Browser, PushService
from tests.server.web.browsing import ARGUMENTS, CHROMIUM
from tests.server.web.serving import served

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt install chromium)")
SUBSCRIBED = """(told) => {
  const plain = (text) => atob(text.replace(/-/g, "+").replace(/_/g, "/"));
  const bytes = (text) => Uint8Array.from(plain(text), (sign) => sign.charCodeAt(0)).buffer;
  const made = { endpoint: told.endpoint, options: {}, getKey: (name) => bytes(told[name]), unsubscribe: async () => {
    delete localStorage.push; return true;
  } };
  PushManager.prototype.getSubscription = async () => {
    const key = localStorage.push;
    return key ? { ...made, options: { applicationServerKey: bytes(key) } } : null;
  };
  PushManager.prototype.subscribe = async (options) => {
    if (options.applicationServerKey.length !== 65 || !options.userVisibleOnly) throw new Error("not a key");
    localStorage.push = btoa(String.fromCharCode(...options.applicationServerKey));
    return made;
  };
}"""
SHOWN = """() => navigator.serviceWorker.ready.then((found) => found.getNotifications()).then(
  (all) => all.map((one) => [one.title, one.body]))"""


def app_of(site: Town, service: PushService) -> Any:
    section = TellingSection(push_services=(service.origin,))
    push = PushWay(site.house.home, site.house.store, site.clock, section)
    desk = replace(site.desk(), push=push)
    return create_app(site.house.store, site.house.dataset, clock=site.clock, access=site.access, desk=desk), push


def opened(context: BrowserContext, url: str, phone: Browser) -> Page:
    page = context.new_page()
    told = phone.subscription
    values = {"endpoint": told.endpoint, "p256dh": told.p256dh, "auth": told.auth}
    page.add_init_script(f"({SUBSCRIBED})({json.dumps(values)})")
    page.goto(f"{url}/account/push")
    return page


def test_a_person_has_this_browser_told_and_takes_it_back_by_keyboard(site: Town, service: PushService) -> None:
    app, push = app_of(site, service)
    phone, complaints = service.browser("chromium"), list[str]()
    with served(app) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        context = browser.new_context(permissions=["notifications"])
        session = site.access.sessions.open(site.id_of("Carl"))
        context.add_cookies([{"name": "waycue", "value": session, "url": url}])
        page = opened(context, url, phone)
        page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.get_by_role("button", name="Tell me in this browser").press("Enter")
        expect(page.get_by_role("status").filter(has_text="from now on")).to_be_visible()
        expect(page.get_by_text("(this browser)")).to_be_visible()
        assert [one.subscription for one in push.browsers.of(site.id_of("Carl"))] == [phone.subscription]
        assert Axe().run(page).response["violations"] == []
        page.get_by_role("button", name="Send a test").press("Enter")
        expect(page.get_by_role("status").filter(has_text="on its way")).to_be_visible()
        (body,) = service.bodies(phone)
        assert worker_shows(context, page, url, body.decode()) == [["waycue", json.loads(body)["body"]]]
        page.get_by_label("a spoken correction waits").check()
        page.get_by_role("textbox", name="Quiet hours").fill("22:00-07:00")
        page.get_by_label("A call for help comes in quiet hours").uncheck()
        page.get_by_role("button", name="Save").press("Enter")
        expect(page.get_by_role("status").filter(has_text="Saved.")).to_be_visible()
        choices = push.browsers.choices(site.id_of("Carl"))
        assert (choices.kinds, choices.quiet, choices.help_in_quiet) == (("correction",), "22:00-07:00", False)
        page.get_by_role("button", name="Remove").press("Enter")
        expect(page.get_by_text("There is none.")).to_be_visible()
        expect(page.get_by_role("button", name="Tell me in this browser")).to_be_visible()
        browser.close()
    assert push.browsers.of(site.id_of("Carl")) == ()
    assert complaints == []


def worker_shows(context: BrowserContext, page: Page, url: str, data: str) -> Any:
    """What the real service worker shows when the browser hands it a message."""
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    tools, found = context.new_cdp_session(page), list[str]()

    def registered(event: dict[str, Any]) -> None:
        found.extend(one["registrationId"] for one in event["registrations"])

    tools.on("ServiceWorker.workerRegistrationUpdated", registered)
    tools.send("ServiceWorker.enable")
    page.wait_for_timeout(50)
    for _ in range(100):
        if found:
            break
        page.wait_for_timeout(50)
    tools.send("ServiceWorker.deliverPushMessage", {"origin": url, "registrationId": found[0], "data": data})
    for _ in range(100):
        if shown := page.evaluate(SHOWN):
            return shown
        page.wait_for_timeout(50)
    return []


def test_a_person_who_forbids_it_or_an_address_elsewhere_is_told_so(site: Town, service: PushService) -> None:
    app, push = app_of(site, service)
    with served(app) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        context = browser.new_context()
        session = site.access.sessions.open(site.id_of("Wanda"))
        context.add_cookies([{"name": "waycue", "value": session, "url": url}])
        page = opened(context, url, replace(service.browser("x"), endpoint="https://192.168.1.1/x"))
        page.get_by_role("button", name="Tell me in this browser").click()
        expect(page.get_by_text("does not let this page tell you anything")).to_be_visible()
        context.grant_permissions(["notifications"])
        page.get_by_role("button", name="Tell me in this browser").click()
        expect(page.get_by_text("Messages are not sent by way of 192.168.1.1.")).to_be_visible()
        assert page.evaluate("localStorage.push") is None, "the browser is not left subscribed"
        expect(page.get_by_label("a wearer asked for help")).to_have_count(0)
        browser.close()
    assert push.browsers.of(site.id_of("Wanda")) == ()
