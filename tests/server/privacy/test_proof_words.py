"""What a proof says in words is what was done."""

from __future__ import annotations

from server.privacy import proof


def told(what: str, *, moments: int = 1, records: int = 0) -> str:
    counts = {"moments": moments, "records": records}
    made = {"id": 3, "what": what, "by": "Eve", "begun_at": 0.0, "ended_at": 0.0, "ids_sha256": "", "checked": True}
    return " ".join(proof.in_words(proof.from_dict({**made, **counts})))


def test_a_blurred_moment_was_not_deleted() -> None:
    words = told("blur")
    assert "Pictures and clips of 1 moment were replaced by blurred ones" in words
    assert "moments and" not in words
    assert "were deleted" not in words


def test_a_deleted_one_was() -> None:
    assert told("moment", records=2).startswith(
        "Deletion 3: 1 moment and 2 records were deleted by 1970-01-01 00:00:00"
    )
    assert told("walk", moments=2, records=1).startswith("Deletion 3: 2 moments and 1 record were deleted by")
