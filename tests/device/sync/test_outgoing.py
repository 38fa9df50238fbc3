"""What counts as sent, and as sent again."""

from __future__ import annotations

from device.sync.outgoing import MAX_COUNTED, HandedOver, Outgoing


def _part(offset: int, size: int, *, file: str = "a.clip") -> Outgoing:
    return Outgoing("topic", b"", file_bytes=size, file=file, offset=offset)


def test_bytes_count_as_sent_again_only_where_they_were_handed_over_before() -> None:
    handed = HandedOver()
    dropped = _part(100, 100)  # planned, and dropped when the connection broke
    assert handed.note(_part(0, 100)) == 0
    assert handed.note(dropped) == 0  # planned once more, and handed over for the first time
    assert handed.note(_part(50, 100)) == 100
    assert handed.note(_part(0, 100, file="b.clip")) == 0
    assert handed.note(Outgoing("topic", b"end")) == 0


def test_files_of_long_ago_are_forgotten() -> None:
    handed = HandedOver()
    for number in range(MAX_COUNTED + 1):
        handed.note(_part(0, 1, file=str(number)))
    assert handed.note(_part(0, 1, file="0")) == 0
    assert handed.note(_part(0, 1, file=str(MAX_COUNTED))) == 1
