"""What was imported is no business of the collector's; what comes after it is."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref

import pytest

from shared.collector import set_aside
from tests.paths import ROOT


class Ring:
    """Garbage that only the collector finds."""

    def __init__(self) -> None:
        self.itself = self


def test_nothing_is_collected_meanwhile_and_what_comes_later_is() -> None:
    gone = weakref.ref(Ring())
    assert gone() is not None
    with set_aside():
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.collect()
    assert gone() is not None, "set aside for good"
    later = weakref.ref(Ring())
    gc.collect()
    assert later() is None


def test_where_the_collector_was_off_it_stays_off() -> None:
    gc.disable()
    try:
        with set_aside():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize("side", ["device", "server"])
def test_a_command_begins_with_its_imports_set_aside_and_the_collector_on(side: str) -> None:
    asked = f"import gc, {side}.commands.main; print(gc.isenabled(), gc.get_freeze_count() > 50_000, gc.get_count()[2])"
    done = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", "0"]
