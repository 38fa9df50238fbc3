"""`devices add` makes a code that a camera reads, on paper and on screens, and keeps the Wi-Fi's password to it."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.setup.reader import CodeReader
from server.commands import main as server
from shared import setup_code
from shared.setup_code import SetupCode, WifiNetwork, WifiSecurity

PASSWORD = "correct horse & battery;"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("made") / "home"
    assert server.main(["--home", str(home), "init"]) == 0
    return home


@pytest.fixture
def home(tmp_path: Path, made: Path) -> Path:
    shutil.copytree(made, tmp_path / "home")
    return tmp_path / "home"


def add(home: Path, *arguments: str) -> int:
    return server.main(["--home", str(home), "devices", "add", "anna", "--server", "10.0.0.1", *arguments])


def read(picture: Path, *, width_px: int = 400) -> SetupCode:
    """As a camera sees it."""
    image = cv2.imread(str(picture), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    small = cv2.resize(image, (width_px, width_px), interpolation=cv2.INTER_AREA)
    (text,) = CodeReader().read(np.pad(small, 60, constant_values=120).astype(np.uint8)).texts
    code = setup_code.parse(text)
    assert isinstance(code, SetupCode)
    return code


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\r\nsomething else\n"))


@pytest.mark.usefixtures("typed")
def test_the_picture_lets_a_device_join_and_enrol_and_is_readable_by_its_owner_alone(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {kind: tmp_path / f"anna.{kind}" for kind in ("png", "svg", "html")}
    flags = ["--png", str(files["png"]), "--svg", str(files["svg"]), "--page", str(files["html"])]
    assert add(home, "--wifi", "Anna's home", "--wifi-hidden", *flags) == 0
    printed = capsys.readouterr().out
    code = read(files["png"])
    assert (code.server, code.device) == ("10.0.0.1:8443", "anna")
    assert code.wifi == WifiNetwork("Anna's home", WifiSecurity.PSK, PASSWORD, hidden=True)
    assert code.code in printed
    assert PASSWORD not in printed
    assert {path.stat().st_mode & 0o777 for path in files.values()} == {0o600}
    assert all(f"The QR code is in {path}" in printed for path in files.values())


@pytest.mark.usefixtures("typed")
def test_on_paper_it_is_sixteen_centimetres_wide_and_the_page_says_what_to_do(home: Path, tmp_path: Path) -> None:
    png, svg, page = tmp_path / "a.png", tmp_path / "a.svg", tmp_path / "a.html"
    assert add(home, "--wifi", "<home>", "--png", str(png), "--svg", str(svg), "--page", str(page)) == 0
    data = png.read_bytes()
    at = data.index(b"pHYs") + 4
    per_m, width_px = int.from_bytes(data[at : at + 4], "big"), int.from_bytes(data[16:20], "big")
    assert width_px / per_m * 1000 == pytest.approx(160, abs=1)
    found = re.search(r'width="([0-9.]+)mm"', svg.read_text())
    assert found is not None
    assert float(found[1]) == pytest.approx(160, abs=1)
    text = page.read_text()
    assert "160mm" in text
    assert "Hold this page upright before the camera" in text
    assert "&lt;home&gt;" in text
    assert "<svg" in text


@pytest.mark.usefixtures("typed")
def test_json_has_the_code_without_the_password(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert add(home, "--wifi", "home", "--json") == 0
    claim = json.loads(capsys.readouterr().out)
    assert setup_code.parse(claim["uri"]) == SetupCode("10.0.0.1:8443", "anna", claim["code"])


def test_an_open_network_asks_for_no_password(home: Path, tmp_path: Path) -> None:
    png = tmp_path / "a.png"
    assert add(home, "--wifi", "cafe", "--wifi-security", "open", "--png", str(png)) == 0
    assert read(png).wifi == WifiNetwork("cafe", WifiSecurity.OPEN)


@pytest.mark.parametrize(
    ("line", "flags"),
    [
        ("short\n", ("--wifi", "home")),
        ("", ("--wifi", "home")),
        ("pässwörter\n", ("--wifi", "home")),
        ("password1\n", ("--wifi", "x" * 33)),
        ("password1\n", ("--png", "/no/such/folder/a.png", "--wifi", "home")),
        ("password1\n", ("--page", ".")),
    ],
)
def test_what_cannot_work_is_refused_before_a_code_is_made(
    home: Path, line: str, flags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(line))
    assert add(home, *flags) == 2
    assert "waycue-server: " in (told := capsys.readouterr().err)
    assert not line.strip() or line.strip() not in told
    with closing(sqlite3.connect(home / "waycue.sqlite")) as database:
        assert database.execute("select count(*) from claims").fetchone() == (0,)


def test_a_password_is_never_an_argument(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        add(home, "--wifi-password", "password1")
    assert "unrecognized" in capsys.readouterr().err


@pytest.mark.parametrize(
    "code",
    [
        "from server.commands.invitation import _password; _password('home')",
        "from device.commands.enrol import _typed; _typed()",
    ],
    ids=["the password of a network", "the claim code"],
)
def test_ctrl_d_instead_of_an_answer_is_told(code: str) -> None:
    keys, terminal = os.openpty()
    said = f"import shared.errors\ntry: {code}\nexcept shared.errors.ConfigError as error: print(error)"
    asked = subprocess.Popen(
        [sys.executable, "-c", said],
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    for _ in range(200):  # what is typed before the question is thrown away
        os.write(keys, b"\x04")
        with suppress(subprocess.TimeoutExpired):
            asked.wait(0.3)
            break
    asked.kill()
    out, error = asked.communicate()
    os.close(terminal)
    os.close(keys)
    assert b"was typed" in out, error
