"""Who may do what at the broker, in the words of Mosquitto's dynamic-security plugin. Pure.

Rules that it keeps:

1. What is not allowed here is denied: reading, writing, subscribing.
2. A device writes only below its own `up/` and its own status, and reads only what is below its own `down/`.
3. The server never gets the right to change these rules, and who may change them hears and says nothing else.
4. Whoever is not wanted is taken out, which ends a live session; whoever is taken in has no older session left.

One role per device: Mosquitto 2.0's plugin takes %u in a pattern literally (measured with 2.0.11, ADR 0012).
source: https://mosquitto.org/documentation/dynamic-security/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from server.identity.authority import is_reserved
from shared import topics
from shared.topics import Side

CONTROL = "$CONTROL/dynamic-security/v1"
RESPONSE = f"{CONTROL}/response"
SHARED_GROUP = "waycue"
CONTROLLER = "waycue-admin"
"""Common name of the certificate that may change the rules, and nothing else."""
SERVER = "waycue-server"
WORKERS = tuple(f"waycue-worker-{number}" for number in range(1, 9))

Command = dict[str, Any]
SEND, RECEIVE, SUBSCRIBE = "publishClientSend", "publishClientReceive", "subscribePattern"
DENIED = {"publishClientSend": False, "publishClientReceive": False, "subscribe": False, "unsubscribe": True}
"""The plugin's defaultACLAccess. To unsubscribe gives nothing away."""


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One thing that a role may do. kind: the plugin's acltype."""

    kind: str
    topic: str


@dataclass(frozen=True, slots=True)
class Client:
    """role: what it may do, "" = nothing that we wrote. mark: changes when its live sessions must end (a certificate of
    it was revoked)."""

    role: str
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Rules:
    """Roles and clients by name."""

    roles: Mapping[str, frozenset[Right]] = field(default_factory=dict)
    clients: Mapping[str, Client] = field(default_factory=dict)


def device_rights(device: str) -> frozenset[Right]:
    """A device writes what devices send, in its own name, and reads what the server sends to it."""
    writes, reads = topics.subtrees(Side.DEVICE, device), topics.subtrees(Side.SERVER, device)
    return frozenset(
        {
            *(Right(SEND, topic) for topic in writes),
            *(Right(kind, topic) for topic in reads for kind in (SUBSCRIBE, RECEIVE)),
        }
    )


def server_rights() -> frozenset[Right]:
    """Hears every device, also as one of several on a shared subscription, and answers. It may clear a status."""
    hears, says = topics.subtrees(Side.DEVICE), topics.subtrees(Side.SERVER)
    return frozenset(
        {
            *(Right(RECEIVE, topic) for topic in hears),
            *(Right(SUBSCRIBE, topic) for topic in hears),
            *(Right(SUBSCRIBE, f"$share/{SHARED_GROUP}/{topic}") for topic in hears),
            *(Right(SEND, topic) for topic in says),
            Right(SEND, topics.STATUS_ALL),
        }
    )


def controller_rights() -> frozenset[Right]:
    """Who may change the rules reads the answers to that, and nothing else."""
    return frozenset({Right(SEND, CONTROL), Right(SUBSCRIBE, RESPONSE), Right(RECEIVE, RESPONSE)})


def wanted(devices: Mapping[str, str]) -> Rules:
    """The rules for a server with these devices: name → mark. A device that has a service's name is left out."""
    roles = {"controller": controller_rights(), "server": server_rights()}
    clients = {CONTROLLER: Client("controller"), **{name: Client("server") for name in (SERVER, *WORKERS)}}
    for device, mark in devices.items():
        if not is_reserved(device) and topics.DEVICE_NAME.match(device):
            roles[_role(device)] = device_rights(device)
            clients[device] = Client(_role(device), mark)
    return Rules(roles, clients)


def initial(rules: Rules) -> dict[str, Any]:
    """The file that the plugin starts from."""
    return {
        "defaultACLAccess": DENIED,
        "roles": [{"rolename": name, "acls": _acls(rights)} for name, rights in sorted(rules.roles.items())],
        "groups": [],
        "clients": [
            {"username": name, "textdescription": client.mark, "roles": [{"rolename": client.role}]}
            for name, client in sorted(rules.clients.items())
        ],
    }


def diff(want: Rules, found: Rules) -> list[Command]:
    """Commands that turn `found` into `want`, those that take away first. The controller itself is never touched."""
    kept = {CONTROLLER, "controller"}
    odd = {name for name, client in found.clients.items() if not client.role}
    gone = [name for name in found.clients if (name not in want.clients or name in odd) and name not in kept]
    commands: list[Command] = [{"command": "deleteClient", "username": name} for name in gone]
    commands += [
        {"command": "deleteRole", "rolename": name}
        for name in found.roles
        if name not in want.roles and name not in kept
    ]
    for name, rights in want.roles.items():
        if name not in kept and found.roles.get(name) != rights:
            known = name in found.roles
            commands.append(
                {"command": "modifyRole" if known else "createRole", "rolename": name, "acls": _acls(rights)}
            )
    for name, client in want.clients.items():
        if name not in kept and found.clients.get(name) != client:
            if name not in found.clients or name in odd:
                commands.append({"command": "createClient", "username": name})
            commands.append(_modify(name, client))
    return commands


def _modify(name: str, client: Client) -> Command:
    # The plugin ends the sessions of a client that is modified. A new client needs that too: under a certificate of
    # ours anyone may connect (and then do nothing), so an old revoked session may be waiting for its name to come back.
    return {
        "command": "modifyClient",
        "username": name,
        "textdescription": client.mark,
        "roles": [{"rolename": client.role}],
    }


def questions(*, clients_from: int, roles_from: int, count: int) -> list[Command]:
    """Ask what the rules are, a page at a time."""
    return [
        {"command": "listClients", "verbose": True, "count": count, "offset": clients_from},
        {"command": "listRoles", "verbose": True, "count": count, "offset": roles_from},
        {"command": "getDefaultACLAccess"},
    ]


def page_of(responses: Sequence[Mapping[str, Any]]) -> Rules:
    """What the answers to `questions` say. Raises: KeyError, TypeError where they are not what the plugin writes."""
    clients, roles = responses[0]["data"]["clients"], responses[1]["data"]["roles"]
    return Rules(
        {role["rolename"]: frozenset(_rights(role.get("acls", ()))) for role in roles},
        {client["username"]: _client(client) for client in clients},
    )


def denies(responses: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the plugin denies by default (rule 1), by the answers to `questions`."""
    return {item["acltype"]: item["allow"] for item in responses[2]["data"]["acls"]} == DENIED


def deny() -> Command:
    """The command that makes it so."""
    return {
        "command": "setDefaultACLAccess",
        "acls": [{"acltype": kind, "allow": allow} for kind, allow in DENIED.items()],
    }


def _client(raw: Mapping[str, Any]) -> Client:
    roles = [role["rolename"] for role in raw.get("roles", ())]
    # More than one role, a group or a disabled client is nothing that we wrote: it is made anew.
    plain = len(roles) == 1 and not raw.get("groups") and not raw.get("disabled")
    return Client(roles[0] if plain else "", raw.get("textdescription", ""))


def _rights(acls: Sequence[Mapping[str, Any]]) -> Iterator[Right]:
    for acl in acls:
        yield Right(acl["acltype"] if acl["allow"] else f"not {acl['acltype']}", acl["topic"])


def _acls(rights: frozenset[Right]) -> list[dict[str, Any]]:
    return [{"acltype": right.kind, "topic": right.topic, "priority": 0, "allow": True} for right in sorted(rights)]


def _role(device: str) -> str:
    return f"device-{device}"
