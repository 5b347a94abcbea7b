"""The cache: outputs of nodes by key, verified when they are read; what goes wrong with it harms no run."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl
import pytest

from petal.data.artifact import Making
from petal.data.cache import Cache
from petal.data.disk_store import DiskStore, on_network
from petal.spec.redaction import hide
from petal.spec.views import seen
from tests.data.caches import ask, files, keep, open_cache

LARGE = "x" * 1_000_000


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    """A cache of one's own."""
    opened = open_cache(tmp_path / "cache")
    yield opened
    opened.close()


@pytest.mark.parametrize("value", ["small", "m" * 100_000, LARGE])
def test_an_output_comes_back(cache: Cache, tmp_path: Path, value: str) -> None:
    """From a row or a file, to this cache and to another one that is opened later; nothing else is left behind."""
    assert ask(cache, "key") is None
    assert keep(cache, "key", value)
    assert ask(cache, "key") == value
    other = open_cache(tmp_path / "cache")
    assert ask(other, "key") == value
    other.close()
    assert list((tmp_path / "cache" / "making").iterdir()) == []
    assert (cache.stats.hits, cache.stats.misses, cache.stats.stored) == (1, 1, 1)


def test_a_large_output_is_moved_not_copied(cache: Cache, tmp_path: Path) -> None:
    """The file in which it was made is the file in which it is kept."""
    making = Making(cache.folder, str, seen(str))
    making.value(LARGE)
    (before,) = (tmp_path / "cache" / "making").iterdir()
    number = before.stat().st_ino
    with making.finish() as artifact:
        assert cache.put("key", artifact)
        assert artifact.load() == LARGE  # also after it was stored
    (after,) = files(tmp_path / "cache")
    assert after.stat().st_ino == number


def test_the_folder_is_its_owners_alone(cache: Cache, tmp_path: Path) -> None:
    """Folders 0700 and files 0600, whatever the umask: outputs may be confidential."""
    before = os.umask(0)
    try:
        keep(cache, "key", LARGE)
        keep(cache, "small", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700
    for path in (tmp_path / "cache").rglob("*"):
        if path.is_dir() or path.suffix == ".val":
            assert path.stat().st_mode & 0o077 == 0, path


def test_a_folder_that_others_may_write_is_not_used(tmp_path: Path) -> None:
    """Who can write there could put there what he likes."""
    said: list[str] = []
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(0o777)
    cache = open_cache(folder, said)
    assert not keep(cache, "key", "value")
    assert len(said) == 1


def test_a_time_to_live_ends(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before its time; a clock that was set back far does not make it longer."""
    keep(cache, "key", "value", ttl=100.0)
    now = time.time()
    monkeypatch.setattr("petal.data.cache_entry.time.time", lambda: now + 90)
    assert ask(cache, "key") == "value"
    monkeypatch.setattr("petal.data.cache_entry.time.time", lambda: now + 101)
    assert ask(cache, "key") is None
    assert cache.stats.misses == 1
    monkeypatch.setattr("petal.data.cache_entry.time.time", lambda: now - 86_400)
    assert ask(cache, "key") is None


def test_an_output_of_another_annotation_is_a_miss(cache: Cache) -> None:
    """Its bytes would be read as something else."""
    keep(cache, "key", "5")
    assert ask(cache, "key", int) is None


def test_an_output_with_a_secret_is_not_stored(tmp_path: Path) -> None:
    """In none of its forms, small or large; that is said once for each output."""
    hide("s3cr3t-canary-of-the-cache")
    said: list[str] = []
    cache = open_cache(tmp_path / "cache", said)
    for value in ("a s3cr3t-canary-of-the-cache b", LARGE + "s3cr3t-canary-of-the-cache"):
        assert not keep(cache, "key", value, about={"node": "n"})
        assert ask(cache, "key") is None
    assert keep(cache, "key", "no secret")
    assert said == ["the output of `n` holds a secret, so it is not cached"] * 2
    cache.close()
    found = b"".join(p.read_bytes() for p in (tmp_path / "cache").rglob("*") if p.is_file())
    assert b"canary-of-the-cache" not in found


def test_old_outputs_make_room(tmp_path: Path) -> None:
    """Those that were not used for the longest time go first, never the newest; the limit holds."""
    cache = open_cache(tmp_path / "cache", limit=1_000_000)
    for number in range(8):
        keep(cache, f"{number}", f"{number}" * 200_000)
        cache.close()
        cache = open_cache(tmp_path / "cache", limit=1_000_000)
        assert ask(cache, f"{number}") is not None
        assert ask(cache, "0") is not None
    assert ask(cache, "1") is None
    assert cache.size().size <= 1_000_000
    cache.close()


def test_a_hit_writes_nothing(tmp_path: Path) -> None:
    """That an output was used is noted if it was not for an hour, for whoever makes room; else a hit only reads."""
    database = tmp_path / "cache" / "cache.db"

    def used() -> float:
        cache = open_cache(tmp_path / "cache")
        assert ask(cache, "key") == "value"
        cache.close()
        with contextlib.closing(sqlite3.connect(database)) as connection:
            ((found,),) = connection.execute("SELECT access_time FROM Cache").fetchall()
            return float(found)

    cache = open_cache(tmp_path / "cache")
    keep(cache, "key", "value")
    cache.close()
    assert used() == used()
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE Cache SET access_time = 1.0")
    assert used() > 1.0


def test_an_output_above_the_limit_is_used_but_not_stored(tmp_path: Path) -> None:
    """It is said; what is there stays, and nothing is left of it."""
    said: list[str] = []
    cache = open_cache(tmp_path / "cache", said, limit=500_000)
    keep(cache, "small", "value")
    assert not keep(cache, "key", LARGE, about={"node": "n"})
    assert "larger than the cache" in said[0]
    assert ask(cache, "small") == "value"
    assert list(files(tmp_path / "cache")) == []
    assert list((tmp_path / "cache" / "making").iterdir()) == []
    cache.close()


class Broken(DiskStore):
    """A store whose disk fails from some call on."""

    def __init__(self, folder: Path, number: int) -> None:
        super().__init__(folder)
        self.number = number

    def put(self, key: str, source: bytes | Path, **how: Any) -> bool:
        if self.number:
            raise OSError(self.number, os.strerror(self.number))
        return super().put(key, source, **how)

    def get(self, key: str) -> bytes | BinaryIO | None:
        if self.number == errno.EIO:
            raise OSError(self.number, os.strerror(self.number))
        return super().get(key)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("value", ["small", LARGE])
def test_a_store_that_fails_is_one_warning(tmp_path: Path, number: int, value: str) -> None:
    """And from then on everything is a miss; artifacts work, nothing is left (F05, F07)."""
    said: list[str] = []
    store = Broken(tmp_path / "cache", 0)
    cache = Cache(store, tmp_path / "cache" / "making", said.append)
    keep(cache, "before", "value")
    store.number = number
    for i in range(3):
        making = Making(cache.folder, str, seen(str))
        making.value(value)
        with making.finish() as artifact:
            assert not cache.put(f"{i}", artifact)
            assert artifact.load() == value
    assert ask(cache, "before") is None
    cache.note("p", "n", {}, "key", "digest")
    assert cache.last("p", "n") is None
    with cache.alone("key", lambda: False) as waited:
        assert not waited
    assert len(said) == 1
    assert os.strerror(number) in said[0]
    assert list((tmp_path / "cache" / "making").iterdir()) == []
    cache.close()


def test_a_full_disk_is_one_warning(tmp_path: Path) -> None:
    """A real one: the output goes to the temporary folder, and is used."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k,mode=700", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("mounting takes rights that are not here")
    said: list[str] = []
    cache = open_cache(folder / "cache", said)
    try:
        assert keep(cache, "small", "value")
        making = Making(cache.folder, str, seen(str))
        making.value(LARGE)
        with making.finish() as artifact:
            assert artifact.load() == LARGE
            assert not cache.put("key", artifact)
        assert len(said) == 1
        assert "No space left" in said[0]
    finally:
        cache.close()
        subprocess.run(["umount", str(folder)], check=True)


def test_a_network_file_system_is_recognised(tmp_path: Path) -> None:
    """By its type, at the deepest mount above the folder (F15)."""
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda / ext4 rw 0 0\nserver:/x /data nfs4 rw 0 0\n/dev/sdb /data/local xfs rw 0 0\n"
    )
    assert on_network("/data/home/.petal/cache", str(mounts)) == "nfs4"
    assert on_network("/data/local/.petal/cache", str(mounts)) is None
    assert on_network("/home", str(mounts)) is None
    assert on_network("/datax", str(mounts)) is None
    assert on_network("/home", str(tmp_path / "nothing")) is None


def test_one_thread_computes_while_the_others_wait(tmp_path: Path) -> None:
    """Sixteen threads want one output: it is computed once."""
    cache = open_cache(tmp_path / "cache")
    computed: list[int] = []
    start = threading.Barrier(16)

    def want(number: int) -> str:
        start.wait()
        with cache.alone("key", lambda: False):
            found = ask(cache, "key")
            if found is None:
                computed.append(number)
                time.sleep(0.05)
                keep(cache, "key", "value")
                found = "value"
            return str(found)

    with ThreadPoolExecutor(16) as pool:
        assert {*pool.map(want, range(16))} == {"value"}
    assert len(computed) == 1
    assert list((tmp_path / "cache" / "making").iterdir()) == []
    cache.close()


def test_other_keys_do_not_wait(cache: Cache) -> None:
    """A lock is of one key."""
    with cache.alone("one", lambda: False), cache.alone("two", lambda: False) as waited:
        assert not waited


def test_waiting_ends_when_the_run_is_stopped(cache: Cache) -> None:
    """Without the lock, and without taking it from who has it."""
    with cache.alone("key", lambda: False):
        asked: list[int] = []

        def stop() -> bool:
            asked.append(1)
            return len(asked) > 3

        done = threading.Thread(target=_enter, args=(cache, stop))
        done.start()
        done.join(10)
        assert not done.is_alive()
        assert len(asked) > 3


def _enter(cache: Cache, stop: Any) -> None:
    with cache.alone("key", stop) as waited:
        assert waited


def test_a_process_that_is_killed_blocks_nobody(cache: Cache, tmp_path: Path) -> None:
    """Its lock is gone with it, and what it was writing is swept away."""
    code = textwrap.dedent(
        f"""
        import pathlib, time
        from petal.data.artifact import Making
        from petal.spec.views import seen
        from tests.data.caches import open_cache
        cache = open_cache(pathlib.Path({str(tmp_path / "cache")!r}))
        with cache.alone("key", lambda: False):
            making = Making(cache.folder, bytes, seen(bytes))
            making.value(b"x" * 1000000)
            print("locked", flush=True)
            time.sleep(60)
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"locked\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    making = tmp_path / "cache" / "making"
    assert any(p.name.endswith(".tmp") for p in making.iterdir())
    other = open_cache(tmp_path / "cache")
    assert other.folder is not None
    assert list(making.iterdir()) == []
    with cache.alone("key", lambda: False) as waited:
        assert not waited
        assert open_cache(tmp_path / "cache").folder is not None
        assert [p.name for p in making.iterdir()] == ["key.lock"]  # it has an owner
    assert list(making.iterdir()) == []


def test_what_is_being_made_is_not_swept(tmp_path: Path) -> None:
    """Another run that starts meanwhile leaves it alone."""
    cache = open_cache(tmp_path / "cache")
    making = Making(cache.folder, str, seen(str))
    making.value(LARGE)
    other = open_cache(tmp_path / "cache")
    assert other.folder is not None
    with making.finish() as artifact:
        assert cache.put("key", artifact)
    assert ask(other, "key") == LARGE
    cache.close()
    other.close()


def test_notes_tell_what_a_node_was_made_of(cache: Cache, tmp_path: Path) -> None:
    """The last one counts; one that is damaged is none."""
    assert cache.last("p", "n") is None
    cache.note("p", "n", {"parameter x": "int 1"}, "key", "digest")
    cache.note("p", "n", {"parameter x": "int 2"}, "key2", "digest2")
    cache.note("p", "m", {}, "key3", "digest3")
    found = cache.last("p", "n")
    assert found is not None
    assert (found["parts"], found["key"], found["digest"]) == ({"parameter x": "int 2"}, "key2", "digest2")
    store = DiskStore(tmp_path / "cache")
    for name in store.keys():  # noqa: SIM118
        store.put(name, b"damaged" * 20)
    store.close()
    assert cache.last("p", "n") is None
    assert list(cache.entries()) == []


def test_what_is_stored_is_told_and_forgotten(cache: Cache) -> None:
    """By node, by pipeline, all of it; notes are no outputs."""
    for pipeline in ("one", "two"):
        for node in ("a", "b"):
            about = {"pipeline": pipeline, "node": node, "operator": "Op"}
            keep(cache, f"{pipeline}-{node}", [1, 2], list[int], about=about)
            cache.note(pipeline, node, {}, "key", "digest")
    entries = list(cache.entries())
    assert len(entries) == 4
    assert {e.label.rows for e in entries if e.label} == {2}
    assert cache.clear(node="a", pipeline="one") == 1
    assert cache.clear(node="b") == 2
    assert cache.verify() == []
    assert [e.key for e in cache.entries()] == ["two-a"]
    assert cache.look("two-a").problem is None
    assert cache.look("one-a").problem == "nothing is stored"
    assert cache.clear() == 1
    assert list(cache.entries()) == []


def test_frames_and_streams_are_cached(cache: Cache) -> None:
    """As they are declared."""
    frame = pl.DataFrame({"n": range(200_000)})
    keep(cache, "frame", frame, pl.DataFrame)
    keep(cache, "rows", [["a", "b"], ["c"]], Iterator[str])
    assert ask(cache, "frame", pl.DataFrame).equals(frame)
    assert ask(cache, "rows", Iterator[str]) == ["a", "b", "c"]


def test_labels_hold_no_code_and_no_secret(cache: Cache, tmp_path: Path) -> None:
    """What stands behind an output is plain JSON, redacted."""
    hide("label-secret-canary")
    keep(cache, "key", LARGE, about={"node": "n label-secret-canary"})
    (path,) = files(tmp_path / "cache")
    data = path.read_bytes()
    assert b"label-secret-canary" not in data
    start = data.rindex(b'{"schema"')
    assert json.loads(data[start : data.rindex(b"}}") + 2])["key"] == "key"
