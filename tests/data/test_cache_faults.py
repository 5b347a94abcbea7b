"""A cache that is damaged, hostile or shared: nothing of it is served or executed, and nobody is harmed (F09 - F13).

``PETAL_TEST_SCALE=1`` runs all of the long tests, as the figures that are recorded were; the default is a tenth.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diskcache
import pytest

from petal.data.artifact import Artifact
from petal.data.artifact_bytes import Stored
from tests.data.caches import SCALE, ask, files, keep, open_cache

ROOT = Path(__file__).resolve().parents[2]
#: Sizes of the values that are damaged: in a row, in a file, in a file that moved there.
VALUES = {"row": "r" * 2000, "blob": "b" * 60_000, "file": "f" * 400_000}


class Canary:
    """What is unpickled as an instance of this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.system, (f"touch {self.path}",))


def sql(folder: Path, *statement: Any) -> list[Any]:
    """Change the cache's database behind its back."""
    with sqlite3.connect(folder / "cache.db") as database:
        found = database.execute(*statement).fetchall()
    database.close()
    return found


def damage_bytes(data: bytes, chance: random.Random) -> bytes:
    """Flip a bit, cut, lengthen, zero or reorder."""
    how = chance.randrange(6)
    at = chance.randrange(len(data))
    if how == 0:
        return data[:at]
    if how == 1:
        return data + chance.randbytes(chance.randrange(1, 100))
    if how == 2:
        size = min(len(data) - at, 64)
        return data[:at] + bytes(size) + data[at + size :] if any(data[at : at + size]) else data[:at]
    if how == 3:
        return data[1:] + data[:1] if data[1:] + data[:1] != data else data[:at]
    if how == 4:  # the last bytes, where the label is
        at = len(data) - 1 - chance.randrange(min(300, len(data)))
    return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]


def damage(folder: Path, key: str, other: str, chance: random.Random, canary: Path) -> None:
    """Do one hostile thing to an entry."""
    ((value, name),) = sql(folder, "SELECT value, filename FROM Cache WHERE key = ?", (f"out:{key}",))
    how = chance.randrange(12)
    if how < 6:
        data = bytes(value) if value is not None else (folder / name).read_bytes()
        _set(folder, key, name, damage_bytes(data, chance))
    elif how == 6:  # another entry's bytes: whole, and good, but not of this key
        ((stolen, where),) = sql(folder, "SELECT value, filename FROM Cache WHERE key = ?", (f"out:{other}",))
        _set(folder, key, name, bytes(stolen) if stolen is not None else (folder / where).read_bytes())
    elif how == 7:  # a planted pickle in the row
        planted = pickle.dumps(Canary(canary))
        sql(
            folder,
            "UPDATE Cache SET mode = 4, value = ?, filename = NULL WHERE key = ?",
            (planted, f"out:{key}"),
        )
    elif how == 8:  # a planted pickle in a file
        (folder / "aa" / "bb").mkdir(parents=True, exist_ok=True)
        planted_at = f"aa/bb/{chance.randbytes(14).hex()}.val"
        (folder / planted_at).write_bytes(pickle.dumps(Canary(canary)))
        sql(
            folder,
            "UPDATE Cache SET mode = 4, value = NULL, filename = ? WHERE key = ?",
            (planted_at, f"out:{key}"),
        )
    elif how == 9:  # a value of another type
        mode, wrong = chance.choice(
            [(1, 5), (1, "text"), (1, None), (3, "text"), (7, b"x"), ("x", b"x"), (2, b"x")]
        )
        sql(
            folder,
            "UPDATE Cache SET mode = ?, value = ?, filename = NULL WHERE key = ?",
            (mode, wrong, f"out:{key}"),
        )
    elif how == 10:  # a file that is not the cache's
        where = chance.choice(
            ["../victim", str(folder.parent / "victim"), "aa/../../victim", "", "aa/bb", "cache.db"]
        )
        sql(
            folder,
            "UPDATE Cache SET mode = 2, value = NULL, filename = ? WHERE key = ?",
            (where, f"out:{key}"),
        )
    else:  # no file, or a link in its place
        (folder / "aa" / "bb").mkdir(parents=True, exist_ok=True)
        planted_at = f"aa/bb/{chance.randbytes(14).hex()}.val"
        if chance.random() < 0.5:
            (folder / planted_at).symlink_to(folder.parent / "victim")
        sql(
            folder,
            "UPDATE Cache SET mode = 2, value = NULL, filename = ? WHERE key = ?",
            (planted_at, f"out:{key}"),
        )


def _set(folder: Path, key: str, name: str | None, data: bytes) -> None:
    if name is not None:
        (folder / name).write_bytes(data)
    else:
        sql(folder, "UPDATE Cache SET value = ? WHERE key = ?", (data, f"out:{key}"))


@pytest.mark.slow
def test_damaged_entries_are_misses(tmp_path: Path) -> None:
    """5,000 at full scale: each is a miss, counted, deleted and stored anew; no file is touched, nothing executed."""
    folder, victim, canary = tmp_path / "cache", tmp_path / "victim", tmp_path / "canary"
    victim.write_bytes(b"precious")
    cache = open_cache(folder)
    for number in range(int(5000 * SCALE)):
        chance = random.Random(number)
        kind = chance.choice(list(VALUES))
        keep(cache, "key", VALUES[kind])
        keep(cache, "other", VALUES[kind])
        damage(folder, "key", "other", chance, canary)
        assert ask(cache, "key") is None, f"seed {number}: a damaged entry was served"
        assert ask(cache, "other") == VALUES[kind], f"seed {number}: another entry is lost"
        assert not canary.exists(), f"seed {number}: a planted pickle was executed"
        assert cache.problem is None
    assert victim.read_bytes() == b"precious"
    assert cache.verify() == []
    assert keep(cache, "key", "anew")
    assert ask(cache, "key") == "anew"
    cache.close()


def test_the_damage_is_real(tmp_path: Path) -> None:
    """The positive control: diskcache as it comes serves a cut value, and executes what was planted."""
    canary = tmp_path / "canary"
    with diskcache.Cache(str(tmp_path / "plain")) as plain:
        plain["key"] = b"x" * 100_000
        (path,) = (tmp_path / "plain").glob("??/??/*.val")
        path.write_bytes(b"x" * 10)
        assert plain["key"] == b"x" * 10
        plain["key"] = b"small"
    sql(tmp_path / "plain", "UPDATE Cache SET mode = 4, value = ?", (pickle.dumps(Canary(canary)),))
    with diskcache.Cache(str(tmp_path / "plain")) as plain:
        plain.get("key")
    assert canary.exists()


def test_two_entries_that_are_swapped_are_misses(tmp_path: Path) -> None:
    """Both are whole, but each lies under the other's key."""
    cache = open_cache(tmp_path / "cache")
    keep(cache, "one", "1")
    keep(cache, "two", "2")
    for before, after in (("out:one", "x"), ("out:two", "out:one"), ("x", "out:two")):
        sql(tmp_path / "cache", "UPDATE Cache SET key = ? WHERE key = ?", (after, before))
    assert ask(cache, "one") is None
    assert ask(cache, "two") is None
    assert cache.stats.damaged == 2
    cache.close()


def _truncated(path: Path) -> None:
    with open(path, "r+b") as file:
        file.truncate(2000)


def _header(path: Path) -> None:
    with open(path, "r+b") as file:
        file.write(b"not a database, but a letter")


def _garbage(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(50_000))


def _pages(path: Path) -> None:
    """Garble every page but the first."""
    size = path.stat().st_size
    with open(path, "r+b") as file:
        for at in range(4096, size, 4096):
            file.seek(at + 100)
            file.write(b"\xff" * 200)


def _other_tables(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE Cache (a, b)")
        database.execute("CREATE TABLE Settings (a, b)")
    database.close()


def _other_database(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE people (name)")
    database.close()


def _settings(path: Path) -> None:
    with sqlite3.connect(path) as database:
        for name, value in [
            ("disk_evil", 1),
            ("eviction_policy", "evil"),
            ("sqlite_evil", "1; x"),
            ("evil", b"\xff"),
        ]:
            database.execute("INSERT OR REPLACE INTO Settings VALUES (?, ?)", (name, value))
        database.execute("DELETE FROM Settings WHERE key = 'count'")
    database.close()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DATABASES = [_truncated, _header, _garbage, _pages, _other_tables, _other_database, _settings, _empty]


@pytest.mark.parametrize("spoil", DATABASES)
def test_a_database_that_is_spoilt_is_begun_anew(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    """Moved aside and rebuilt, without a word to the run: its outputs are computed again (F10)."""
    folder, said = tmp_path / "cache", list[str]()
    cache = open_cache(folder)
    for number in range(50):
        keep(cache, f"{number}", "x" * 1000 * number)
    cache.close()
    for rest in ("cache.db-wal", "cache.db-shm"):
        (folder / rest).unlink(missing_ok=True)
    spoil(folder / "cache.db")
    cache = open_cache(folder, said)
    for number in range(50):
        assert ask(cache, f"{number}") in (None, "x" * 1000 * number)
        assert keep(cache, f"{number}", "anew")
        assert ask(cache, f"{number}") == "anew"
    assert cache.clear() <= 50  # what is met late takes the rest with it
    assert list(files(folder)) == []
    assert said == []
    cache.close()
    assert len(list(folder.glob("cache.db.corrupt-*"))) <= 1


@pytest.mark.parametrize("spoil", [_header, _garbage, _pages])
def test_a_database_that_is_spoilt_while_it_is_open(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    """Whatever SQLite notices of it, and whenever: no wrong value, no error."""
    folder, said = tmp_path / "cache", list[str]()
    cache = open_cache(folder, said)
    for number in range(50):
        keep(cache, f"{number}", "x" * 1000 * number)
    spoil(folder / "cache.db")
    other = open_cache(folder, said)
    for number in range(50):
        assert ask(cache, f"{number}") in (None, "x" * 1000 * number)
        assert ask(other, f"{number}") in (None, "x" * 1000 * number)
        keep(cache, f"{number}", "anew")
        assert ask(other, f"{number}") in (None, "anew", "x" * 1000 * number)
    assert said == []
    cache.close()
    other.close()


def test_a_database_that_cannot_be_one_is_one_warning(tmp_path: Path) -> None:
    """A folder of its name stays where it is, and the run goes on without a cache."""
    said: list[str] = []
    (tmp_path / "cache").mkdir(mode=0o700)
    _folder_at = tmp_path / "cache" / "cache.db"
    _folder_at.mkdir()
    cache = open_cache(tmp_path / "cache", said)
    assert ask(cache, "key") is None
    assert not keep(cache, "key", "value")
    assert len(said) == 1
    cache.close()


@pytest.mark.slow
def test_a_database_cut_anywhere_is_begun_anew(tmp_path: Path) -> None:
    """At every 512 bytes."""
    folder = tmp_path / "whole"
    cache = open_cache(folder)
    for number in range(30):
        keep(cache, f"{number}", "x" * 1000)
    cache.close()
    size = (folder / "cache.db").stat().st_size
    for at in range(0, size, max(512, int(512 / SCALE))):
        cut = tmp_path / "cut"
        shutil.copytree(folder, cut)
        for rest in ("cache.db-wal", "cache.db-shm"):
            (cut / rest).unlink(missing_ok=True)
        os.truncate(cut / "cache.db", at)
        cache = open_cache(cut)
        assert ask(cache, "7") in (None, "x" * 1000)
        assert keep(cache, "7", "anew"), f"cut at {at}"
        assert ask(cache, "7") == "anew"
        cache.close()
        shutil.rmtree(cut)


def _rounds(folder: str, number: int, rounds: int, barrier: Any, failed: Any) -> None:
    """Ask for keys that all processes want, and store what is not there."""
    cache = open_cache(Path(folder), said := list[str]())
    try:
        for turn in range(rounds):
            barrier.wait(60)
            for key in (f"shared-{turn}", f"shared-{turn % 5}", f"{number}-{turn}"):
                value = f"{key} " * (10 if turn % 3 else 20_000)
                with cache.alone(key, lambda: False):
                    found = ask(cache, key)
                    if found is None:
                        keep(cache, key, value)
                    elif not found.startswith(f"{key} ") or len(set(found.split())) != 1:
                        failed.put(f"{key}: {found[:50]}")
            cache.note("p", f"n{turn % 3}", {"x": str(number)}, "key", "digest")
            cache.last("p", "n0")
        if said or cache.stats.damaged:
            failed.put(f"{said} {cache.stats}")
    except BaseException as error:
        failed.put(repr(error))
        barrier.abort()
    finally:
        cache.close()


@pytest.mark.slow
def test_processes_share_a_cache(tmp_path: Path) -> None:
    """8 processes, 50 rounds, all at once from the first opening on: no error, no wrong value (F13)."""
    context = multiprocessing.get_context("spawn")
    barrier, failed = context.Barrier(8), context.Queue()
    arguments = (max(5, int(50 * min(1.0, 5 * SCALE))), barrier, failed)
    workers = [
        context.Process(target=_rounds, args=(str(tmp_path / "cache"), number, *arguments))
        for number in range(8)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failed.empty(), failed.get()
    assert {worker.exitcode for worker in workers} == {0}
    cache = open_cache(tmp_path / "cache")
    assert cache.verify() == []
    assert list((tmp_path / "cache" / "making").iterdir()) == []
    cache.close()


_WRITER = textwrap.dedent(
    """
    import pathlib, sys
    from tests.data.caches import ask, keep, open_cache
    cache = open_cache(pathlib.Path(sys.argv[1]))
    print("ready", flush=True)
    number = 0
    while True:
        number += 1
        key = f"{number % 7}"
        with cache.alone(key, lambda: False):
            assert keep(cache, key, f"{key} " * (100_000 if number % 2 else 10))
    """
)


@pytest.mark.slow
def test_a_writer_that_is_killed_leaves_a_good_cache(tmp_path: Path) -> None:
    """At any instant: every entry is whole or not there, and what it was writing is swept away (F16)."""
    folder = tmp_path / "cache"
    chance = random.Random(5)
    for _ in range(max(5, int(60 * SCALE))):
        command = [sys.executable, "-c", _WRITER, str(folder)]
        writer = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        time.sleep(chance.uniform(0.0, 0.2))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        cache = open_cache(folder, said := list[str]())
        for number in range(7):
            found = ask(cache, f"{number}")
            assert found is None or set(found.split()) == {f"{number}"}
        assert cache.folder is not None
        assert not [p for p in (folder / "making").iterdir() if p.suffix == ".tmp"]
        assert said == []
        assert cache.stats.damaged == 0
        cache.close()


def test_files_without_a_row_are_removed_by_verify(tmp_path: Path) -> None:
    """As a process leaves that is killed between the two; young ones may get theirs yet."""
    folder = tmp_path / "cache"
    cache = open_cache(folder)
    keep(cache, "key", "x" * 400_000)
    (folder / "aa" / "bb").mkdir(parents=True)
    old, young = folder / "aa/bb" / f"{'0' * 28}.val", folder / "aa/bb" / f"{'1' * 28}.val"
    for path in (old, young):
        path.write_bytes(b"x")
    os.utime(old, (1, 1))
    assert cache.verify() == []
    assert not old.exists()
    assert young.exists()
    assert ask(cache, "key") == "x" * 400_000
    cache.close()


def test_a_cache_that_nobody_opens_costs_nothing(tmp_path: Path) -> None:
    """Neither a folder nor the import of diskcache."""
    code = (
        "import sys, pathlib; from tests.data.caches import open_cache;"
        f"cache = open_cache(pathlib.Path({str(tmp_path / 'cache')!r})); cache.close();"
        "sys.exit('diskcache' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
    assert not (tmp_path / "cache").exists()


def test_without_the_digest_damage_would_be_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control of the 5,000: with verification switched off, wrong values come out, or it fails to read."""

    def trusting(source: Any, size: int, digest: str, annotation: Any, view: Any, codecs: Any) -> Artifact:
        return Artifact(Stored(source, size), digest, annotation, view)

    monkeypatch.setattr("petal.data.cache.open_artifact", trusting)
    served = 0
    cache = open_cache(tmp_path / "cache")
    for number in range(40):
        keep(cache, "key", VALUES["file"])
        (path,) = files(tmp_path / "cache")
        data = path.read_bytes()
        at = random.Random(number).randrange(300_000)
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        served += ask(cache, "key") != VALUES["file"]
    assert served > 30
    cache.close()
