"""What a wearer agreed to holds for nights, adapters and exports, from the next one on."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from server.consent.terms import GRANTED, NOTHING, Consents, LeavesFor
from server.dataset.blobs import FolderBlobs
from server.dataset.sample_row import SampleRow
from server.review.export import Wanted, choose

OWN_ADAPTER = replace(GRANTED, for_others=False)


def row(wearer: str, **changes: object) -> SampleRow:
    values = {
        "row_id": f"pi-1-b00t-{wearer}#1",
        "sample_id": f"pi-1-b00t-{wearer}",
        "frame_path": "",
        "audio_path": "",
        "instruction": "",
        "timestamp": 0.0,
        "device": "pi-1",
        "walk_id": wearer,
        "reviewed": True,
        "ground_truth": "Stop, curb ahead.",
        "speaker_id": wearer,
    }
    return SampleRow(**{**values, **changes})  # type: ignore[arg-type]


def test_what_teaches_others_and_what_teaches_the_wearers_own_adapter() -> None:
    consents = Consents({"Ada": NOTHING, "Ben": OWN_ADAPTER})
    rows = [row("Ada"), row("Ben"), row("Cid")]
    assert [each.speaker_id for each in rows if consents.teaches(each)] == ["Ben", "Cid"]
    assert [each.speaker_id for each in rows if consents.teaches_others(each)] == ["Cid"]


def left_out(consents: Consents, *, for_others: bool) -> tuple[list[str], Counter[str]]:
    wanted = Wanted(silence="", for_others=for_others, agreed=frozenset({"Ada", "Ben"}), consents=consents)
    rows, out = choose([row("Ada"), row("Ben"), row("Cid"), row("Dan", consent="share")], wanted, FolderBlobs(Path()))
    return [each.name.partition("_")[0] for each in rows], out


def test_an_export_holds_what_wearers_agreed_to_and_their_own_word_counts_before_the_settings() -> None:
    assert left_out(Consents(), for_others=False)[0] == ["Ada", "Ben", "Cid", "Dan"]
    assert left_out(Consents(), for_others=True)[0] == ["Ada", "Ben", "Dan"]
    said = Consents({"Ada": NOTHING, "Ben": GRANTED, "Cid": replace(GRANTED, export=LeavesFor.OTHERS), "Dan": GRANTED})
    assert left_out(said, for_others=False)[0] == ["Ben", "Cid", "Dan"]
    names, why = left_out(said, for_others=True)
    assert names == ["Cid"]
    assert why == {"its wearer has not agreed to exports": 1, "its wearer has not agreed that it leaves this server": 2}
    assert left_out(Consents({"": NOTHING, "Ben": GRANTED}), for_others=False)[0] == ["Ben"]
