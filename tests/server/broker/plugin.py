"""Mosquitto's dynamic-security plugin as `server.broker.dynsec_rules` sees it: carries out commands, and refuses as the
plugin does.

Held against the real plugin by `test_the_model_of_the_plugin_answers_as_the_plugin`.
"""

from __future__ import annotations

from typing import Any


class Plugin:
    """roles: name → acls, clients: name → the rest, as in its file."""

    def __init__(self, file: dict[str, Any]) -> None:
        self.roles = {role["rolename"]: list(role["acls"]) for role in file["roles"]}
        self.clients = {client["username"]: dict(client) for client in file["clients"]}
        self.kicked: list[str] = []

    def responses(self, commands: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [self._respond(command) for command in commands]

    def file(self) -> dict[str, Any]:
        return {
            "roles": [{"rolename": name, "acls": acls} for name, acls in self.roles.items()],
            "clients": list(self.clients.values()),
        }

    def _respond(self, command: dict[str, Any]) -> dict[str, Any]:
        kind = command["command"]
        error = getattr(self, f"_{kind}")(command)
        return {"command": kind, **({"error": error} if error else {})}

    def _createRole(self, command: dict[str, Any]) -> str:  # noqa: N802  the plugin's own words
        if command["rolename"] in self.roles:
            return "Role already exists"
        self.roles[command["rolename"]] = command["acls"]
        return ""

    def _modifyRole(self, command: dict[str, Any]) -> str:  # noqa: N802
        if command["rolename"] not in self.roles:
            return "Role does not exist"
        self.roles[command["rolename"]] = command["acls"]
        return ""

    def _deleteRole(self, command: dict[str, Any]) -> str:  # noqa: N802
        return "" if self.roles.pop(command["rolename"], None) is not None else "Role not found"

    def _createClient(self, command: dict[str, Any]) -> str:  # noqa: N802
        if command["username"] in self.clients:
            return "Client already exists"
        self.clients[command["username"]] = {"username": command["username"], "roles": []}
        return ""

    def _modifyClient(self, command: dict[str, Any]) -> str:  # noqa: N802
        if command["username"] not in self.clients:
            return "Client not found"
        if any(role["rolename"] not in self.roles for role in command["roles"]):
            return "Role not found"
        self.clients[command["username"]] |= {key: command[key] for key in ("textdescription", "roles")}
        self.kicked.append(command["username"])
        return ""

    def _deleteClient(self, command: dict[str, Any]) -> str:  # noqa: N802
        self.kicked.append(command["username"])
        return "" if self.clients.pop(command["username"], None) is not None else "Client not found"
