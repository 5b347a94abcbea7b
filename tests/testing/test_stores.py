"""`StoreContract`: Petal's own store keeps it, and each way to break it is found."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from petal import open_store
from petal.data.disk_store import DiskStore
from petal.interfaces.store import Store, StoreStats
from petal.testing import StoreContract


class TestFolderStore(StoreContract):
    def open_store(self, folder: Path) -> Store:
        return open_store(folder.as_uri())


class TestDiskStore(StoreContract):
    def open_store(self, folder: Path) -> Store:
        return DiskStore(folder)


_PLACES: dict[Path, dict[str, bytes]] = {}


class Memory:
    """A store in memory: as simple as it gets."""

    def __init__(self, folder: Path) -> None:
        self.values = _PLACES.setdefault(folder, {})

    def get(self, key: str) -> bytes | None:
        return self.values.get(key)

    def has(self, key: str) -> bool:
        return key in self.values

    def put(self, key: str, source: bytes | Path, *, ttl: float | None = None, durable: bool = False) -> bool:
        if isinstance(source, Path):
            data = source.read_bytes()
            source.unlink()
        else:
            data = source
        self.values[key] = data
        return True

    def delete(self, key: str) -> bool:
        return self.values.pop(key, None) is not None

    def keys(self) -> Iterable[str]:
        return list(self.values)

    def stats(self) -> StoreStats:
        return StoreStats(len(self.values), sum(map(len, self.values.values())))

    def clear(self) -> int:
        count = len(self.values)
        self.values.clear()
        return count

    def close(self) -> None:
        pass


class TestMemory(StoreContract):
    def open_store(self, folder: Path) -> Store:
        return Memory(folder)


class Cuts(Memory):
    def get(self, key: str) -> bytes | None:
        found = super().get(key)
        return found and found[:20_000]


class LeavesFiles(Memory):
    def put(self, key: str, source: bytes | Path, **how: Any) -> bool:
        return super().put(key, source.read_bytes() if isinstance(source, Path) else source, **how)


class Alone(Memory):
    def __init__(self, folder: Path) -> None:
        self.values = {}


class Mixes(Memory):
    last = b""

    def put(self, key: str, source: bytes | Path, **how: Any) -> bool:
        if isinstance(source, bytes):
            self.last = source
            time.sleep(0.0005)
            source = self.last
        return super().put(key, source, **how)


class KeepsDeleted(Memory):
    def delete(self, key: str) -> bool:
        return key in self.values


class Miscounts(Memory):
    def stats(self) -> StoreStats:
        return StoreStats(1, 0)


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (Cuts, "test_threads_do_not_mix_values"),
        (Mixes, "test_threads_do_not_mix_values"),
        (KeepsDeleted, "test_a_value_is_deleted"),
        (Alone, "test_a_value_is_deleted"),
        (Miscounts, "test_keys_and_sizes_are_told"),
    ],
)
def test_a_broken_store_is_found(broken: type[Memory], test: str, tmp_path: Path) -> None:
    """Each way to break the contract fails a test of it."""
    contract = StoreContract()
    with pytest.raises(AssertionError):
        getattr(contract, test)(lambda: broken(tmp_path))


@pytest.mark.parametrize("broken", [Cuts, Alone])
def test_a_store_that_changes_bytes_is_found(broken: type[Memory], tmp_path: Path) -> None:
    """What does not come back, to whoever asks, fails a test of the contract."""
    with pytest.raises(AssertionError):
        StoreContract().test_bytes_come_back(lambda: broken(tmp_path), 40_000)


def test_a_store_that_leaves_a_file_is_found(tmp_path: Path) -> None:
    """A file is the store's from the moment that it is put."""
    with pytest.raises(AssertionError):
        StoreContract().test_files_come_back(lambda: LeavesFiles(tmp_path), tmp_path, 40_000)
