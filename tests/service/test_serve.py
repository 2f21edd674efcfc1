from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from service.database import sessions
from service.repositories import models
from service.serve import CannotStart, check_redis, open_database
from service.settings import Settings
from service.warm_up import prepare_for_a_first_model


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2@127.0.0.1:1/0",
        "redis://user:hunter2@127.0.0.1:1/0",
        "redis://127.0.0.1:1/0?password=hunter2",
        "user:hunter2@127.0.0.1",
    ],
)
def test_a_redis_that_does_not_answer_is_named_without_its_password(url: str) -> None:
    with pytest.raises(CannotStart, match="redis_url") as error:
        check_redis(url)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://user:hunter2@127.0.0.1:1/db",
        "postgresql+psycopg://127.0.0.1:1/db?user=me&password=hunter2",
        "mysql://user:hunter2@127.0.0.1/db",
        "user:hunter2@127.0.0.1",
    ],
)
def test_a_database_that_cannot_be_opened_is_named_without_its_password(url: str) -> None:
    with pytest.raises(CannotStart, match="database_url") as error:
        open_database(Settings(database_url=url))
    assert "hunter2" not in str(error.value)


def test_a_first_model_is_prepared_for_where_there_is_none(tmp_path: Path) -> None:
    engine = open_database(Settings(data_dir=tmp_path))
    factory = sessions(engine)
    assert prepare_for_a_first_model(factory)
    with factory.begin() as session:
        models.add(session, model_id="1", name="m", spec="{}", stream_uuid="u")
    assert not prepare_for_a_first_model(factory)
    engine.dispose()


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    engine = open_database(settings)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'from-the-future'"))
    engine.dispose()
    with pytest.raises(CannotStart, match=r"from-the-future.*newer amstream"):
        open_database(settings)
