"""Web push: encrypted as RFC 8291 says, to whom it concerns alone, by services that are allowed, to browsers that are
still there. The push service is a real one of the tests', which decrypts with another's implementation."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from server.access import visible
from server.consent.terms import GRANTED, SeenBy
from server.telling import look, people, vapid, webpush
from server.telling.loop import Telling, TellingWays
from server.telling.people import PersonTold
from server.telling.push import TESTS, PushWay, payload
from server.telling.settings import TellingSection
from server.telling.step import NewsItem, NewsKey, NewsKind
from server.telling.webpush import PLAIN_MOST, PushSubscription
from shared.errors import ConfigError, Refused
from tests.server.access.people import PEOPLE, Town
from tests.server.dataset.moments import moment, sound, spoken
from tests.server.telling.push_services import PushService, claims_of

NIGHT = NewsItem(NewsKey(NewsKind.NIGHT, "7"), "The last night failed.")
HELP_OF_ADA = NewsItem(NewsKey(NewsKind.HELP, "h1"), "The wearer of pi-1 asked for help.", wearer="Ada")
HELP_OF_BOB = NewsItem(NewsKey(NewsKind.HELP, "h2"), "The wearer of pi-2 asked for help.", wearer="Bob")
VECTOR = {
    "plain": b"When I grow up, I want to be a watermelon",
    "own": "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw",
    "theirs": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
    "auth": "BTBZMqHH6r4Tts7J_aSIgg",
    "salt": "DGv6ra1nlYgDCS1FRnbzlw",
    "message": (
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl"
        "95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    ),
}
"""RFC 8291, section 5 and appendix A."""


def way(site: Town, service: PushService) -> PushWay:
    section = TellingSection(push_services=(service.origin,), push_contact="mailto:ana@example.org")
    return PushWay(site.house.home, site.house.store, site.clock, section)


def telling(site: Town, push: PushWay, *items: NewsItem) -> Telling:
    return Telling(
        site.house.home, lambda: items, site.clock, ways=TellingWays(push=push), link="https://waycue.example.org"
    )


def shown(service: PushService, browser: Any) -> list[str]:
    return [json.loads(body)["body"] for body in service.bodies(browser)]


def test_a_message_is_encrypted_to_the_byte_as_the_standard_shows() -> None:
    own = ec.derive_private_key(int.from_bytes(vapid.bytes_of(str(VECTOR["own"]))), ec.SECP256R1())
    subscription = PushSubscription("https://push.example.net/x", str(VECTOR["theirs"]), str(VECTOR["auth"]))
    plain, salt = VECTOR["plain"], vapid.bytes_of(str(VECTOR["salt"]))
    assert isinstance(plain, bytes)
    found = webpush.encrypted(plain, subscription, own=own, salt=salt)
    assert vapid.unpadded(found) == VECTOR["message"]
    assert webpush.encrypted(plain, subscription) != webpush.encrypted(plain, subscription)


def test_a_browser_is_told_once_and_only_it_can_read_it(
    site: Town, service: PushService, caplog: pytest.LogCaptureFixture
) -> None:
    push, phone = way(site, service), service.browser("secret-1")
    push.subscribe(site.id_of("Ana"), phone.subscription)
    rounds = telling(site, push, NIGHT)
    with caplog.at_level(logging.DEBUG):
        rounds.round()
        rounds.round()
    ((_, headers, body),) = service.got
    claims = claims_of(headers)
    assert claims["aud"] == service.origin
    assert claims["sub"] == "mailto:ana@example.org"
    assert claims["k"] == push.public_key()
    assert 0 < claims["exp"] - site.clock.utc_s() <= 24 * 3600
    assert (headers["content-encoding"], headers["urgency"], headers["ttl"]) == ("aes128gcm", "normal", "86400")
    assert b"night" not in body
    assert shown(service, phone) == ["The last night failed."]
    assert "secret-1" not in caplog.text
    assert (site.house.home / vapid.FILE).stat().st_mode & 0o077 == 0
    site.clock.sleep(13 * 3600)
    Telling(site.house.home, lambda: [NIGHT], site.clock, ways=TellingWays(push=way(site, service))).round()
    assert shown(service, phone) == ["The last night failed."], "it holds still, after the cool-down and a restart"


@pytest.mark.parametrize("status", [404, 410])
def test_a_browser_that_is_gone_is_forgotten_and_one_that_is_away_is_tried_again(
    status: int, site: Town, service: PushService
) -> None:
    push, phone = way(site, service), service.browser("one")
    push.subscribe(site.id_of("Ana"), phone.subscription)
    rounds = telling(site, push, NIGHT)
    service.status = 503
    rounds.round()
    rounds.round()
    assert len(service.got) == 1, "it waits before it tries again"
    site.clock.sleep(120)
    service.status = status
    rounds.round()
    assert len(service.got) == 2
    assert push.browsers.of(site.id_of("Ana")) == ()
    site.clock.sleep(13 * 3600)
    rounds.round()
    assert len(service.got) == 2


def test_quiet_hours_hold_everything_back_but_a_call_for_help_which_may_be_turned_off(
    site: Town, service: PushService
) -> None:
    push, phone, ana = way(site, service), service.browser("one"), site.id_of("Ana")
    push.subscribe(ana, phone.subscription)
    push.browsers.choose(ana, PersonTold(quiet="00:00-23:59"))
    telling(site, push, NIGHT, HELP_OF_ADA).round()
    assert [headers["urgency"] for _, headers, _ in service.got] == ["high"]
    assert shown(service, phone) == [HELP_OF_ADA.text]
    push.browsers.choose(ana, PersonTold(quiet="00:00-23:59", help_in_quiet=False))
    telling(site, push, NIGHT, HELP_OF_BOB).round()
    assert shown(service, phone) == []
    push.browsers.choose(ana, PersonTold(kinds=("night",)))
    telling(site, push, NIGHT, HELP_OF_BOB).round()
    assert shown(service, phone) == [NIGHT.text]
    with pytest.raises(ConfigError, match="no time zone"):
        push.browsers.choose(ana, PersonTold(zone="Mars/Olympus"))


@pytest.mark.parametrize("control", ["on", "off"])
def test_a_caregiver_hears_of_their_wearers_alone(
    control: str, site: Town, service: PushService, monkeypatch: pytest.MonkeyPatch
) -> None:
    if control == "off":
        monkeypatch.setattr(visible, "may_see_wearer", lambda *_: True)
        monkeypatch.setattr(visible, "conditions", lambda *_: [])
    push = way(site, service)
    phones = {name: service.browser(name) for name in ("Wanda", "Carl", "Ana")}
    for name, phone in phones.items():
        push.subscribe(site.id_of(name), phone.subscription)
    for n, (wearer, device) in enumerate((("Ada", "pi-1"), ("Bob", "pi-2"), ("Bob", "pi-2")), start=20):
        sent = moment(n, wearer=wearer, device=device)
        site.house.send(sent)
        site.house.send(spoken(sent.record.chunk_id, sound(n), n=n, device=device, wearer=wearer))
    items = [*look.correction_items(3), HELP_OF_ADA, HELP_OF_BOB, NIGHT]
    telling(site, push, *items).round()
    heard = {name: shown(service, phone) for name, phone in phones.items()}
    assert heard["Ana"] == ["\n".join(item.text for item in items)]
    one = "1 spoken correction waits for review."
    if control == "off":
        assert HELP_OF_BOB.text in heard["Carl"][0]
        assert heard["Wanda"] == ["3 spoken corrections wait for review."]
    else:
        assert heard["Wanda"] == [one]
        assert heard["Carl"] == [f"{one}\n{HELP_OF_ADA.text}"]


def test_a_wearer_whom_an_admin_gave_to_somebody_reaches_them_whatever_is_shown(
    site: Town, service: PushService
) -> None:
    push, phone = way(site, service), service.browser("Carl")
    push.subscribe(site.id_of("Carl"), phone.subscription)
    site.agrees("Ada", replace(GRANTED, seen=SeenBy.NOBODY))
    telling(site, push, HELP_OF_ADA, HELP_OF_BOB).round()
    assert shown(service, phone) == [HELP_OF_ADA.text]


def test_a_person_of_the_file_hears_of_the_wearers_that_it_names() -> None:
    items = (NIGHT, HELP_OF_ADA, HELP_OF_BOB)
    assert people.told_of(PersonTold(wearers=("Ada",)), items) == (NIGHT, HELP_OF_ADA)
    assert people.told_of(PersonTold(), items) == items


@pytest.mark.parametrize("control", ["on", "off"])
@pytest.mark.parametrize(
    "endpoint",
    [
        "http://127.0.0.1:1883/",
        "https://169.254.169.254/latest/meta-data",
        "https://fcm.googleapis.com@192.168.1.1/",
        "https://fcm.googleapis.com.evil.example/",
        "https://user@fcm.googleapis.com/",
        "https://fcm.googleapis.com:8443/",
        "http://fcm.googleapis.com/",
        "https://evil.example/.push.apple.com",
        "https://[::1/",
        "file:///etc/passwd",
    ],
)
def test_the_server_is_made_to_call_no_other_place(
    endpoint: str, control: str, site: Town, service: PushService, monkeypatch: pytest.MonkeyPatch
) -> None:
    push = PushWay(site.house.home, site.house.store, site.clock, TellingSection())
    if control == "off":
        monkeypatch.setattr(webpush, "check", lambda *_: None)
    subscription = replace(service.browser("x").subscription, endpoint=endpoint)
    if control == "on":
        with pytest.raises(Refused):
            push.subscribe(site.id_of("Wanda"), subscription)
    else:
        push.subscribe(site.id_of("Wanda"), subscription)
    assert len(push.browsers.of(site.id_of("Wanda"))) == (control == "off")


def test_services_of_browsers_are_taken_and_malformed_keys_are_not(site: Town, service: PushService) -> None:
    good = service.browser("x").subscription
    services = TellingSection().push_services
    for host in (
        "fcm.googleapis.com/fcm/send/a:b",
        "updates.push.services.mozilla.com/wpush/v2/c",
        "web.push.apple.com/Q",
    ):
        webpush.check(replace(good, endpoint=f"https://{host}"), services)
    faults: list[dict[str, str]] = [{"p256dh": "AAAA"}, {"auth": "AAAA"}, {"p256dh": good.p256dh[:-4] + "AAAA"}]
    faults += [{"auth": "ä" * 22}, {"endpoint": f"https://fcm.googleapis.com/{'x' * 1000}"}]
    for wrong in faults:
        with pytest.raises(Refused):
            webpush.check(replace(good, **{"endpoint": "https://fcm.googleapis.com/a", **wrong}), services)


def test_a_removed_account_is_told_nothing_any_more(site: Town, service: PushService) -> None:
    push, phone, carl = way(site, service), service.browser("Carl"), site.id_of("Carl")
    push.subscribe(carl, phone.subscription)
    push.browsers.choose(carl, PersonTold(quiet="22:00-07:00"))
    site.access.accounts.remove(carl)
    assert not push.browsers.any()
    telling(site, push, HELP_OF_ADA).round()
    assert service.got == []


def test_a_key_that_others_can_read_stops_push_alone(site: Town, service: PushService) -> None:
    push, phone = way(site, service), service.browser("one")
    push.subscribe(site.id_of("Ana"), phone.subscription)
    push.public_key()
    (site.house.home / vapid.FILE).chmod(0o644)
    told = list[str]()
    people.put(site.house.home, "Bo", PersonTold(("json://127.0.0.1:9/",)))

    def post(_urls: Sequence[str], lines: Sequence[str]) -> tuple[str, ...]:
        told.extend(lines)
        return ()

    Telling(site.house.home, lambda: [NIGHT], site.clock, ways=TellingWays(post, push)).round()
    assert told == [NIGHT.text]
    assert service.got == []


def test_a_long_message_loses_its_last_lines_and_fits() -> None:
    data = payload([f"line {n} " + "ü" * 200 for n in range(40)])
    assert len(data) <= PLAIN_MOST
    assert json.loads(data)["body"].startswith("line 0 ")


def test_services_that_do_not_answer_are_waited_for_together(
    site: Town, service: PushService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webpush, "TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        origin = f"http://127.0.0.1:{silent.getsockname()[1]}"
        section = TellingSection(push_services=(service.origin, origin))
        push, phone = PushWay(site.house.home, site.house.store, site.clock, section), service.browser("one")
        for number in range(6):
            push.subscribe(site.id_of("Ana"), replace(phone.subscription, endpoint=f"{origin}/{number}"))
        push.subscribe(site.id_of("Ana"), phone.subscription)
        began_s = time.monotonic()
        telling(site, push, HELP_OF_ADA).round()
        assert time.monotonic() - began_s < 6 * 0.5
    assert shown(service, phone) == [HELP_OF_ADA.text]


def test_nobody_has_the_server_send_test_after_test(site: Town, service: PushService) -> None:
    push, phone = way(site, service), service.browser("one")
    carl, other = site.id_of("Carl"), site.id_of("Ana")
    push.subscribe(carl, phone.subscription)
    for _ in range(TESTS):
        push.test(carl, PEOPLE["Carl"], "a test")
    with pytest.raises(Refused, match="just now"):
        push.test(carl, PEOPLE["Carl"], "a test")
    push.subscribe(other, service.browser("two").subscription)
    push.test(other, PEOPLE["Ana"], "a test")
    site.clock.sleep(60)
    push.test(carl, PEOPLE["Carl"], "a test")
    assert len(service.got) == TESTS + 2
