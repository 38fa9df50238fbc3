"""The broker's queues are reckoned from how many devices are enrolled; with more, longer ones are written, and said."""

from __future__ import annotations

import json
import logging
import queue
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from server import config, worker
from server.admin import health
from server.admin.health import HealthFacts, HealthLevel
from server.broker import dynsec_rules, files, room
from server.broker.admission import AccessSync
from server.broker.files import BrokerListener
from server.commands.main import main
from server.database import store as db
from server.database.store import open_store
from server.dataset.folder import Dataset
from server.dataset.merge import Merge
from server.identity.authority import Authority
from server.identity.certificates import Certificates
from shared import credit
from shared.clock import SystemClock
from shared.credit import Ledger
from tests.pulse import until
from tests.secure import Card, SecureSite, csr_of_new_key, secure_site
from tests.security.intruder import Intruder

SMALL = "# Reckoned for 2 devices.\nmax_queued_messages 10\nmax_queued_bytes 1000000"
TEN = room.BrokerLimits(2, 10, 1_000_000)
DOWN = "wc/v1/anna/down/test"


def conf(enrolled: int) -> str:
    return files.configuration(Path("/b"), BrokerListener("127.0.0.1", 8883, "waycue", Path("/p.so")), enrolled)


def small(text: str) -> str:
    """A configuration of which the queues are soon full."""
    return text.replace(room.limits_for(0).lines(), SMALL)


@given(enrolled=st.integers(0, credit.MAX_DEVICES))
def test_all_that_enrolled_devices_may_send_fits_the_queue(enrolled: int) -> None:
    limits = room.limits_for(enrolled)
    assert enrolled <= limits.devices <= credit.MAX_DEVICES
    assert limits.devices <= max(100, enrolled * 1.5 + 100)
    greetings = limits.devices * credit.GREETINGS
    assert greetings + credit.QUEUE_UNITS <= limits.messages
    assert credit.QUEUE_UNITS * credit.UNIT_BYTES + greetings * room.GREETING_BYTES <= limits.bytes
    assert limits.bytes <= 256 * 2**20  # the memory of the broker stays bounded
    assert credit.devices_for(limits.messages) >= limits.devices
    assert room.limits_in(conf(enrolled)) == limits


@pytest.mark.parametrize("devices", [1, 100, 960, 3000])
def test_a_whole_fleet_that_greets_leaves_all_of_the_credit(devices: int) -> None:
    ledger = Ledger(credit.queue_for(devices), lambda: devices)
    for number in range(devices):
        ledger.wished(f"d{number}", 64, held=0, number=credit.FRESH)
        ledger.told(f"d{number}")
    assert ledger.capacity == credit.GRANTED_UNITS


def test_an_older_configuration_is_enough_for_a_thousand_and_raised_beyond() -> None:
    older = conf(0).replace(room.limits_for(0).lines(), "max_queued_messages 4000\nmax_queued_bytes 67108864")
    assert room.raised(older, 1000) is None
    after = room.raised(older, 1001)
    assert after is not None
    assert room.limits_in(after) == room.limits_for(1001)
    assert room.raised(after, 1001) is None
    added = set(after.splitlines()) - set(older.splitlines())
    assert added == set(room.limits_for(1001).lines().splitlines())


def test_what_somebody_raised_by_hand_stays_and_no_bound_stays_none() -> None:
    by_hand = small(conf(0)).replace("messages 10", "messages 50000")
    after = room.raised(by_hand, 3)
    assert after is not None
    assert "max_queued_messages 50000\n" in after
    assert room.limits_in(small(conf(0)).replace("messages 10", "messages 0")) is None
    assert room.raised(small(conf(0)).replace("messages 10", "messages 0"), 500) is None
    assert room.raised(conf(credit.MAX_DEVICES), credit.MAX_DEVICES + 1) is None  # what one server remembers


class Persistent:
    """A device whose session outlives its connection."""

    def __init__(self, site: SecureSite, card: Card) -> None:
        self.heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._ready: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="anna", protocol=MQTTProtocolVersion.MQTTv5)
        self.client.tls_set_context(card.context())
        self.client.on_connect = lambda client, *_: client.subscribe(DOWN, qos=1)
        self.client.on_subscribe = lambda *_: self._ready.put("")
        self.client.on_message = lambda _c, _d, message: self.heard.put(bytes(message.payload))
        expiry = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        expiry.SessionExpiryInterval = 600
        self.client.connect(site.host, site.port, clean_start=False, properties=expiry)
        self.client.loop_start()
        self._ready.get(timeout=10)

    def leave(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def kept(site: SecureSite, card: Card, count: int) -> int:
    """How many of so many messages the broker keeps for a device that is away."""
    Persistent(site, card).leave()
    with Intruder(site, site.server_context(), client_id=dynsec_rules.SERVER) as server:
        assert server.connect() == "Success"
        for _ in range(count):
            server.publish(DOWN, b"kept")
        device = Persistent(site, card)
        server.publish(DOWN, b"end")
        heard = []
        while (message := device.heard.get(timeout=10)) != b"end":
            heard.append(message)
        device.leave()
    return len(heard)


def test_a_broker_keeps_more_once_it_is_restarted_after_more_devices_were_enrolled(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with secure_site(tmp_path, change=small) as site, caplog.at_level(logging.INFO, "server.broker.admission"):
        card = site.enrol("anna")
        site.enrol("ben")
        assert files.look(site.folder, 2) == room.BrokerRoom(2, TEN, True, TEN, files.look(site.folder, 2).open_files)
        assert not [record for record in caplog.records if "queue" in record.getMessage()]
        site.enrol("cyd")
        before = files.look(site.folder, 3)
        assert (before.limits, before.written) == (TEN, room.limits_for(3))
        files.reload(site.folder)
        assert kept(site, card, 30) < 30  # so the credit goes on with ten
        said = [record.getMessage() for record in caplog.records if "queue" in record.getMessage()]
        assert (
            said[0] == "3 devices are enrolled: the broker's configuration has queues for 100 now, 1260 messages each."
        )
        assert "its queue is for 2" in said[1]
        assert "room for 100, once it is restarted: systemctl restart waycue-broker" in said[1]
        site.broker.stop()
        site.broker.start()
        assert kept(site, card, 30) == 30
        after = files.look(site.folder, 3)
        assert (after.limits, after.trouble, len(said)) == (room.limits_for(3), None, 2)


def test_what_a_process_began_with_is_known_until_it_has_ended() -> None:
    began = room.noted(conf(150), "7-99", TEN)
    assert room.limits_of("7-99", began) == TEN
    assert room.limits_of("7-100", began) == room.limits_of("", began) == room.limits_in(began) == room.limits_for(150)
    again = room.noted(conf(900), "7-99", room.limits_of("7-99", began))  # raised twice before a restart
    assert room.limits_of("7-99", again) == TEN
    assert room.noted(small(conf(0)), "7-99", TEN) == small(conf(0))  # what it began with is written again


def test_another_broker_is_warned_of_with_what_to_set(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    home, clock = tmp_path / "home", SystemClock()
    authority = Authority.make(home, clock=clock)
    with closing(open_store(home)) as store:
        certificates = Certificates(store, authority, clock=clock)
        access = AccessSync(certificates, None, folder=tmp_path / "none", queued=4)  # enough for one device
        with caplog.at_level(logging.WARNING, "server.broker.admission"):
            for names in (["a"], ["b"], []):
                enrol(certificates, names)
                access.sync()
    (warning,) = caplog.records
    assert "2 devices are enrolled, and its queue is for 1" in warning.getMessage()
    assert "queued = 1260 under [broker]" in warning.getMessage()


def enrol(certificates: Certificates, names: list[str]) -> None:
    with certificates.store.writing() as connection:
        for name in names:
            connection.execute(db.enrolments.insert().values(device=name, cohort="", added_at=1.0, why=""))
            certificates.issue(connection, name, csr_of_new_key(name))


def test_the_command_the_check_the_page_and_the_credit_reckon_with_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, clock = tmp_path / "home", SystemClock()
    assert main(["--home", str(home), "init"]) == 0
    assert main(["--home", str(home), "broker", "config"]) == 0
    assert "for 100 devices (0 enrolled): 1260 messages and 64 MiB" in capsys.readouterr().out
    text = home / "broker" / "mosquitto.conf"
    text.write_text(small(text.read_text()))
    loaded = config.load(home)
    with closing(open_store(home)) as store:
        enrol(Certificates(store, Authority(home, clock=clock), clock=clock), ["a", "b", "c"])
        merge = Merge(store, Dataset(home / "dataset"), clock)
        with closing(worker.open_ingest(home, store, merge, loaded, clock, enrolled=None)) as ingest:
            assert ingest.credit is not None
            assert ingest.credit.queue == 10
            assert main(["--home", str(home), "check"]) == 0
            assert "3 devices are enrolled, and its queue is for 2" in capsys.readouterr().out
            assert main(["--home", str(home), "check", "--json"]) == 0
            assert "systemctl restart waycue-broker" in json.loads(capsys.readouterr().out)["broker"]
            lacks = files.look(home / "broker", 3).trouble
            facts = HealthFacts(clock.utc_s(), "b", True, 10**12, 10**12, 0, None)
            assert {
                line.level for line in health.lines(replace(facts, broker_lacks=lacks)) if line.about == "Broker"
            } == {HealthLevel.WELL, HealthLevel.SOON}
            assert main(["--home", str(home), "broker", "config"]) == 0
            assert "for 100 devices (3 enrolled)" in capsys.readouterr().out
            worker.keep_up(ingest, home, loaded)
            assert ingest.credit.queue == 1260
    assert main(["--home", str(home), "check"]) == 0
    assert "enrolled" not in capsys.readouterr().out


def test_a_broker_that_may_open_too_few_files_is_named(tmp_path: Path) -> None:
    with secure_site(tmp_path, sync=False) as site:
        until(lambda: files.running(site.folder) is not None, "the broker's process")
        may = files.look(site.folder, 0).open_files
        assert may is not None
        limits = replace(room.limits_for(0), devices=may)
        assert room.BrokerRoom(may - room.OTHERS, limits, open_files=may).trouble is None
        lacks = room.BrokerRoom(may, limits, open_files=may).trouble
        assert lacks is not None
        assert "LimitNOFILE" in lacks[1]
