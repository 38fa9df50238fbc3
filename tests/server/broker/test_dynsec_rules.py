"""From any state that a broker may be in, the commands lead to the rules that are wanted, and to no others."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.broker import dynsec_rules
from server.broker.dynsec_rules import AccessRules, Client, Right
from tests.docs.pages import named_in, section
from tests.pulse import until
from tests.secure import SecureSite
from tests.server.broker.plugin import Plugin

DEVICES = st.dictionaries(st.sampled_from(["anna", "ben", "carl", "d-4"]), st.sampled_from(["", "a", "b"]), max_size=4)
STRANGERS = st.lists(
    st.fixed_dictionaries(
        {
            "username": st.sampled_from(["anna", "ben", "mallory", "waycue-server", "waycue-worker-3"]),
            "roles": st.lists(st.sampled_from([{"rolename": "server"}, {"rolename": "device-ben"}]), max_size=2),
        },
        optional={
            "textdescription": st.sampled_from(["", "a"]),
            "groups": st.just([{"groupname": "all"}]),
            "disabled": st.booleans(),
        },
    ),
    max_size=3,
    unique_by=lambda client: client["username"],
)
ROLES = st.dictionaries(
    st.sampled_from(["server", "device-anna", "device-ben", "everything"]),
    st.lists(
        st.sampled_from(
            [
                {"acltype": "publishClientSend", "topic": "#", "priority": 0, "allow": True},
                {"acltype": "subscribePattern", "topic": "wc/v1/anna/down/#", "priority": 0, "allow": False},
            ]
        ),
        max_size=2,
    ),
    max_size=3,
)


def rules_in(plugin: Plugin) -> AccessRules:
    file = plugin.file()
    return dynsec_rules.page_of([{"data": {"clients": file["clients"]}}, {"data": {"roles": file["roles"]}}])


@given(before=DEVICES, wanted=DEVICES, strangers=STRANGERS, roles=ROLES)
def test_from_any_rules_to_the_wanted_ones(
    before: dict[str, str], wanted: dict[str, str], strangers: list[dict[str, Any]], roles: dict[str, Any]
) -> None:
    plugin = Plugin(dynsec_rules.initial(dynsec_rules.wanted(before)))
    plugin.roles |= roles
    plugin.clients |= {client["username"]: client for client in strangers}
    want = dynsec_rules.wanted(wanted)
    answers = plugin.responses(dynsec_rules.diff(want, rules_in(plugin)))
    assert [answer for answer in answers if "error" in answer] == []
    assert rules_in(plugin) == want
    assert dynsec_rules.diff(want, rules_in(plugin)) == []


@given(before=DEVICES, wanted=DEVICES)
def test_sessions_end_of_those_who_are_new_gone_or_marked_and_of_nobody_else(
    before: dict[str, str], wanted: dict[str, str]
) -> None:
    plugin = Plugin(dynsec_rules.initial(dynsec_rules.wanted(before)))
    plugin.responses(dynsec_rules.diff(dynsec_rules.wanted(wanted), rules_in(plugin)))
    assert set(plugin.kicked) == {name for name in {*before, *wanted} if before.get(name) != wanted.get(name)}


@pytest.mark.parametrize("name", ["waycue-server", "waycue-admin", "waycue-worker-1", "broker", "+", "#", "a/b", ""])
def test_a_device_with_a_name_of_the_server_or_of_no_device_gets_no_rights(name: str) -> None:
    assert dynsec_rules.wanted({name: ""}) == dynsec_rules.wanted({})


def test_a_device_has_these_four_rights_and_no_wildcard_before_its_name() -> None:
    rights = dynsec_rules.device_rights("anna")
    assert rights == {
        Right("publishClientSend", "wc/v1/anna/up/#"),
        Right("publishClientSend", "wc/v1/anna/status"),
        Right("subscribePattern", "wc/v1/anna/down/#"),
        Right("publishClientReceive", "wc/v1/anna/down/#"),
    }


def test_a_denying_or_doubled_rule_is_not_taken_for_ours() -> None:
    acl = {"acltype": "publishClientSend", "topic": "x", "allow": False}
    page = dynsec_rules.page_of(
        [
            {"data": {"clients": [{"username": "anna", "roles": [{"rolename": "a"}, {"rolename": "b"}]}]}},
            {"data": {"roles": [{"rolename": "a", "acls": [acl]}]}},
        ]
    )
    assert page == AccessRules({"a": frozenset({Right("not publishClientSend", "x")})}, {"anna": Client(None, "")})


def test_the_model_of_the_plugin_answers_as_the_plugin(secure_broker: SecureSite) -> None:
    """The property above is only worth what the model is: the same commands through the real one."""
    model = Plugin(json.loads((secure_broker.folder / "dynamic-security.json").read_text()))
    secure_broker.access.stop()
    commands: list[dict[str, Any]] = [
        *dynsec_rules.diff(dynsec_rules.wanted({"anna": "1", "ben": ""}), rules_in(model)),
        *dynsec_rules.diff(dynsec_rules.wanted({"ben": "2"}), dynsec_rules.wanted({"anna": "1", "ben": ""})),
        {"command": "createRole", "rolename": "device-ben", "acls": []},
        {"command": "deleteRole", "rolename": "nobody"},
        {"command": "createClient", "username": "ben"},
        {"command": "deleteClient", "username": "nobody"},
        {"command": "modifyClient", "username": "nobody", "textdescription": "", "roles": []},
        {"command": "modifyClient", "username": "ben", "textdescription": "", "roles": [{"rolename": "nobody"}]},
    ]
    reported = Controller(secure_broker).reported(commands)
    expected = model.responses(commands)
    assert [("error" in one, one["command"]) for one in reported] == [
        ("error" in one, one["command"]) for one in expected
    ]
    file = json.loads((secure_broker.folder / "dynamic-security.json").read_text())
    assert rules_in(Plugin(file)) == rules_in(model)


class Controller:
    """Says commands to the real plugin, and hears what it answers."""

    def __init__(self, site: SecureSite) -> None:
        self._site = site

    def reported(self, commands: list[dict[str, Any]]) -> list[dict[str, Any]]:
        from tests.security.intruder import Intruder

        with Intruder(self._site, self._site.server_context(dynsec_rules.CONTROLLER), client_id="x") as client:
            assert client.connect() == "Success"
            assert client.subscribe(dynsec_rules.RESPONSE) == "Granted QoS 1"
            client.publish(dynsec_rules.CONTROL, json.dumps({"commands": commands}).encode())
            responses: list[dict[str, Any]] = json.loads(client.next_heard()[1])["responses"]
            return responses


def test_rules_are_asked_for_a_page_at_a_time(secure_broker: SecureSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.broker.dynsec_client.PAGE", 3)
    monkeypatch.setattr("server.broker.dynsec_client.BATCH", 2)
    names = [f"dev-{number}" for number in range(8)]
    for name in names:
        secure_broker.enrol(name, wait=False)
    secure_broker.settle()
    secure_broker.broker.stop()
    secure_broker.broker.start()  # a new connection asks again
    until(secure_broker.link.connected.is_set, "the access client, connected again")
    secure_broker.revoke(names[0])
    file = json.loads((secure_broker.folder / "dynamic-security.json").read_text())
    found = {client["username"] for client in file["clients"]}
    assert {name for name in found if re.match("dev-", name)} == set(names[1:])


def test_the_rules_are_told_in_the_docs() -> None:
    reported = named_in(section("formats.md", "The broker's rules"))
    roles = dynsec_rules.wanted({"anna": ""}).roles
    topics = {right.topic.replace("anna", "<name>") for rights in roles.values() for right in rights}
    kinds = {right.kind for rights in roles.values() for right in rights}
    below = {topic for topic in topics if not topic.startswith(dynsec_rules.RESPONSE)}
    assert below | kinds | {dynsec_rules.RESPONSE} <= reported
    commands = {
        command["command"]
        for command in dynsec_rules.diff(dynsec_rules.wanted({"a": ""}), AccessRules({"x": frozenset()}, {}))
    }
    assert commands | {"listClients", "listRoles", "setDefaultACLAccess"} <= reported
