"""When a night goes on from the last one's model, and that it then teaches what is new without losing what was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from exporters.onnx import bundle as exporter
from server.learn import adapters, going_on, lineage, lora, nightly
from server.learn.going_on import Origin
from server.learn.nightly import Night
from server.learn.recipe import Recipe
from server.learn.settings import LearnSettings
from server.model import checkpoint as checkpoints
from server.model.checkpoint import Checkpoint
from server.releases.registry import CHAMPION, Registry
from server.review import decisions
from server.review.decisions import ReviewDecision
from tests.server.dataset.moments import House
from tests.server.learn.crash_driver import exported_once
from tests.server.learn.parts import examples, reviewed_home, save_field_checkpoint
from tests.server.learn.test_rows import ROW

RECIPE = Recipe(rank=4, alpha=8, steps=40, batch=6, rate=2e-2, head_rate=1e-2, replay=0, threads=1)
ROWS = [replace(ROW, row_id=f"c{n}#1", sample_id=f"c{n}") for n in range(100)]


def origin(**changes: object) -> Origin:
    kept = going_on._lasting(RECIPE)
    found = Origin("n1", Path("adapter"), 0, "base", kept, frozenset(lineage.identities(ROWS[:90])))
    return replace(found, **changes)  # type: ignore[arg-type]


def test_with_few_new_rows_a_night_goes_on_with_a_quarter_of_the_steps() -> None:
    course = going_on.course(origin(), RECIPE, "base", ROWS, nights=3)
    assert (course.version, course.nights, course.recipe.steps) == ("n1", 1, 10)
    assert course.recipe.rate == RECIPE.rate / 2
    assert course.why == "; goes on from n1: 10 of 100 are new"
    assert [row for row in ROWS if not course.known(row)] == ROWS[90:]
    assert course.learnt(ROWS, ROWS[85:]) == ROWS, "what taught the last one counts as learnt"
    many = going_on.course(origin(), RECIPE, "base", ROWS[:113] + ROWS[:0], nights=3)
    assert many.recipe.steps == 10
    more = going_on.course(origin(rows=frozenset(lineage.identities(ROWS[:80]))), RECIPE, "base", ROWS, nights=3)
    assert more.recipe.steps == 16, "each new row is drawn as often as in a night from the base, or more"


@pytest.mark.parametrize(
    ("of", "recipe", "base", "rows", "nights", "why"),
    [
        (None, RECIPE, "base", ROWS, 3, ""),
        (origin(), RECIPE, "base", ROWS, 0, ""),
        (origin(), RECIPE, "other", ROWS, 3, "it is another one"),
        (origin(), replace(RECIPE, rank=8), "base", ROWS, 3, "the recipe is another one"),
        (origin(), RECIPE, "base", ROWS[1:], 3, "1 of the rows that taught n1 are gone or changed"),
        (origin(), RECIPE, "base", [replace(ROWS[0], row_id="c0#2"), *ROWS[1:]], 3, "1 of the rows"),
        (origin(nights=3), RECIPE, "base", ROWS, 3, "3 nights in a row went on"),
        (origin(rows=frozenset(lineage.identities(ROWS[:74]))), RECIPE, "base", ROWS, 3, "more than a quarter"),
    ],
    ids=["no night", "off", "base", "recipe", "gone", "changed", "too many nights", "too much new"],
)
def test_otherwise_it_begins_from_the_base(
    of: Origin | None, recipe: Recipe, base: str, rows: list[object], nights: int, why: str
) -> None:
    course = going_on.course(of, recipe, base, rows, nights=nights)  # type: ignore[arg-type]
    assert (course.origin, course.recipe, course.nights, course.key) == (None, recipe, 0, "")
    assert why in course.why
    assert bool(course.why) == bool(why)


def test_how_long_and_on_what_it_trains_may_differ() -> None:
    other = replace(RECIPE, steps=80, threads=4, views_most=9, device="cuda", precision="bf16")
    assert going_on.course(origin(), other, "base", ROWS, nights=1).version == "n1"


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    return save_field_checkpoint(tmp_path / "hub", tied=True)


def went_on(hub: Path, adapter: Path, folder: Path, stop: str = "") -> tuple[Checkpoint, lora.Trained]:
    base = checkpoints.load(hub)
    rows = examples(12, base)
    around = lora.Surroundings(goes_on_from=adapter)

    def progress(text: str) -> None:
        if stop and text.startswith(stop):
            raise InterruptedError

    short = replace(RECIPE, steps=8)
    trained = lora.train(base, rows[8:10], [], short, folder, older=rows[:8], around=around, progress=progress)
    return base, trained


def test_a_training_that_goes_on_begins_where_the_last_one_ended(hub: Path, tmp_path: Path) -> None:
    base = checkpoints.load(hub)
    first = lora.train(base, examples(12, base)[:8], [], RECIPE, tmp_path / "one")
    after, second = went_on(hub, tmp_path / "one" / "adapter", tmp_path / "two")
    assert second.loss_first < 0.5 * first.loss_first
    assert second.loss_last < 1.2 * first.loss_last
    again, _ = went_on(hub, tmp_path / "one" / "adapter", tmp_path / "again")
    with pytest.raises(InterruptedError):
        went_on(hub, tmp_path / "one" / "adapter", tmp_path / "cut", stop="LoRA step 5/")
    resumed, _ = went_on(hub, tmp_path / "one" / "adapter", tmp_path / "cut")
    loaded = adapters.load(tmp_path / "two" / "adapter", tmp_path, base=str(hub))
    for name, weight in after.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], weight), "the same inputs give the same bytes"
        assert torch.equal(resumed.model.state_dict()[name], weight)
        assert torch.allclose(loaded.model.state_dict()[name], weight, atol=1e-6), "the adapter is of the base"
    assert torch.equal(after.head.bias, loaded.head.bias)


def test_half_of_what_the_dataset_gives_taught_before() -> None:
    order = lora._order(10, 100, replace(RECIPE, steps=200, new_share=0.5), older=40)
    lots = [int((order < 10).sum()), int(((order >= 10) & (order < 50)).sum()), int((order >= 50).sum())]
    assert sum(lots) == 1200
    assert lots == [pytest.approx(300, rel=0.15), pytest.approx(300, rel=0.15), pytest.approx(600, rel=0.1)]
    assert set(order.tolist()) == set(range(150))


# --- whole nights ---

SETTINGS = LearnSettings(steps=4, new_rows_least=2, threads=1)


@pytest.fixture(scope="module")
def slept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home whose only night leads, and two new rows of twelve; a base of the hub's shape beside it."""
    place = tmp_path_factory.mktemp("slept")
    (place / "graphs").mkdir()
    base = save_field_checkpoint(place / "base")
    home = reviewed_home(place / "home", walks_of={"w": 10})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "export_graphs", exported_once(place / "graphs", any_weights=True))
        nightly.retrain(home, settings=replace(SETTINGS, base=str(base)), progress=lambda text: None)
        lead(home)
        reviewed_home(home, walks_of={"w": 2}, first=10)
        yield home


def lead(home: Path) -> str:
    with closing(Registry(home)) as registry:
        version = registry.list()[-1].version
        registry.point(CHAMPION, version, why="as if the gate had passed it")
    return version


def night(home: Path, settings: LearnSettings, *, force: bool = False) -> tuple[Night, list[str]]:
    said = list[str]()
    found = nightly.retrain(home, settings=settings, progress=said.append, force=force)
    return found, said


@pytest.fixture
def home(slept: Path, tmp_path: Path) -> tuple[Path, LearnSettings]:
    copy = Path(shutil.copytree(slept, tmp_path / "home"))
    return copy, replace(SETTINGS, base=str(slept.parent / "base"))


def test_a_night_goes_on_from_the_champion_and_counts_all_that_taught_both(home: tuple[Path, LearnSettings]) -> None:
    place, settings = home
    found, said = night(place, settings)
    assert any("goes on from" in line and "2 of 12 are new" in line for line in said)
    assert (found.went_on_from, found.samples) == (found.champion, 12)
    with closing(Registry(place)) as registry:
        assert len(set(registry.taught_by(found.version))) == 12
        kept = json.loads((registry.get(found.version).folder / "adapter" / going_on.FILE).read_bytes())
        steps = json.loads((registry.get(found.version).folder / "adapter" / "recipe.json").read_bytes())["steps"]
    assert (kept["nights"], steps) == (1, 2)


def test_a_row_that_was_corrected_means_the_base(home: tuple[Path, LearnSettings]) -> None:
    place, settings = home
    house = House(place)
    first = next(row for row in house.dataset.rows() if row.walk_id == "w")
    decisions.review(
        house.store, house.dataset, first.sample_id, ReviewDecision("edit", "Eve", "Stop, curb ahead."), now_s=2.0
    )
    house.close()
    found, said = night(place, settings)
    assert found.went_on_from == ""
    assert any("1 of the rows that taught" in line for line in said)
    with closing(Registry(place)) as registry:
        assert f"{first.row_id}" not in {row.partition(":")[0] for row in registry.taught_by(found.version)}


def test_a_damaged_adapter_means_the_base(home: tuple[Path, LearnSettings]) -> None:
    place, _ = home
    with closing(Registry(place)) as registry:
        last = going_on.last_night(registry)
        assert last is not None
        weights = last.adapter / "adapter_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
        assert going_on.last_night(registry) is None


def test_other_versions_of_the_programs_mean_the_base(
    home: tuple[Path, LearnSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Registry(home[0])) as registry:
        assert going_on.last_night(registry) is not None
        monkeypatch.setattr(lineage, "code", lambda: "waycue 99")
        assert going_on.last_night(registry) is None


def test_another_champion_than_the_newest_night_means_the_base(home: tuple[Path, LearnSettings]) -> None:
    place, _ = home
    with closing(Registry(place)) as registry:
        assert going_on.last_night(registry) is not None
        registry.point(CHAMPION, None, why="the newest night was refused")
        assert going_on.last_night(registry) is None


@pytest.mark.soak
def test_a_person_who_forces_a_night_gets_one_from_the_base(home: tuple[Path, LearnSettings]) -> None:
    place, settings = home
    assert night(place, settings, force=True)[0].went_on_from == ""
