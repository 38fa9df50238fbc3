"""What leaves comes in again as it was: export, import into another server, export, and both exports are equal."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from exporters.datasets.folder import MARKER
from server import config
from server.labelling import folder as label
from server.labelling.footage import Chunk
from tests.server.commands.terminal import server
from tests.server.dataset.moments import House, picture, sound

FORMATS = ("jsonl", "imagefolder", "audiofolder", "parquet", "webdataset")
WORDS = ("Stop, curb ahead.", "Caution, pole ahead.", "Continue straight, path is clear.", "Stop, stairs down.")
WALKS = ("shop", "park", "station", "school")
Line = tuple[str, str, dict[str, object]]
LINES: st.SearchStrategy[list[Line]] = st.lists(
    st.tuples(
        st.sampled_from(WALKS),
        st.sampled_from(WORDS),
        st.fixed_dictionaries(
            {},
            optional={
                "light": st.sampled_from(("dusk", "night", "Größe ✓ \u2028")),
                "lux": st.one_of(st.integers(0, 9), st.floats(0, 9), st.booleans()),
                "seen": st.lists(st.sampled_from(("pole", "curb")), min_size=1, max_size=2),
                "context": st.sampled_from(("to the shop", "{x}")),
                "consent": st.just("share"),
            },
        ),
    ),
    min_size=1,
    max_size=4,
)


@contextmanager
def new_house() -> Iterator[tuple[House, Path]]:
    with tempfile.TemporaryDirectory() as folder, closing(House(Path(folder) / "home")) as house:
        config.init(house.home)
        yield house, Path(folder)


def labelled(root: Path, lines: Sequence[Line]) -> Path:
    with label.opened(root) as opened:
        for n, (walk, text, _) in enumerate(lines):
            opened.show(walk, n, Chunk(picture(n), sound(n)))
            opened.save(walk, n, text)
    log = root / "metadata.jsonl"
    written = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    more = [{**line, **fields} for line, (_, _, fields) in zip(written, lines, strict=True)]
    log.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in more), encoding="utf-8")
    return root


def files(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != MARKER
    }


@pytest.mark.parametrize("name", FORMATS)
@settings(
    max_examples=2,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # an example costs seconds: shrinking would cost minutes
)
@given(lines=LINES)
def test_an_export_that_is_brought_in_elsewhere_is_exported_as_the_same_files(name: str, lines: list[Line]) -> None:
    with new_house() as (first, folder), new_house() as (second, elsewhere):
        assert server(first.home, "samples", "import", labelled(folder / "labels", lines)).returncode == 0
        assert server(first.home, "export", "--format", name, "--out", folder / "out").returncode == 0
        done = server(second.home, "samples", "import", folder / "out")
        assert f"{len(lines)} moments brought in, 0 labels changed, 0 were there already." in done.stdout
        assert server(second.home, "export", "--format", name, "--out", elsewhere / "again").returncode == 0
        assert files(folder / "out") == files(elsewhere / "again")


@pytest.mark.parametrize(("name", "says"), [("imagefolder", "a folder of train"), ("parquet", "Parquet (1 files)")])
def test_the_layout_is_found_out_and_said(name: str, says: str) -> None:
    with new_house() as (house, folder):
        server(house.home, "samples", "import", labelled(folder / "labels", [("shop", WORDS[0], {})]))
        server(house.home, "export", "--format", name, "--out", folder / "out")
        done = server(house.home, "samples", "import", folder / "out")
        assert f"Found {says}: 1 moments." in done.stdout
        assert "1 were there already" in done.stdout


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("train-0.parquet", b"PAR1 and nothing", "it is no Parquet file"),
        ("train-0.tar", b"nothing of a tar" * 64, "it is no whole archive"),
    ],
)
def test_a_torn_archive_is_named_and_nothing_is_taken_in(name: str, data: bytes, reason: str) -> None:
    with new_house() as (house, folder):
        (folder / "in").mkdir()
        (folder / "in" / name).write_bytes(data)
        done = server(house.home, "samples", "import", folder / "in")
        assert done.returncode == 1
        assert f"Faulty: {folder}/in/{name}, after" in done.stderr
        assert reason in done.stderr
        assert house.dataset.rows() == []


@pytest.mark.parametrize("name", ["parquet", "webdataset"])
def test_an_archive_cut_off_half_way_takes_nothing_in(name: str) -> None:
    lines: list[tuple[str, str, dict[str, object]]] = [
        ("shop", WORDS[0], {}),
        ("shop", WORDS[1], {}),
        ("shop", WORDS[3], {}),
    ]
    with new_house() as (first, folder), new_house() as (second, _):
        server(first.home, "samples", "import", labelled(folder / "labels", lines))
        server(first.home, "export", "--format", name, "--out", folder / "out")
        (archive,) = (folder / "out" / "data").iterdir()
        archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
        done = server(second.home, "samples", "import", folder / "out")
        assert (done.returncode, second.dataset.rows()) == (1, [])
        assert str(archive) in done.stderr
