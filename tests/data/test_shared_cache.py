"""A cache that machines share: verified, signed where there are keys, and never able to fail a run (FAULTS 3.2)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from petal.data.cache import Cache
from petal.data.cache_entry import Label, sealed, signed
from petal.data.disk_store import DiskStore
from petal.data.folder_store import FolderStore
from petal.data.shared_cache import SharedCache
from petal.data.signing import Keyring
from petal.spec.redaction import hide
from tests.data.caches import ask, keep

KEY = "a" * 64
MINE, THEIRS = Keyring({"mine": b"m" * 40}), Keyring({"theirs": b"t" * 40})
BOTH = Keyring({"mine": b"m" * 40, "theirs": b"t" * 40})
LARGE = "é" * 400_000


class Machine:
    """A cache of one machine, in front of a store that it shares with others."""

    def __init__(self, folder: Path, name: str, ring: Keyring | None = None, store: Any = None) -> None:
        self.said: list[str] = []
        shared = folder / "shared"
        self.shared = SharedCache(
            shared.as_uri(), lambda: store or FolderStore(shared), lambda: ring, self.said.append
        )
        own = DiskStore(folder / name)
        self.cache = Cache(own, folder / name / "making", self.said.append, shared=self.shared)


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Any]:
    made: list[Machine] = []

    def machine(name: str, ring: Keyring | None = None, store: Any = None) -> Machine:
        made.append(Machine(tmp_path, name, ring, store))
        return made[-1]

    yield machine
    for one in made:
        one.cache.close()


@pytest.mark.parametrize("ring", [None, MINE], ids=["plain", "signed"])
@pytest.mark.parametrize("value", ["small", LARGE], ids=["small", "large"])
def test_what_one_machine_makes_another_finds(machines: Any, value: str, ring: Keyring | None) -> None:
    """It is fetched once; from then on it is the other one's own, which says where it came from."""
    one, two = machines("one", ring), machines("two", ring)
    assert keep(one.cache, KEY, value, about={"node": "n"})
    assert ask(two.cache, KEY) == value
    assert (two.shared.stats.fetched, two.cache.stats.hits, two.cache.stats.misses) == (1, 1, 0)
    assert ask(two.cache, KEY) == value
    assert two.shared.stats.fetched == 1
    label = two.cache.look(KEY).label
    assert label is not None
    assert label.about == {"node": "n", "from": two.shared.url}
    assert one.said == two.said == []


def test_streams_come_back_as_they_were_put(machines: Any) -> None:
    """In pieces, and in order."""
    one, two = machines("one"), machines("two")
    rows = [[f"row {i}" for i in range(k, k + 5000)] for k in range(0, 50_000, 5000)]
    keep(one.cache, KEY, rows, Iterator[str])
    assert ask(two.cache, KEY, Iterator[str]) == [row for piece in rows for row in piece]


def test_what_was_fetched_is_asked_about_without_fetching_it(machines: Any, tmp_path: Path) -> None:
    """`look` reads some hundred bytes; of what is gone, or over, it says nothing."""
    one, two = machines("one", MINE), machines("two", MINE)
    keep(one.cache, KEY, LARGE, about={"node": "n"})
    label = two.shared.look(KEY)
    assert label is not None
    assert label.about == {"node": "n"}
    assert two.shared.stats.fetched == 0
    (tmp_path / "shared" / f"out_{KEY}").unlink()
    assert two.shared.look(KEY) is None
    assert ask(two.cache, KEY) is None


def test_what_is_over_is_a_miss(machines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A time to live holds on every machine, from when the output was made."""
    one, two = machines("one"), machines("two")
    keep(one.cache, KEY, "value", ttl=100.0)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 101)
    assert ask(two.cache, KEY) is None
    assert two.shared.look(KEY) is None


def test_what_is_made_anew_replaces_what_is_shared(machines: Any) -> None:
    """`--refresh` helps everybody."""
    one, two, three = machines("one"), machines("two"), machines("three")
    keep(one.cache, KEY, "old")
    keep(two.cache, KEY, "new")
    assert ask(three.cache, KEY) == "new"


def test_what_is_of_use_to_nobody_else_is_not_shared(machines: Any, tmp_path: Path) -> None:
    """An output that is stored for one run alone stays here."""
    keep(machines("one").cache, KEY, "value", shares=False)
    assert not (tmp_path / "shared").exists()


def test_a_secret_is_not_shared(machines: Any, tmp_path: Path) -> None:
    """F82: an output that holds one is kept nowhere."""
    hide("a-very-secret-value")
    one = machines("one")
    assert not keep(one.cache, KEY, "it is a-very-secret-value")
    assert not (tmp_path / "shared").exists()


# -- damage -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ring", [None, MINE], ids=["plain", "signed"])
def test_damage_anywhere_is_a_miss(machines: Any, tmp_path: Path, ring: Keyring | None) -> None:
    """F09: each byte changed, the entry cut at each length, or one under another key: never served, always made anew."""
    one = machines("one", ring)
    keep(one.cache, KEY, "some value", about={"node": "n"})
    path = tmp_path / "shared" / f"out_{KEY}"
    whole = path.read_bytes()
    bad = [whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :] for i in range(len(whole))]
    bad += [whole[:i] for i in range(0, len(whole), 7)] + [whole + b"x", b"", os.urandom(500)]
    served = []
    for i, data in enumerate(bad):
        path.write_bytes(data)
        two = machines(f"two{i % 4}-{i}", ring)
        if ask(two.cache, KEY) is not None:
            served.append(i)
        assert two.shared.stats.damaged + two.shared.stats.unsigned >= (i not in served), i
        two.cache.close()
    assert served == []
    (tmp_path / "shared" / f"out_{'b' * 64}").write_bytes(whole)
    assert ask(machines("other", ring).cache, "b" * 64) is None


def test_control_the_entry_itself_is_served(machines: Any, tmp_path: Path) -> None:
    """What was written back as it was gives the value."""
    keep(machines("one").cache, KEY, "some value")
    path = tmp_path / "shared" / f"out_{KEY}"
    path.write_bytes(path.read_bytes())
    assert ask(machines("two").cache, KEY) == "some value"


# -- signatures -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("made_with", [None, THEIRS], ids=["unsigned", "another key"])
def test_what_is_not_signed_by_a_known_key_is_not_used_and_that_is_said(
    machines: Any, made_with: Keyring | None
) -> None:
    """G7: silent misses would hide that everything is made twice: the first is warned of, and all are counted."""
    one, two = machines("one", made_with), machines("two", MINE)
    keys = ["a" * 64, "b" * 64, "c" * 64]
    for key in keys:
        keep(one.cache, key, "planted")
    assert [ask(two.cache, key) for key in keys] == [None, None, None]
    assert two.shared.stats.unsigned == 3
    assert len(two.said) == 1
    assert "PETAL_KEYRING" in two.said[0]
    two.cache.close()
    assert two.said[1].startswith("3 outputs in file://")


def test_keys_are_changed_one_by_one(machines: Any) -> None:
    """Who has both keys uses what either signed; what needs no signature takes what has one."""
    keep(machines("one", THEIRS).cache, KEY, "value")
    assert ask(machines("two", BOTH).cache, KEY) == "value"
    assert ask(machines("three", None).cache, KEY) == "value"


def test_a_signature_holds_for_its_output_alone(machines: Any, tmp_path: Path) -> None:
    """Behind another output, or under another key, a good signature is worth nothing."""
    one = machines("one", MINE)
    keep(one.cache, KEY, "good")
    keep(one.cache, "b" * 64, "evil")
    shared = tmp_path / "shared"
    good, evil = ((shared / f"out_{k}").read_bytes() for k in (KEY, "b" * 64))
    label = one.cache.look(KEY).label
    assert label is not None
    forged = Label(1, KEY, "0" * 64, 3, None, time.time(), None, {})
    wrong = [evil, evil[: label.size] + good[label.size :], b"abc" + sealed(forged) + good[-60:]]
    for i, data in enumerate(wrong):
        (shared / f"out_{KEY}").write_bytes(data)
        assert ask(machines(f"two{i}", MINE).cache, KEY) is None, i
    (shared / f"out_{KEY}").write_bytes(good)
    assert ask(machines("control", MINE).cache, KEY) == "good"


def test_what_is_said_is_signed_as_well(machines: Any, tmp_path: Path) -> None:
    """`petal cache explain` shows nothing that anybody could have written."""
    keep(machines("one").cache, KEY, "value")
    two = machines("two", MINE)
    assert two.shared.look(KEY) is None
    path = tmp_path / "shared" / f"label_{KEY}"
    path.write_bytes(signed(path.read_bytes(), MINE))
    assert two.shared.look(KEY) is not None
    path.write_bytes(b"nonsense")
    assert two.shared.look(KEY) is None


# -- a store that fails -----------------------------------------------------------------------------------------


class Fails(FolderStore):
    """A store that fails, as one over the network may."""

    def __init__(self, error: Exception, only: str) -> None:
        super().__init__("/nowhere")
        self.error, self.only, self.calls = error, only, 0

    def get(self, key: str) -> None:
        self._fail("get")

    def put(self, key: str, source: Any, **_: Any) -> bool:
        self._fail("put")
        return True

    def close(self) -> None:
        self._fail("close")

    def _fail(self, call: str) -> None:
        self.calls += 1
        if self.only == call:
            raise self.error


@pytest.mark.parametrize(
    "error", [TimeoutError(110, "no answer"), PermissionError(13, "denied"), RuntimeError("a bug")]
)
@pytest.mark.parametrize("call", ["get", "put", "close"])
def test_a_store_that_fails_is_asked_no_more_and_harms_nothing(
    machines: Any, call: str, error: Exception
) -> None:
    """One warning that names it; this machine's own cache goes on."""
    store = Fails(error, call)
    one = machines("one", None, store)
    for i in range(5):
        assert ask(one.cache, str(i) * 64) is None
        assert keep(one.cache, str(i) * 64, "value")
        assert ask(one.cache, str(i) * 64) == "value"
    one.cache.close()
    assert len(one.said) == 1
    assert "the shared cache file://" in one.said[0]
    assert str(error.args[-1]) in one.said[0]
    if call != "close":
        assert store.calls <= 3


def test_a_store_that_cannot_be_opened_harms_nothing(tmp_path: Path) -> None:
    """Nor does a keyring that cannot be read: nothing passes unsigned then."""

    def refuses() -> Any:
        raise PermissionError(13, "denied")

    said: list[str] = []
    for shared in (
        SharedCache("s3://x", refuses, warn=said.append),
        SharedCache("s3://x", lambda: FolderStore(tmp_path / "s"), refuses, said.append),
    ):
        cache = Cache(DiskStore(tmp_path / "own"), tmp_path / "own" / "making", shared=shared)
        assert keep(cache, KEY, "value")
        assert ask(cache, KEY) == "value"
        cache.close()
    assert len(said) == 2
    assert not (tmp_path / "s").exists()
