"""Who may do what at the broker, in the words of Mosquitto's dynamic-security plugin. Pure.

Rules that it keeps:

1. What is not allowed here is denied: reading, writing, subscribing.
2. A device writes only below its own `up/` and its own status, and reads only what is below its own `down/`.
3. The server never gets the right to change these rules, and who may change them hears and says nothing else.
4. A client that is not wanted is deleted, which ends its live session; a new client has no older session left.

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
CONTROLLER = "waycue-admin"
"""Common name of the certificate that may change the rules, and nothing else."""
CONTROLLER_ROLE = "controller"
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
    """Who may connect."""

    role: str | None
    """What it may do; None = something that we did not write."""
    mark: str = ""
    """Changes when its live sessions must end: a certificate of it was revoked."""


@dataclass(frozen=True, slots=True)
class AccessRules:
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
    """Reads every device, all or some at a time, and answers. It may clear a status."""
    reads, writes = topics.subtrees(Side.DEVICE), topics.subtrees(Side.SERVER)
    return frozenset(
        {
            *(Right(RECEIVE, topic) for topic in reads),
            *(Right(SUBSCRIBE, topic) for topic in reads),
            *(Right(SEND, topic) for topic in writes),
            Right(SEND, topics.STATUS_ALL),
        }
    )


def controller_rights() -> frozenset[Right]:
    """May change these rules and read the responses, nothing else."""
    return frozenset({Right(SEND, CONTROL), Right(SUBSCRIBE, RESPONSE), Right(RECEIVE, RESPONSE)})


def wanted(devices: Mapping[str, str]) -> AccessRules:
    """The rules for a server with these devices: name → mark. A device that has a service's name is left out."""
    roles = {CONTROLLER_ROLE: controller_rights(), "server": server_rights()}
    clients = {CONTROLLER: Client(CONTROLLER_ROLE), **{name: Client("server") for name in (SERVER, *WORKERS)}}
    for device, mark in devices.items():
        if not is_reserved(device) and topics.DEVICE_NAME.match(device):
            roles[_role(device)] = device_rights(device)
            clients[device] = Client(_role(device), mark)
    return AccessRules(roles, clients)


def initial(rules: AccessRules) -> dict[str, Any]:
    """The file that the plugin starts from."""
    return {
        "defaultACLAccess": DENIED,
        "roles": [{"rolename": name, "acls": _acls(rights)} for name, rights in sorted(rules.roles.items())],
        "groups": [],
        "clients": [_client_fields(name, client) for name, client in sorted(rules.clients.items())],
    }


def diff(wanted: AccessRules, current: AccessRules) -> list[Command]:
    """Commands that turn `current` into `wanted`, those that take away first. Never about the controller itself."""
    wanted, current = _without_controller(wanted), _without_controller(current)
    ours = {name: client for name, client in current.clients.items() if client.role is not None}
    removed = current.clients.keys() - (ours.keys() & wanted.clients.keys())
    commands: list[Command] = [{"command": "deleteClient", "username": name} for name in sorted(removed)]
    commands += _diff_roles(wanted.roles, current.roles)
    for name, client in wanted.clients.items():
        if ours.get(name) != client:
            commands += [] if name in ours else [{"command": "createClient", "username": name}]
            # The plugin ends the sessions of a client that is modified. A new client needs that too: under a
            # certificate of ours anyone may connect (and then do nothing), so an old revoked session may be waiting
            # for its name to come back.
            commands.append({"command": "modifyClient", **_client_fields(name, client)})
    return commands


def _diff_roles(wanted: Mapping[str, frozenset[Right]], current: Mapping[str, frozenset[Right]]) -> Iterator[Command]:
    for name in sorted(current.keys() - wanted.keys()):
        yield {"command": "deleteRole", "rolename": name}
    for name, rights in wanted.items():
        if current.get(name) != rights:
            kind = "modifyRole" if name in current else "createRole"
            yield {"command": kind, "rolename": name, "acls": _acls(rights)}


def _without_controller(rules: AccessRules) -> AccessRules:
    return AccessRules(
        {name: rights for name, rights in rules.roles.items() if name != CONTROLLER_ROLE},
        {name: client for name, client in rules.clients.items() if name != CONTROLLER},
    )


def read_commands(*, offset: int, count: int) -> list[Command]:
    """Read the rules, a page of clients and roles at a time."""
    return [
        {"command": "listClients", "verbose": True, "count": count, "offset": offset},
        {"command": "listRoles", "verbose": True, "count": count, "offset": offset},
        {"command": "getDefaultACLAccess"},
    ]


def page_of(responses: Sequence[Mapping[str, Any]]) -> AccessRules:
    """The rules in the responses to `read_commands`. Raises: KeyError, TypeError for other data."""
    clients, roles = responses[0]["data"]["clients"], responses[1]["data"]["roles"]
    return AccessRules(
        {role["rolename"]: frozenset(_rights(role.get("acls", ()))) for role in roles},
        {client["username"]: _client(client) for client in clients},
    )


def denies(responses: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the plugin denies by default in the responses to `read_commands`."""
    return {item["acltype"]: item["allow"] for item in responses[2]["data"]["acls"]} == DENIED


def deny() -> Command:
    """The command that makes it deny by default."""
    return {
        "command": "setDefaultACLAccess",
        "acls": [{"acltype": kind, "allow": allow} for kind, allow in DENIED.items()],
    }


def _client(raw: Mapping[str, Any]) -> Client:
    roles = [role["rolename"] for role in raw.get("roles", ())]
    # More than one role, a group or a disabled client is nothing that we wrote: it is made anew.
    plain = len(roles) == 1 and not raw.get("groups") and not raw.get("disabled")
    return Client(roles[0] if plain else None, raw.get("textdescription", ""))


def _client_fields(name: str, client: Client) -> Command:
    return {"username": name, "textdescription": client.mark, "roles": [{"rolename": client.role}]}


def _rights(acls: Sequence[Mapping[str, Any]]) -> Iterator[Right]:
    for acl in acls:
        yield Right(acl["acltype"] if acl["allow"] else f"not {acl['acltype']}", acl["topic"])


def _acls(rights: frozenset[Right]) -> list[dict[str, Any]]:
    return [{"acltype": right.kind, "topic": right.topic, "priority": 0, "allow": True} for right in sorted(rights)]


def _role(device: str) -> str:
    return f"device-{device}"
