"""A database of an earlier version, with its rows in it, becomes one of this version."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, select, text

from server.database import migrating, sqlite
from server.database import review_tables as tables
from server.database import store as db
from server.dataset import search_index, sought
from server.dataset.sample_row import SampleRow, to_dict
from server.releases.registry import Registry
from server.releases.rollouts import Rollouts
from server.review import searching
from server.review.moment_filter import MomentFilter

OLD = (
    "INSERT INTO models (version, created_at, parent, base, folder, manifest_sha256, manifest_size, evaluation, state) "
    "VALUES ('m1', 1.0, '', 'starter', 'models/m1', 'aa', 10, '{}', 'registered')",
    "INSERT INTO rollouts (version, state, percent, devices, cohort, error_share, missing_after_s, started_at, "
    "changed_at, why) VALUES ('m1', 'running', 10, '[\"pi-1\"]', '', 0.1, 3600.0, 2.0, 3.0, 'as it was')",
    "INSERT INTO rollout_log (rollout, at, what, why) VALUES (1, 2.0, 'started for pi-1', '')",
)


def old_database(home: Path, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(migrating.MIGRATIONS))
    engine = create_engine(sqlite.database_url(home))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        for row in OLD:
            connection.execute(text(row))
        connection.commit()
    engine.dispose()


def test_rollouts_from_before_supervision_go_on_unsupervised(tmp_path: Path) -> None:
    old_database(tmp_path, "0004")
    with closing(Registry(tmp_path)) as registry:
        rollouts = Rollouts(registry)
        (found,) = rollouts.status()
        assert (found.rollout.version, found.rollout.percent, found.rollout.devices) == ("m1", 10, ("pi-1",))
        assert (found.rollout.supervised, found.rollout.companion, found.rollout.why) == (False, "", "as it was")
        assert [change.what for change in rollouts.log()] == ["started for pi-1"]
        (grant,) = rollouts.granted()
        assert not grant.assignment().supervised


def test_moments_from_before_search_are_found_by_it(tmp_path: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(migrating.MIGRATIONS))
    engine = create_engine(sqlite.database_url(tmp_path))
    row = SampleRow(
        row_id="m-1#1",
        sample_id="m-1",
        frame_path="frames/a.jpg",
        audio_path="audio/a.wav",
        instruction="",
        spoken="Caution, CONE on the left.",
        ground_truth="Duck, head obstacle ahead.",
        timestamp=1.0,
        speaker_id="Ada",
        device="pi-1",
        walk_id="w",
        model_version="night-1",
        flags=("wearer", "audit"),
    )
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0007")
        connection.execute(
            text(
                "INSERT INTO samples (sample_id, device, walk_id, row_id, version, state, priority, captured_at, "
                "changed_at, body) VALUES ('m-1', 'pi-1', 'w', 'm-1#1', 1, 'pending', 3, 7.0, 1.0, :body)"
            ),
            {"body": json.dumps(to_dict(row))},
        )
        connection.commit()
    engine.dispose()
    with closing(db.open_store(tmp_path)) as store:
        with store.reading() as connection:
            (found,) = connection.execute(select(tables.sought)).mappings().all()
            assert list(search_index.differences(connection)) == []
        assert dict(found).items() >= sought.row_of(row).items(), "as a new one is written"
        assert (found["priority"], found["captured_at"]) == (3, 7.0)
        for wanted in ({"thing": "cone"}, {"thing": "head obstacle"}, {"wearer": "Ada"}, {"words": "cone duck"}):
            assert searching.count(store, MomentFilter(**wanted)) == 1  # type: ignore[arg-type]
