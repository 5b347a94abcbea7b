"""The contract of stores: bytes come back as they were put, whoever else uses the store meanwhile."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import pytest

from petal.errors import UsageError
from petal.interfaces.store import Store
from petal.testing.subject import check

_SIZES = (0, 1, 1000, 40_000, 1 << 20)


class StoreContract:
    """Tests of one store; subclass it in a class whose name begins with ``Test``.

    ```python
    class TestBucketStore(StoreContract):
        def open_store(self, folder: Path) -> Store:
            return BucketStore("s3://a-bucket/a-prefix")
    ```

    Two stores that :meth:`open_store` opens with one folder see the same values.
    """

    def open_store(self, folder: Path) -> Store:
        """Open the store under test; ``folder`` is empty, and is the test's own.

        Raises:
            UsageError: The class does not say how.
        """
        raise UsageError(
            f"{type(self).__name__} opens no store ({folder})",
            hint="write `def open_store(self, folder): return ...`",
        )

    @pytest.fixture
    def opened(self, tmp_path: Path) -> Iterator[Callable[[], Store]]:
        """Open stores of one place; all are closed and emptied at the end."""
        folder = tmp_path / "store"
        stores: list[Store] = []

        def one() -> Store:
            stores.append(self.open_store(folder))
            return stores[-1]

        yield one
        for i, store in enumerate(stores):
            if i == 0:
                store.clear()
            store.close()

    @pytest.mark.parametrize("size", _SIZES)
    def test_bytes_come_back(self, opened: Callable[[], Store], size: int) -> None:
        """Bytes of any length, through the same store and through another."""
        data = os.urandom(size)
        store = opened()
        check(store.put("out:key", data) is True, "put() did not say that it keeps the value")
        check(read(store.get("out:key")) == data, f"{size} bytes did not come back")
        check(read(opened().get("out:key")) == data, f"{size} bytes did not come to another store")

    @pytest.mark.parametrize("size", _SIZES)
    def test_files_come_back(self, opened: Callable[[], Store], tmp_path: Path, size: int) -> None:
        """A file is the store's from then on: its content comes back, and it is gone from where it was."""
        data, path = os.urandom(size), tmp_path / "value"
        path.write_bytes(data)
        store = opened()
        check(store.put("out:key", path) is True, "put() did not say that it keeps the value")
        check(not path.exists(), "the file is still where it was")
        check(read(store.get("out:key")) == data, f"a file of {size} bytes did not come back")

    def test_what_is_not_there_is_none(self, opened: Callable[[], Store]) -> None:
        """Nothing is an answer, not an error."""
        store = opened()
        check(store.get("out:key") is None, "a key that was never put has a value")
        check(store.delete("out:key") is False, "delete() found a key that was never put")

    def test_a_value_is_replaced(self, opened: Callable[[], Store]) -> None:
        """The last one counts, and there is one entry."""
        store = opened()
        for data in (b"one", b"2" * 100_000, b"three"):
            store.put("out:key", data)
            check(read(store.get("out:key")) == data, "the value that was put last did not come back")
        check(list(store.keys()) == ["out:key"], "a key that was put three times is there more than once")

    def test_a_value_that_is_being_read_stays(self, opened: Callable[[], Store]) -> None:
        """Whoever has asked for a value reads that one, although it is replaced and deleted."""
        store, data = opened(), os.urandom(1 << 20)
        store.put("out:key", data)
        found = store.get("out:key")
        store.put("out:key", b"another")
        store.delete("out:key")
        check(read(found) == data, "a value changed while it was read")

    def test_a_value_is_deleted(self, opened: Callable[[], Store]) -> None:
        """For every store of that place."""
        store, other = opened(), opened()
        store.put("out:key", b"value")
        check(other.delete("out:key") is True, "delete() did not find the key")
        check(store.get("out:key") is None, "a deleted value came back")

    def test_keys_and_sizes_are_told(self, opened: Callable[[], Store]) -> None:
        """What is there, and nothing else; `clear` empties it."""
        store = opened()
        names = {"out:" + "f" * 64, "note:" + "0" * 64, "k" * 200}
        for name in names:
            store.put(name, b"x" * 50_000)
        stats = store.stats()
        check(set(store.keys()) == names, f"keys() gave {set(store.keys())}")
        check(stats.entries == len(names), f"stats() counts {stats.entries} entries of {len(names)}")
        check(stats.size >= 50_000 * len(names), f"stats() counts {stats.size} bytes")
        check(store.clear() == len(names), "clear() did not count what it forgot")
        check(list(store.keys()) == [], "something is left after clear()")

    def test_a_time_to_live_is_kept(self, opened: Callable[[], Store]) -> None:
        """A value with time left is there."""
        store = opened()
        store.put("out:key", b"value", ttl=3600.0)
        check(read(store.get("out:key")) == b"value", "a value vanished long before its time")

    def test_durable_values_come_back(self, opened: Callable[[], Store], tmp_path: Path) -> None:
        """Bytes and files alike."""
        path = tmp_path / "value"
        path.write_bytes(b"f" * 100_000)
        store = opened()
        store.put("out:file", path, durable=True)
        store.put("out:bytes", b"b", durable=True)
        check(read(store.get("out:file")) == b"f" * 100_000, "a durable file did not come back")
        check(read(store.get("out:bytes")) == b"b", "durable bytes did not come back")

    def test_threads_do_not_mix_values(self, opened: Callable[[], Store]) -> None:
        """Eight threads write and read eight keys: each value belongs to its key, whole."""
        store = opened()
        start = threading.Barrier(8)

        def work(thread: int) -> None:
            start.wait()
            for i in range(20):
                key = f"out:{(thread + i) % 8}"
                store.put(key, key.encode() * (1 + 5000 * (i % 2)))
                found = read(store.get(key))
                check(found is None or found in whole(key), f"{key} gave what belongs to another")

        def whole(key: str) -> tuple[bytes, bytes]:
            return key.encode(), key.encode() * 5001

        with ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(work, i) for i in range(8)]:
                done.result()

    def test_it_says_what_is_there(self, opened: Callable[[], Store]) -> None:
        """`has` finds a small and a large value, in another store too, and neither after it was deleted."""
        store, other = opened(), opened()
        for size in (3, 1 << 20):
            check(store.has("out:key") is False, "has() found a key that has no value")
            store.put("out:key", b"x" * size)
            check(store.has("out:key") is True, f"has() did not find a value of {size} bytes")
            check(
                other.has("out:key") is True, f"has() of another store did not find a value of {size} bytes"
            )
            store.delete("out:key")

    def test_of_several_that_add_one_succeeds(self, opened: Callable[[], Store]) -> None:
        """Where a store has `add`: eight threads add a value under one key, and the one that was told so is there."""
        stores = [opened() for _ in range(8)]
        if not hasattr(stores[0], "add"):
            pytest.skip("this store cannot tell who was first")
        start = threading.Barrier(8)

        def work(number: int) -> bool:
            start.wait()
            return stores[number].add("run:key", str(number).encode() * 1000)  # type: ignore[attr-defined,no-any-return]

        with ThreadPoolExecutor(8) as pool:
            told = list(pool.map(work, range(8)))
        check(told.count(True) == 1, f"{told.count(True)} of 8 were told that they were first")
        first = str(told.index(True)).encode() * 1000
        check(
            read(stores[0].get("run:key")) == first, "the value is not of the one that was told to be first"
        )
        check(stores[0].add("run:key", b"late") is False, "add() replaced a value")

    def test_it_may_be_closed_twice(self, opened: Callable[[], Store]) -> None:
        """Whoever cleans up need not know who did already."""
        store = opened()
        store.put("out:key", b"value")
        store.close()
        store.close()
        check(read(opened().get("out:key")) == b"value", "a value is gone after close()")


def read(found: bytes | BinaryIO | None) -> bytes | None:
    """Return all bytes that a store gave."""
    if found is None or isinstance(found, bytes):
        return found
    with found:
        return found.read()
