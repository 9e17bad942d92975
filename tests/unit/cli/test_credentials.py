"""What opens the server and what encrypts the blocks: made once, private, and moved over from an older desk."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from deployments.block_secrets import settle_key, stored_key, unreadable_blocks
from deployments.cli.env import env
from deployments.credentials import make_auth, new_key, read_auth, read_key
from deployments.home import Home
from kontor.errors import ConfigError, StoreError

SECRET = {"api_key": "a-key", "secret": "very-secret"}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.make()
    return home


def write_database(home: Home, *, stored: str = "", blocks: dict[str, str] | None = None) -> None:
    """Prefect's tables, as far as secrets are concerned; `blocks` maps names to the key each is encrypted with."""
    home.prefect_database.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(home.prefect_database, isolation_level=None)) as connection:
        connection.executescript(
            "PRAGMA journal_mode = WAL;"
            "CREATE TABLE configuration (id, key, value);"
            "CREATE TABLE block_type (id, slug);"
            "CREATE TABLE block_document (id, name, data, block_type_id);"
            "INSERT INTO block_type VALUES ('t', 'kontor-exchange-account')"
        )
        if stored:
            value = json.dumps({"fernet_key": stored})
            connection.execute("INSERT INTO configuration VALUES ('c', 'ENCRYPTION_KEY', ?)", (value,))
        for name, key in (blocks or {}).items():
            data = json.dumps(Fernet(key).encrypt(json.dumps(SECRET).encode()).decode())
            connection.execute("INSERT INTO block_document VALUES (?, ?, ?, 't')", (name, name, data))


def content_of(home: Home) -> bytes:
    """Everything Prefect's database consists of."""
    return b"".join(file.read_bytes() for file in home.prefect_database.parent.iterdir())


def test_credentials_are_made_once_and_readable_by_their_owner_alone(home: Home) -> None:
    """A second `kontor up` must not lock out the first one's browser."""
    assert make_auth(home)
    assert settle_key(home) is None
    auth, key = read_auth(home), read_key(home)
    assert not make_auth(home)
    settle_key(home)
    assert (read_auth(home), read_key(home)) == (auth, key)
    assert [oct(file.stat().st_mode & 0o777) for file in (home.auth_file, home.encryption_key_file)] == ["0o600"] * 2
    assert len(auth) > 40


@pytest.mark.parametrize("name", ["auth_file", "encryption_key_file"])
def test_a_file_that_others_may_read_is_refused_with_the_remedy(home: Home, name: str) -> None:
    """A copied home often loses its modes."""
    make_auth(home)
    settle_key(home)
    file: Path = getattr(home, name)
    file.chmod(0o644)
    with pytest.raises(ConfigError, match=f"chmod 600 {file}"):
        (read_auth if name == "auth_file" else read_key)(home)


def test_damaged_files_are_one_sentence(home: Home) -> None:
    """And are not replaced: the key may be wanted still."""
    for file in (home.auth_file, home.encryption_key_file):
        file.touch(mode=0o600)
        file.write_text("nonsense")
    with pytest.raises(ConfigError, match="one line, user:password"):
        read_auth(home)
    with pytest.raises(ConfigError, match="put it back from a backup"):
        read_key(home)


def test_a_desk_that_kept_its_key_in_the_database_is_moved_over_and_leaves_no_trace_of_it(home: Home) -> None:
    """Whoever gets at the database alone then gets at no exchange key."""
    old = new_key()
    write_database(home, stored=old, blocks={"paper": old, "live": old})
    sentence = settle_key(home)
    assert sentence is not None
    assert "the one in the database is erased" in sentence
    assert stored_key(home.prefect_database) == ""
    assert unreadable_blocks(home) == []
    assert read_key(home) != old
    assert old.encode() not in content_of(home)
    assert settle_key(home) is None


def test_a_server_that_was_once_run_without_the_key_is_mended(home: Home) -> None:
    """`prefect server start` by hand on this database makes a second key; both kinds of blocks stay readable."""
    settle_key(home)
    stray = new_key()
    write_database(home, stored=stray, blocks={"before": read_key(home), "after": stray})
    assert unreadable_blocks(home) == ["kontor-exchange-account/after"]
    assert settle_key(home) is not None
    assert unreadable_blocks(home) == []
    assert stored_key(home.prefect_database) == ""


def test_a_lost_key_is_said_with_the_blocks_it_closes_and_nothing_is_changed(home: Home) -> None:
    """A new key would be made in vain, and look as if all were well."""
    write_database(home, blocks={"live": new_key()})
    before = content_of(home)
    with pytest.raises(ConfigError, match=r"kontor-exchange-account/live cannot be read; put the right one back"):
        settle_key(home)
    assert not home.encryption_key_file.exists()
    assert content_of(home) == before


def test_a_database_that_is_none_is_one_sentence(home: Home) -> None:
    """The first thing that meets a damaged file must say what it met."""
    home.prefect_database.parent.mkdir()
    home.prefect_database.write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError, match="'kontor restore' brings back a backup"):
        settle_key(home)


def test_env_prints_no_secret(home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Its output ends on screens and in logs; the shell reads the file instead."""
    make_auth(home)
    monkeypatch.setenv("KONTOR_HOME", str(home.path))
    env()
    printed = capsys.readouterr().out
    assert f'export PREFECT_API_AUTH_STRING="$(cat {home.auth_file})"' in printed
    assert read_auth(home) not in printed
