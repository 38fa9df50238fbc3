"""The log: levels by setting, text or JSON, nothing that moves a terminal, and rationed whoever attacks."""

from __future__ import annotations

import ast
import io
import json
import logging
from collections.abc import Callable, Iterator

import pytest

from server import logs
from server.logs import BURST, OWN, REFILL_S, STRANGERS_BURST, STRANGERS_REFILL_S, LogSection
from shared.clock import ManualClock
from tests.house.tree import python_files

Opened = Callable[..., tuple[io.StringIO, ManualClock]]


@pytest.fixture(autouse=True)
def fresh_uvicorn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A web server that ran before in this process may have left its own levels and handlers behind."""
    for name in ("uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        for what, value in (("level", logging.NOTSET), ("propagate", True), ("handlers", []), ("filters", [])):
            monkeypatch.setattr(logger, what, value)
        logger.manager._clear_cache()  # type: ignore[attr-defined]  # of which levels are enabled


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Sets the log up as a setting says; afterwards everything is as before."""
    root = logging.getLogger()
    before = root.level, list(root.handlers), {name: logging.getLogger(name).level for name in OWN}

    def opened(**settings: str) -> tuple[io.StringIO, ManualClock]:
        stream, clock = io.StringIO(), ManualClock()
        logs.set_up(LogSection(**settings), stream=stream, clock=clock)  # type: ignore[arg-type]
        return stream, clock

    yield opened
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    for name, level in before[2].items():
        logging.getLogger(name).setLevel(level)


def test_what_went_well_is_written_as_info_and_libraries_are_held_to_warnings(opened: Opened) -> None:
    stream, _ = opened()
    logging.getLogger("server.identity").info("%s is enrolled.", "pi-1")
    logging.getLogger("httpx").info("a request")
    logging.getLogger("server.identity").debug("a detail")
    logging.getLogger("uvicorn.error").warning("odd")
    assert stream.getvalue() == "INFO server.identity: pi-1 is enrolled.\nWARNING uvicorn.error: odd\n"


@pytest.mark.parametrize(("level", "lines"), [("debug", 3), ("info", 2), ("warning", 1), ("error", 0)])
def test_the_level_is_a_setting(opened: Opened, level: str, lines: int) -> None:
    stream, _ = opened(level=level)
    for write in (logging.getLogger("server.x").debug, logging.getLogger("server.x").info):
        write("said")
    logging.getLogger("server.x").warning("said loudly")
    assert len(stream.getvalue().splitlines()) == lines


def test_json_has_a_line_for_each_with_its_traceback_inside(opened: Opened) -> None:
    stream, _ = opened(format="json")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("server.x").exception("It failed on %s.", "a\x1b[31mdevice")
    (line,) = stream.getvalue().splitlines()
    found = json.loads(line)
    assert found["level"] == "error"
    assert found["message"] == "It failed on a\x1b[31mdevice."
    assert "\x1b" not in line
    assert found["at"].endswith("+00:00")
    assert found["trace"].endswith("ValueError: two\nlines")


def test_a_message_from_outside_cannot_move_the_terminal_or_forge_a_line(opened: Opened) -> None:
    stream, _ = opened()
    logging.getLogger("server.x").warning("Not ours: %s", "a\x1b]0;title\x07\nERROR server: forged\x9b2J")
    (line,) = stream.getvalue().splitlines()
    assert line == r"WARNING server.x: Not ours: a\x1b]0;title\x07\x0aERROR server: forged\x9b2J"


def test_every_web_server_of_the_process_writes_into_this_log() -> None:
    """uvicorn sets up handlers of its own for all of them, unless each is told not to."""
    calls = [
        node
        for path in python_files("server")
        if path.name != "label_page.py"  # a command with a process of its own
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "uvicorn.Config"
    ]
    assert len(calls) >= 2
    for call in calls:
        assert any(word.arg == "log_config" and ast.unparse(word.value) == "None" for word in call.keywords)


@pytest.mark.parametrize(
    ("name", "burst", "refill_s"),
    [("server.y", BURST, REFILL_S), ("uvicorn.error", STRANGERS_BURST, STRANGERS_REFILL_S)],
)
def test_a_flood_of_one_kind_is_rationed_and_told_and_silences_nothing_else(
    opened: Opened, name: str, burst: int, refill_s: float
) -> None:
    stream, clock = opened()
    attacked = logging.getLogger(name)
    for n in range(100_000):
        attacked.warning("Invalid HTTP request received from %s.", n)
    logging.getLogger("server.x").warning("the disk is full")
    assert len(stream.getvalue().splitlines()) == burst + 1
    clock.sleep(refill_s)
    attacked.warning("Invalid HTTP request received from %s.", "last")
    told = stream.getvalue().splitlines()[-1]
    assert told.endswith(f"from last. ({100_000 - burst} more of these were left out)")
    clock.sleep(refill_s)
    attacked.warning("Invalid HTTP request received from %s.", "later")
    assert stream.getvalue().splitlines()[-1].endswith("from later.")


def test_what_strangers_sent_makes_no_kinds_of_its_own(opened: Opened) -> None:
    stream, _ = opened()
    for n in range(100):
        logging.getLogger("asyncio").error(f"Error on transport creation for incoming connection from {n}")  # noqa: G004
    assert len(stream.getvalue().splitlines()) == STRANGERS_BURST
