"""Controls taken out of mosquitto.conf, to see that the attack works without them."""

from __future__ import annotations

import re
from collections.abc import Callable

Change = Callable[[str], str]


def taking_out(*starts: str) -> Change:
    """Without the lines that start so."""

    def change(conf: str) -> str:
        left = [line for line in conf.splitlines(keepends=True) if not line.startswith(starts)]
        assert len(left) < len(conf.splitlines()), starts
        return "".join(left)

    return change


def setting(**values: str) -> Change:
    """With other values."""

    def change(conf: str) -> str:
        for name, value in values.items():
            conf, count = re.subn(rf"^{name} .*$", f"{name} {value}", conf, flags=re.MULTILINE)
            assert count == 1, name
        return conf

    return change


without_rules = taking_out("plugin")
