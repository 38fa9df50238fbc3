"""The tables of consent, deletion and exports, made by the migration 0010; of space, by 0019."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Float, Index, Integer, String, Table, Text

from server.database.store import metadata

consents = Table(
    "consents",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),  # the newest of a wearer counts
    Column("wearer", String(256), nullable=False),  # "" = all whom nobody has asked; "sha256:…" = of a deleted one
    Column("at", Float, nullable=False),
    Column("said_by", String(96), nullable=False),
    Column("how", Text, nullable=False),  # "on paper", "on the page", …
    Column("body", JSON, nullable=False),  # server.consent.terms.Consent
)
Index("ix_consents_wearer", consents.c.wearer)

declined = Table(
    "declined",
    metadata,
    Column("device", String(32), primary_key=True),
    Column("record_id", String(96), primary_key=True),  # came without consent to be kept: its files are not kept either
    Column("at", Float, nullable=False),
)

deletions = Table(
    "deletions",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("begun_at", Float, nullable=False),
    Column("ended_at", Float),  # null = under way, or cut off: the next start goes on with it
    Column("by", String(96), nullable=False),
    Column("what", String(16), nullable=False),  # server.privacy.plans.DeletionKind
    Column("plan", JSON, nullable=False),  # what is to be done; {} once it is
    Column("proof", JSON, nullable=False),  # server.privacy.proof.Proof; {} until it is done
)

exports_made = Table(
    "exports_made",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("path", Text, nullable=False),
    Column("format", String(24), nullable=False),
    Column("audience", String(16), nullable=False),  # own | others
    Column("anonymous", Integer, nullable=False),
    Column("gone", String(24), nullable=False),  # "" | removed | marked | away: not there when it was looked for
)

exported = Table(
    "exported", metadata, Column("export", Integer, primary_key=True), Column("sample_id", String(96), primary_key=True)
)
Index("ix_exported_sample_id", exported.c.sample_id)

expiries = Table(
    "expiries",
    metadata,
    Column("sample_id", String(96), primary_key=True),
    Column("announced_at", Float, nullable=False),
    Column("delete_at", Float, nullable=False),
)
Index("ix_expiries_delete_at", expiries.c.delete_at)

space_expiries = Table(
    "space_expiries",  # moments that are deleted where space is needed (server.privacy.making_room)
    metadata,
    Column("sample_id", String(96), primary_key=True),
    Column("wearer", String(96), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("unreviewed", Integer, nullable=False),
    Column("announced_at", Float, nullable=False),
    Column("day", String(10), nullable=False),  # UTC, YYYY-MM-DD: not deleted before
)
Index("ix_space_expiries_day", space_expiries.c.day, space_expiries.c.wearer)

space_rounds = Table(
    "space_rounds",  # the last round, one row
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("at", Float, nullable=False),
    Column("over_bytes", BigInteger, nullable=False),  # more is stored than the settings allow
    Column("short_bytes", BigInteger, nullable=False),  # of what is needed, nothing that may go was found
)
