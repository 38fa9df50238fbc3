"""A wearer without a name is none: what such moments belong to is their device."""

from __future__ import annotations

import pytest

from server.privacy import plans
from shared.errors import Refused
from tests.server.dataset.moments import House, moment


@pytest.mark.parametrize("name", ["", " "])
def test_without_a_name_nothing_is_planned_to_go(name: str, house: House) -> None:
    house.send(moment(0, wearer=name, device="pi-2"))
    with house.store.reading() as connection:
        for plan in (plans.of_wearer, plans.of_walk):
            with pytest.raises(Refused, match="There is no"):
                plan(connection, "")
        assert len(plans.of_wearer(connection, name or "pi-2").moments) == 1
