"""What is sealed while as much as may be is under way takes the first place that becomes free."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from device.outbox.outbox import Outbox
from device.sync.delivery import Delivery
from device.sync.uploads import SMALL
from shared import messages
from shared.clock import ManualClock
from shared.credit import Purse
from shared.messages import Ack, HelpRecord
from tests.device.outbox.records import DEVICE, chunk, payloads


def test_a_call_for_help_that_comes_while_the_wire_is_full_goes_before_all_that_waits(memory_path: Path) -> None:
    with closing(Outbox(memory_path)) as box:
        for number in range(SMALL + 20):
            box.seal_chunk(chunk(number), payloads(number))
        delivery = Delivery(DEVICE, box, ManualClock(), Counter(), "all")
        delivery.uploads = replace(delivery.uploads, containers=True)
        delivery.turn()
        under_way = [one.item.name for one in delivery.uploads.active]
        assert len(under_way) == SMALL
        call = box.seal_help(HelpRecord(f"{DEVICE}-b0071-h001", DEVICE, 1_700_000_000.0, clock_synced=True)).help_id
        delivery.look_again()
        delivery.turn()
        assert delivery.uploads.wanted[0] == 0
        delivery.acknowledge(under_way[0], messages.encode(Ack("merged", containers=True)))
        delivery.turn()
        assert call in [one.item.name for one in delivery.uploads.active]
        delivery.close()


def test_a_call_for_help_takes_the_place_of_what_the_server_wants_tomorrow(memory_path: Path) -> None:
    with closing(Outbox(memory_path)) as box:
        for number in range(SMALL + 20):
            box.seal_chunk(chunk(number), payloads(number))
        delivery = Delivery(DEVICE, box, ManualClock(), Counter(), "all")
        delivery.uploads = replace(delivery.uploads, containers=True, online=True, purse=Purse("unbounded"))
        delivery.turn()
        for _ in range(SMALL):
            for one in delivery.uploads.active:
                if one.machine.phase != "new":
                    said = Ack("paused", reason="more than 500 MB today", containers=True)
                    delivery.acknowledge(one.item.name, messages.encode(said))
            delivery.outgoing.clear()
            delivery.turn()
            if all(one.machine.paused for one in delivery.uploads.active):
                break
        assert all(one.machine.paused for one in delivery.uploads.active)
        assert delivery.uploads.wanted[0] == 0
        call = box.seal_help(HelpRecord(f"{DEVICE}-b0071-h001", DEVICE, 1_700_000_000.0, clock_synced=True)).help_id
        delivery.look_again()
        delivery.turn()
        assert [message.topic.split("/")[-1] for message in delivery.outgoing] == ["event"]
        assert call in [one.item.name for one in delivery.uploads.active]
        assert len(delivery.uploads.active) == SMALL
        delivery.close()
