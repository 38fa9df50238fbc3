"""What goes where space is needed: the order of worth, announced first, no more than is needed."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from server.dataset.worth import Worth
from server.privacy import space
from server.privacy.space import DAY_S, GB, SpaceChoice, SpaceFacts, SpaceMoment, SpaceNeed
from server.privacy.space_settings import SpaceSettings

BOUND = SpaceSettings(dataset_most_gb=1.0, announce_days=7)
NOW_S = 100 * DAY_S
WORTHS = [worth for worth in Worth if worth is not Worth.UNKNOWN]

moments = st.builds(
    SpaceMoment,
    sample_id=st.uuids().map(str),
    wearer=st.just("Ada"),
    worth=st.sampled_from(WORTHS),
    size_bytes=st.integers(0, 100),
    reviewed=st.just(True),
    announced_at=st.none() | st.floats(NOW_S - 20 * DAY_S, NOW_S),
    ages=st.booleans(),
)
listed = st.lists(moments, max_size=40).map(
    lambda some: sorted(
        (replace(one, reviewed=one.worth != Worth.UNREVIEWED) for one in some), key=lambda one: one.worth
    )
)
needs = st.builds(
    lambda over, more, spare: SpaceNeed(float(over), float(over), float(over + more), float(spare)),
    st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 100),
)  # fmt: skip


def test_what_is_needed_is_measured_by_the_narrower_bound() -> None:
    facts = SpaceFacts(free=3 * GB, total=100 * GB, stored=2 * GB, a_day=0.5 * GB)
    assert space.need(facts, SpaceSettings()).met
    one = space.need(facts, BOUND)
    assert (one.over / GB, one.ahead / GB) == (1.0, 1.0 + 9 * 0.5)
    assert space.need(facts, replace(BOUND, keep_free_percent=10.0)).over / GB == 7.0
    assert space.need(facts, replace(BOUND, keep_free_percent=10.0, keep_free_gb=20)).over / GB == 17.0
    roomy = space.need(replace(facts, stored=0, a_day=0.01 * GB), BOUND)
    assert roomy.met


@given(needs, listed, st.booleans())
def test_nothing_goes_that_was_not_announced_for_long_enough_or_may_not_go(
    left: SpaceNeed, some: list[SpaceMoment], unreviewed: bool
) -> None:
    settings = replace(BOUND, unreviewed=unreviewed)
    for moment, choice, _ in space.plan(left, some, settings, NOW_S):
        if choice is SpaceChoice.DELETED:
            assert moment.announced_at is not None
            assert moment.announced_at + 7 * DAY_S <= NOW_S
        if choice in (SpaceChoice.DELETED, SpaceChoice.ANNOUNCED):
            assert moment.reviewed or unreviewed
            assert not moment.ages, "what consent deletes is left to it"


@given(needs, listed, st.booleans())
def test_it_ends_when_enough_was_found_and_takes_the_least_worth_first(
    left: SpaceNeed, some: list[SpaceMoment], unreviewed: bool
) -> None:
    steps = list(space.plan(left, some, replace(BOUND, unreviewed=unreviewed), NOW_S))
    found = {choice: [one for one, own, _ in steps if own is choice] for choice in SpaceChoice}
    gone, going = found[SpaceChoice.DELETED], found[SpaceChoice.WAITS] + found[SpaceChoice.AGES]
    assert sum(one.size_bytes for one in gone[:-1]) < max(left.over, 1), "no more than is needed"
    new = found[SpaceChoice.ANNOUNCED]
    assert sum(one.size_bytes for one in new[:-1]) < max(left.ahead, 1)
    for moment in gone:
        before = some[: some.index(moment)]
        assert all(one in gone or one in going or one in new or not (one.reviewed or unreviewed) for one in before)
        if moment.worth >= Worth.CONFIRMED:
            assert sum(one.size_bytes for one in before if one.reviewed or unreviewed) < left.over
        if moment.worth == Worth.GOLDEN:
            assert all(one in gone or not (one.reviewed or unreviewed) for one in before), "golden last"
    if steps and not steps[-1][2].met:
        assert len(steps) == len(some), "ends early only where it was enough"


def test_no_more_moments_are_read_than_are_needed() -> None:
    read = []

    def endless() -> object:
        n = 0
        while True:
            read.append(n)
            yield SpaceMoment(str(n), "Ada", Worth.ORDINARY, 10)
            n += 1

    steps = list(space.plan(SpaceNeed(0.0, 0.0, 1000.0, 250.0), endless(), BOUND, NOW_S))  # type: ignore[arg-type]
    assert sum(choice is SpaceChoice.ANNOUNCED for _, choice, _ in steps) == 100
    assert len(read) == 125


def test_over_a_hundred_days_the_bound_is_kept_and_what_is_worth_most_stays() -> None:
    """Ten moments of 10 MB a day: every tenth golden or confirmed, two of ten not reviewed."""
    kept: dict[str, SpaceMoment] = {}
    kinds = [Worth.REJECTED, *[Worth.ORDINARY] * 5, Worth.AGREED, Worth.UNREVIEWED, Worth.UNREVIEWED, Worth.CONFIRMED]
    most, told = 0, dict[str, float]()
    for day in range(100):
        for n, worth in enumerate(kinds):
            worth = Worth.GOLDEN if worth is Worth.CONFIRMED and day % 5 == 0 else worth
            name = f"{day:03d}-{n}"
            kept[name] = SpaceMoment(name, "Ada", worth, GB // 100, worth is not Worth.UNREVIEWED)
        facts = SpaceFacts(10**12, 10**12, sum(one.size_bytes for one in kept.values()), GB / 10)
        order = sorted(kept.values(), key=lambda one: (one.worth, one.sample_id))
        settings, now_s = replace(BOUND, dataset_most_gb=4.0), day * DAY_S
        for moment, choice, _ in space.plan(space.need(facts, settings), order, settings, now_s):
            if choice is SpaceChoice.ANNOUNCED:
                kept[moment.sample_id] = replace(moment, announced_at=now_s)
                told[moment.sample_id] = now_s
            elif choice is SpaceChoice.DELETED:
                assert now_s - told[moment.sample_id] >= 7 * DAY_S
                del kept[moment.sample_id]
        most = max(most, sum(one.size_bytes for one in kept.values()))
    assert most <= 4.1 * GB, "never more than the day's own beyond the bound"
    left = [one.worth for one in kept.values()]
    assert (left.count(Worth.UNREVIEWED), left.count(Worth.GOLDEN), left.count(Worth.CONFIRMED)) == (200, 20, 80)
