"""onnxruntime and the other libraries report to nobody: a look and a night's export, in processes of their own.

The check also runs with the switch removed, so that it is known to see what it looks for.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shared import privacy
from tests.device.capture import films
from tests.paths import ROOT

SUPPRESSING = ("CI", "TF_BUILD", "GITHUB_ACTIONS", "JENKINS_URL", *privacy.SWITCHES)
"""What makes onnxruntime keep quiet by itself on a build machine; a device has none of it."""

LOOK = """
from pathlib import Path
import sys
import numpy as np
from shared.runtime import GuidanceModel
model = GuidanceModel.load(Path(sys.argv[1]), allow_demo=True)
model.word(model.look(np.full((240, 320, 3), 90, np.uint8)))
"""

EXPORT = """
from pathlib import Path
import sys
from exporters.onnx.bundle import Label, export_bundle
from server.model import checkpoint as checkpoints
from server.learn.bundles import exportable
from tests.server.learn.parts import save_field_checkpoint
made = checkpoints.load(save_field_checkpoint(Path(sys.argv[1]) / "base"))
label = Label("v1", made.name, "", made.intended_use, dict(made.thresholds), 1.0)
export_bundle(exportable(made), label, Path(sys.argv[1]) / "bundle", golden_chunks=[], quantised=True)
"""

WALK = """
import sys
from device.commands.main import main
sys.exit(main(sys.argv[1:]))
"""

BARE = """
import sys
import onnxruntime
onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
"""

LOOK_UP = "import socket\ntry:\n    socket.getaddrinfo('localhost', 80)\nexcept OSError:\n    pass\n"

NOTES_LOOK_UPS = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
typedef int (*fn)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **found) {
    FILE *log = fopen(getenv("LOOK_UPS"), "a");
    if (log) { fprintf(log, "%s\\n", host ? host : ""); fclose(log); }
    return ((fn)dlsym(RTLD_NEXT, "getaddrinfo"))(host, port, hints, found);
}
"""


class Home:
    """A home folder of a process's own, and what the process left there and looked up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "home"
        self.folder.mkdir()
        self.log = folder / "look-ups"
        self.shim = folder / "look_ups.so"
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("name look-ups are noted by a small C library, and there is no C compiler (apt install gcc)")
        source = folder / "look_ups.c"
        source.write_text(NOTES_LOOK_UPS)
        subprocess.run([compiler, "-shared", "-fPIC", "-o", str(self.shim), str(source), "-ldl"], check=True)

    def run(self, script: str, *arguments: str) -> None:
        """Run Python as on a device: no variable of a build machine, and no switch from outside."""
        env = {name: value for name, value in os.environ.items() if name not in SUPPRESSING}
        env |= {"HOME": str(self.folder), "XDG_CACHE_HOME": str(self.folder / ".cache"), "HF_HUB_OFFLINE": "1"}
        env |= {"LD_PRELOAD": str(self.shim), "LOOK_UPS": str(self.log), "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", script, *arguments], env=env, cwd=ROOT, check=True, timeout=300)

    def traces(self) -> list[str]:
        """Names of the files that it left, whoever wrote them."""
        return sorted(path.name for path in self.folder.rglob("*") if path.is_file())

    def look_ups(self) -> list[str]:
        return self.log.read_text().split() if self.log.exists() else []


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_the_check_sees_telemetry_and_look_ups(home: Home, starter_bundle: Path) -> None:
    home.run(BARE, str(next(starter_bundle.glob("vision_encoder.onnx"))))
    home.run(LOOK_UP)
    assert "deviceid" in home.traces(), "onnxruntime no longer leaves a trace by itself: is the switch still needed?"
    assert "localhost" in home.look_ups()


def test_a_look_leaves_no_device_id_and_looks_no_name_up(home: Home, starter_bundle: Path) -> None:
    home.run(LOOK, str(starter_bundle))
    assert (home.traces(), home.look_ups()) == ([], [])


def test_a_walk_leaves_nothing_outside_the_state_folder_and_looks_no_name_up(
    home: Home, tmp_path: Path, starter_bundle: Path
) -> None:
    walk, state = films.make(tmp_path / "walk.mp4", seconds=2.0, fps=5.0), tmp_path / "state"
    places = ["--state", str(state), "--report", str(tmp_path / "report.json"), "--model", str(starter_bundle)]
    how = ["--pace", "fast", "--exit-at-end", "--speech", "none", "--quiet"]
    home.run(WALK, "run", "--source", f"replay:{walk}", *how, *places)
    assert json.loads((tmp_path / "report.json").read_bytes())["looks"] > 0
    assert (home.traces(), home.look_ups()) == ([], [])


@pytest.mark.soak
def test_a_nights_export_leaves_no_device_id_and_looks_no_name_up(home: Home, tmp_path: Path) -> None:
    home.run(EXPORT, str(tmp_path))
    assert (home.traces(), home.look_ups()) == ([], [])


@pytest.mark.parametrize("package", ["device", "server", "shared", "exporters", "benchmarks", "tests", "scripts"])
def test_importing_any_package_sets_the_switches_whatever_the_environment_says(package: str) -> None:
    env = {**os.environ, "ORT_DISABLE_TELEMETRY": "0", "PYTHONPATH": str(ROOT)}
    script = (
        f"import {package}, os, sys\n"
        "assert 'onnxruntime' not in sys.modules\n"
        "print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    done = subprocess.run([sys.executable, "-c", script], env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
