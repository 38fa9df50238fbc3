"""Messages arrive at a real HTTP server and a real mail server; what holds is found in a real home; addresses are in no
log."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from server.admin.fleet import FleetDevice
from server.admin.nights import NightRecord
from server.admin.storage import StorageForecast, StorageOutlook
from server.broker.child import free_port
from server.consent.settings import ConsentSettings
from server.privacy import deletion, making_room
from server.privacy.space_settings import SpaceSettings
from server.telling import look, loop, people, send
from server.telling.loop import Telling
from server.telling.people import PersonTold
from server.telling.step import NewsItem, NewsKey, NewsKind
from shared.clock import ManualClock
from shared.errors import ConfigError, Refused
from shared.messages import HelpRecord
from tests.server.commands.terminal import server
from tests.server.dataset.moments import House, moment
from tests.server.web.serving import seed

NIGHT = NewsItem(NewsKey(NewsKind.NIGHT, "7"), "The last night failed.")
SECRET = "topic-4f1c9d"


class Inbox:
    """What a server received."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.status = 200

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:  # noqa: N802  aiosmtpd's name
        self.got.append(envelope)
        return "250 OK"


@contextmanager
def http_server(inbox: Inbox) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            inbox.got.append((self.path, json.loads(body)))
            self.send_response(inbox.status)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture
def house(memory_path: Path) -> Iterator[House]:
    house = House(memory_path / "home", clock=ManualClock(epoch_s=1_795_200_000.0))
    yield house
    house.close()


def test_a_message_arrives_by_ntfy_and_json_once_and_no_log_names_the_address(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    inbox, clock = Inbox(), ManualClock(epoch_s=1_795_200_000.0)
    with http_server(inbox) as port, caplog.at_level(logging.DEBUG):
        urls = (f"ntfy://ana:hunter2@127.0.0.1:{port}/{SECRET}", f"json://127.0.0.1:{port}/{SECRET}")
        people.put(house.home, "Ana", PersonTold(urls))
        telling = Telling(house.home, lambda: [NIGHT], clock, link="https://waycue.example.org")
        telling.round()
        telling.round()
        ntfy, plain = inbox.got
        assert ntfy[1]["message"] == "The last night failed.\nhttps://waycue.example.org"
        assert ntfy[1]["topic"] == SECRET
        assert plain == (f"/{SECRET}", plain[1])
        assert plain[1]["message"].startswith("The last night failed.")
        inbox.status = 503
        clock.sleep(13 * 3600)
        telling.round()
        assert len(inbox.got) == 4
        telling.round()
        assert len(inbox.got) == 4, "it waits before it tries again"
        clock.sleep(120)
        inbox.status = 200
        telling.round()
        assert len(inbox.got) == 6
        with pytest.raises(Refused):
            telling.test("Nobody")
        telling.test("Ana")
        assert inbox.got[-1][1]["message"].startswith("This is a test")
    assert "Ana was not told by ntfy, json" in caplog.text
    assert SECRET not in caplog.text
    assert "hunter2" not in caplog.text
    before = len(inbox.got)
    Telling(house.home, lambda: [NIGHT], clock).round()
    assert len(inbox.got) == before, "a restart tells nothing again"
    assert (house.home / people.FILE).stat().st_mode & 0o077 == 0


def test_a_message_arrives_by_e_mail(house: House) -> None:
    inbox, port = Inbox(), free_port()
    controller = Controller(inbox, hostname="127.0.0.1", port=port, ready_timeout=120.0)
    controller.start()
    try:
        url = f"mailto://127.0.0.1:{port}/?from=waycue@example.org&to=ana@example.org&format=text"
        people.put(house.home, "Ana", PersonTold((url,)))
        Telling(house.home, lambda: [NIGHT], house.clock).round()
    finally:
        controller.stop()
    (envelope,) = inbox.got
    assert envelope.rcpt_tos == ["ana@example.org"]
    assert "The last night failed." in readable(envelope.content)


def readable(content: bytes) -> str:
    import email

    found: Message = email.message_from_bytes(content)
    parts = [part.get_payload(decode=True) for part in found.walk() if not part.is_multipart()]
    return "\n".join(part.decode() for part in parts if isinstance(part, bytes))


def test_what_holds_is_found_in_the_home_and_says_nothing_of_a_wearer(house: House) -> None:
    seed(house)
    house.send(moment(8, flags=("stopped",)))  # as urgent as a correction, and none
    house.merge.put_record("pi-1", "help", HelpRecord("pi-1-b00t-h001", "pi-1", 0.0, clock_synced=False))
    record = NightRecord(house.store, house.clock)
    record.end("failed", reasons=["The disk is full."])
    now_utc = house.clock.utc_s()
    silent = FleetDevice(
        "pi-9", "", "enrolled", False, False, now_utc - 4 * 86_400, now_utc + 86_400, "", None, "", (), 0
    )
    found = look.gathered(house.store, [silent], {"The authority": now_utc - 1}, now_utc=now_utc)
    said = {item.key.kind: item.text for item in look.items(found)}
    assert said[NewsKind.CORRECTION] == "2 spoken corrections wait for review."
    assert said[NewsKind.SILENT] == "pi-9 was not heard of for 4 days."
    assert said[NewsKind.NIGHT] == "The last night failed. The page says why."
    assert said[NewsKind.HELP] == "The wearer of pi-1 asked for help."
    assert {item.text for item in look.items(found) if item.key.kind is NewsKind.CERTIFICATE} == {
        "The certificate of pi-9 ends in 1 days. It is renewed when it comes online.",
        "The authority has ended.",
    }
    everything = " ".join(item.text for item in look.items(found))
    assert not any(word in everything for word in ("Ada", "shop", "cone", "walk-1"))


def test_a_disk_that_fills_up_and_what_goes_for_it_are_told_without_names(house: House) -> None:
    seed(house)
    port = deletion.port_of(house.home, house.store, house.dataset, house.clock, house.merge)
    tight = SpaceSettings(dataset_most_gb=1e-9, unreviewed=True)
    making_room.run(port, tight, ConsentSettings(), 0.0)
    disk = StorageOutlook(10**12, 10**12, StorageForecast(10**9, 9.0), warn_days=14)
    found = look.gathered(house.store, [], {}, now_utc=house.clock.utc_s(), disk=disk)
    said = {item.key.about: item.text for item in look.items(found) if item.key.kind is NewsKind.DISK}
    assert said["soon"] == "At this rate the server's disk is full in 9 days."
    assert re.fullmatch(
        r"From [\d-]+ on, 4 moments may be deleted to make room, 4 of them not reviewed.", said["space"]
    )
    assert "Ada" not in " ".join(said.values())
    making_room.run(port, replace(tight, unreviewed=False), ConsentSettings(), 0.0)
    found = look.gathered(house.store, [], {}, now_utc=house.clock.utc_s(), disk=replace(disk, warn_days=7))
    said = {item.key.about: item.text for item in look.items(found) if item.key.kind is NewsKind.DISK}
    assert "soon" not in said
    assert "cannot be made free" in said["short"]


@pytest.mark.parametrize(
    ("person", "reason"),
    [
        (PersonTold(()), "0 addresses"),
        (PersonTold(("json://h",), kinds=("nights",)), "There are: correction"),
        (PersonTold(("json://h",), quiet="22-7"), '"22:00-07:00"'),
        (PersonTold(("json://h",), zone="Mars/Olympus"), "no time zone"),
        (PersonTold(("json://h",), zone="../../etc/passwd"), "no time zone"),
    ],
)
def test_a_person_that_cannot_be_is_refused_in_words(tmp_path: Path, person: PersonTold, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        people.put(tmp_path, "Ana", person)
    assert not (tmp_path / people.FILE).exists()


def test_comments_and_other_people_stay_when_one_is_changed(tmp_path: Path) -> None:
    (tmp_path / people.FILE).write_text('# mine\n[Bo]\nurls = ["json://h"]  # his phone\n')
    people.put(tmp_path, "Ana", PersonTold(("json://a",), quiet="22:00-07:00"))
    text = (tmp_path / people.FILE).read_text()
    assert "# mine" in text
    assert "# his phone" in text
    assert people.recipient("Ana", people.load(tmp_path)["Ana"]).quiet is not None


def test_an_address_that_cannot_be_read_is_named_by_its_service_alone() -> None:
    with pytest.raises(ConfigError, match="an unknown service") as found:
        send.check([f"nonsense {SECRET}"])
    assert SECRET not in str(found.value)


def test_a_damaged_memory_is_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / loop.STATE).write_text('{"told": 3}')
    assert loop.read(tmp_path).at_utc == {}


def test_the_command_adds_lists_tests_and_removes_and_shows_no_address(house: House) -> None:
    server(house.home, "init")
    inbox = Inbox()
    with http_server(inbox) as port:
        address = f"json://127.0.0.1:{port}/{SECRET}"
        chosen = ("--kind", "night", "--quiet", "22:00-07:00", "--zone", "Europe/Berlin", "--wearer", "Ada")
        added = server(house.home, "telling", "add", "Ana", *chosen, typed=f"# hers\n\n{address}\n")
        assert (added.returncode, added.stderr) == (0, "")
        ana = people.load(house.home)["Ana"]
        assert (ana.urls, ana.wearers, ana.help_in_quiet) == ((address,), ("Ada",), True)
        listed = server(house.home, "telling", "list").stdout
        assert "not from 22:00 to 07:00 (Europe/Berlin, but for calls for help)" in listed
        assert "calls for help of Ada alone" in listed
        done = server(house.home, "telling", "test")
        assert (done.returncode, done.stdout) == (0, "Ana was sent a test.\n")
        assert inbox.got[0][1]["message"].startswith("This is a test")
        inbox.status = 503
        failed = server(house.home, "telling", "test", "Ana", "--json")
        assert failed.returncode == 1
        (outcome,) = json.loads(failed.stdout)
        assert (outcome["name"], outcome["took_it"]) == ("Ana", False)
        Telling(house.home, lambda: [NIGHT], house.clock).round()
    (row,) = json.loads(server(house.home, "telling", "list", "--json").stdout)
    assert (row["services"], row["kinds"], row["told_at_s"], row["failures"]) == (["json"], ["night"], None, 1)
    everything = [server(house.home, "telling", *words) for words in (("list",), ("list", "--json"), ("test",))]
    assert not any(SECRET in done.stdout + done.stderr for done in everything)
    assert server(house.home, "telling", "add", "Ben", typed="nonsense").returncode == 2
    assert server(house.home, "telling", "add", "Bo", "--help-waits", typed="json://bo").returncode == 0
    assert not people.load(house.home)["Bo"].help_in_quiet
    server(house.home, "telling", "remove", "Bo")
    assert server(house.home, "telling", "remove", "Ana").returncode == 0
    nobody = server(house.home, "telling", "test")
    assert (nobody.returncode, "telling add NAME" in nobody.stderr) == (1, True)
    assert server(house.home / "none", "telling", "list").returncode == 2
