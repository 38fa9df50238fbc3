"""The tables of this room, made by the migrations 0008 and 0015. Times are wall-clock seconds since 1970 in UTC."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Float, ForeignKey, Index, Integer, String, Table, Text, false

from server.database.store import metadata

accounts = Table(
    "accounts",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", String(96), nullable=False),
    Column("name_key", String(192), nullable=False, unique=True),  # the name as it is looked up
    Column("role", String(16), nullable=False),
    Column("wearers", JSON),  # speaker_ids; null = all
    Column("password", String(255), nullable=False),  # argon2; "" = logs in with the provider only
    Column("provider_id", String(400), unique=True),  # issuer and subject of OpenID Connect
    Column("totp", String(64), nullable=False),  # the secret of the second factor, "" = none
    Column("totp_step", Integer, nullable=False),  # the last time step whose code was used
    Column("recovery", JSON, nullable=False),  # hashes of the codes that are left
    Column("made_at", Float, nullable=False),
    Column("seen_at", Float),  # of the newest log-in
    Column("disabled", Boolean, nullable=False, server_default=false()),  # is let in no more, until somebody says so
)

login_sessions = Table(
    "login_sessions",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("account", Integer, ForeignKey("accounts.id"), nullable=False),
    Column("made_at", Float, nullable=False),
    Column("seen_at", Float, nullable=False),
)
Index("ix_login_sessions_account", login_sessions.c.account)

known_browsers = Table(
    "known_browsers",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("account", Integer, ForeignKey("accounts.id"), nullable=False),
    Column("made_at", Float, nullable=False),
)
Index("ix_known_browsers_account", known_browsers.c.account)

invitations = Table(
    "invitations",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("role", String(16), nullable=False),
    Column("wearers", JSON),
    Column("account", Integer, ForeignKey("accounts.id")),  # whose password it sets anew; null = somebody new
    Column("made_by", String(96), nullable=False),
    Column("made_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("hash", String(64), nullable=False, unique=True),
    Column("account", Integer, ForeignKey("accounts.id"), nullable=False),
    Column("label", String(96), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("made_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("used_at", Float),
)
Index("ix_api_tokens_account", api_tokens.c.account)

push_people = Table(
    "push_people",
    metadata,
    Column("account", Integer, ForeignKey("accounts.id"), primary_key=True, autoincrement=False),
    Column("kinds", JSON, nullable=False),  # what they want to hear of; [] = of all that is for them
    Column("quiet", String(16), nullable=False),
    Column("zone", String(64), nullable=False),
    Column("cool_down_h", Float, nullable=False),
    Column("help_in_quiet", Boolean, nullable=False),
)

push_browsers = Table(
    "push_browsers",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("account", Integer, ForeignKey("accounts.id"), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),  # of the endpoint
    Column("endpoint", Text, nullable=False),  # a secret: whoever has it and the keys can send to the browser
    Column("p256dh", String(96), nullable=False),
    Column("auth", String(32), nullable=False),
    Column("made_at", Float, nullable=False),
)
Index("ix_push_browsers_account", push_browsers.c.account)

access_log = Table(
    "access_log",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("name", String(96), nullable=False),  # of the person
    Column("action", String(24), nullable=False),  # see server.access.audit.ACTIONS
    Column("about", String(200), nullable=False),  # a moment, a file, a person; "" = none of them
    Column("detail", Text, nullable=False),
    Column("address", String(64), nullable=False),
)
Index("ix_access_log_at", access_log.c.at)
Index("ix_access_log_about", access_log.c.about)
