"""`waycue-server models add eyes`, as a person runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from server import config as settings
from server import walks
from server.eyes import packaged
from server.learn import bases, eyes_bundle
from shared import bundle, vocabulary
from shared.errors import BundleError
from shared.runtime import GuidanceModel, check_golden
from tests.paths import ROOT
from tests.pulse import until
from tests.server.commands.terminal import server
from tests.server.eyes.checkpoints import made
from tests.server.eyes.homes import files, stand_in


def test_the_command_names_the_licence_and_says_when_they_are_there(tarball: Path, tmp_path: Path) -> None:
    assert server(tmp_path, "models", "add", "eyes", "--from", tarball).returncode == 2, "no home yet"
    server(tmp_path, "init")
    first = server(tmp_path, "models", "add", "eyes", "--from", tarball)
    assert (first.returncode, first.stderr) == (0, "")
    assert "added, 23 classes, Apache-2.0 by its package.json" in first.stdout
    second = server(tmp_path, "models", "add", "eyes")
    assert (second.returncode, second.stderr) == (0, "")
    assert "there already, 23 classes, Apache-2.0 by its package.json" in second.stdout
    assert "It does not see curbs, dropped curbs, roads, drop-offs, stairs" in second.stdout
    assert "trial" in server(tmp_path, "models", "list").stdout
    the_bundle_guides_by_the_table_and_on_trial_only(tmp_path / "models" / eyes_bundle.VERSION / "bundle")


def the_bundle_guides_by_the_table_and_on_trial_only(folder: Path) -> None:
    assert check_golden(folder, threads=1) == []
    assert "Apache-2.0" in (folder / "NOTICE.txt").read_text()
    with pytest.raises(BundleError, match="trial"):
        GuidanceModel.load(folder)
    model = GuidanceModel.load(folder, threads=1, allow=bundle.FOR_JUDGING)
    shot = walks.random_frame(np.random.default_rng(1), objects=("bicycle",), width_px=320, height_px=240)
    seen = model.look(shot.image)
    assert {hazard.object for hazard in seen.hazards} == set(model.manifest.model["objects"])
    assert vocabulary.problems(model.word(seen).text) == []
    with pytest.raises(BundleError, match="no decoder"):
        _ = model.language
    nothing = model.look(np.full((480, 640, 3), 90, np.uint8))
    assert (nothing.boxes, model.word(nothing).text) == ((), vocabulary.CLEAR)


def test_a_bundle_is_not_brought_with_from(tmp_path: Path) -> None:
    server(tmp_path, "init")
    done = server(tmp_path, "models", "add", "starter", "--from", tmp_path / "brought.tgz")
    assert done.returncode == 2
    assert "--from is for eyes" in done.stderr


@pytest.mark.soak
def test_a_backbone_by_folder_is_trained_on_and_its_licence_told(tmp_path: Path) -> None:
    """With the fewest steps; then it is there, and the settings may name it."""
    home, folder = tmp_path / "home", made("convnext", tmp_path)
    server(home, "init")
    named = ("models", "add", "eyes", "--backbone", folder)
    first = server(home, *named, "--steps", 1)
    assert (first.returncode, first.stderr) == (0, "")
    assert "no licence stated; 4 × 4 tokens" in first.stdout
    assert "step 1/1" in first.stdout
    assert "added, 1 steps on drawn walks" in first.stdout
    assert "find out before you offer a model" in first.stdout
    assert f'set learn.eyes to "{folder}", then waycue-server models add starter' in first.stdout
    second = server(home, *named, "--steps", 1)
    assert (second.returncode, second.stderr) == (0, "")
    assert "there already" in second.stdout
    (home / settings.FILE).write_text(f'[learn]\neyes = "{folder}"\n')
    assert bases.starter(settings.load(home).learn.eyes, home, print).eyes is not None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("starter", "--backbone", "a/b"), "--backbone is for eyes"),
        (("eyes", "--steps", "3"), "--steps is for --backbone"),
        (("starter", "--size", "224"), "--size is for eyes"),
        (("eyes", "--backbone", "a/b", "--steps", "0"), "--steps must be at least 1"),
        (("eyes", "--backbone", "a/b", "--from", "x.tgz"), "--backbone is for eyes, alone"),
        (("eyes", "--backbone", "nobody/nothing"), "'nobody/nothing' could not be loaded"),
    ],
)
def test_a_backbone_that_cannot_be_or_wrong_use_is_told(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    server(tmp_path, "init")
    done = server(tmp_path, "models", "add", *arguments)
    assert done.returncode != 0
    assert said in done.stderr
    assert not [file for file in tmp_path.glob("eyes/*") if file.is_dir() and any(file.iterdir())]


def has_ended(pid: int) -> bool:
    """Gone, or waiting for whoever inherited it to take note."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
    except OSError:
        return True


def test_ctrl_c_while_npm_fetches_leaves_the_old_eyes_and_nothing_else(home: Path, tmp_path: Path) -> None:
    server(home, "init")
    begun, scratch = tmp_path / "begun", tmp_path / "scratch"
    scratch.mkdir()
    stand_in(tmp_path / "bin", f"echo $$ > {begun}.part; mv {begun}.part {begun}; exec sleep 60")
    before = files(home)
    process = subprocess.Popen(
        [sys.executable, "-m", "server", "--home", str(home), "models", "add", "eyes"],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}", "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        until(begun.exists, "npm to be run", timeout_s=60)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert said.decode().strip() == "waycue-server: stopped; nothing is lost, run it again to go on."
    until(lambda: has_ended(int(begun.read_text())), "npm to end, too")
    assert list(scratch.iterdir()) == []
    assert files(home) == before


def test_one_command_at_a_time_adds_eyes(home: Path) -> None:
    server(home, "init")
    with packaged.alone(home):
        done = server(home, "models", "add", "eyes")
    assert done.returncode != 0
    assert "another command is adding the eyes. Wait for it." in done.stderr
