"""A disk that fails where it is told to, and that can lose its power: in place of `os` in the writer's modules."""

from __future__ import annotations

import errno
import io
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from petal.data import files, journal, published, publishing

MODULES = (files, publishing, published, journal)


class Disk:
    """Does what `os` does, writes down what it did, and fails at one call or from one on.

    Args:
        fault: The error of the call that fails, None for a disk that works.
        at: Which call fails, from 1.
        always: Whether all later ones fail as well.
        syncs: Whether fsync of a file has an effect; False is a positive control.
        syncs_folders: Whether fsync of a folder has one.
    """

    def __init__(
        self,
        fault: int | None = None,
        at: int = 0,
        *,
        always: bool = False,
        syncs: bool = True,
        syncs_folders: bool = True,
    ) -> None:
        self._fault, self._at, self._always = fault, at, always
        self._syncs, self._syncs_folders = syncs, syncs_folders
        self.calls = 0
        self.failed = 0
        self.log: list[tuple[Any, ...]] = []
        self._files: dict[int, int] = {}  # descriptor -> file
        self._folders: dict[int, str] = {}
        self._names: dict[str, int] = {}
        self._sizes: dict[int, int] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    @contextmanager
    def mounted(self, monkeypatch: Any) -> Iterator[Disk]:
        """Be what the writer's modules call while the block runs."""
        with monkeypatch.context() as patch:
            for module in MODULES:
                patch.setattr(module, "os", self)
            yield self

    def told(self, what: str) -> None:
        """Note that something was reported as done."""
        self.log.append(("told", what))

    def holds(self, path: Path) -> None:
        """Note a file that is there from the beginning, safe on the disk."""
        number = self._file(str(path))
        self.log += [("create", str(path), number), ("write", number, 0, path.read_bytes())]
        self.log += [("sync", number), ("sync folder", str(path.parent))]
        self._sizes[number] = path.stat().st_size

    def _step(self, partly: Any = None) -> None:
        self.calls += 1
        due = self._fault is not None and (self.calls == self._at or (self._always and self.calls > self._at))
        if due:
            self.failed += 1
            if partly is not None:
                partly()
            raise OSError(self._fault, os.strerror(self._fault or 0))

    def _file(self, path: str) -> int:
        self._names[path] = len(self._sizes)
        self._sizes[self._names[path]] = 0
        return self._names[path]

    # -- what `os` does -------------------------------------------------------------------------------------

    def open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        """Open a file or folder."""
        self._step()
        name, is_new = os.fspath(path), bool(flags & os.O_CREAT) and not os.path.exists(path)
        descriptor = os.open(path, flags, mode)
        if flags & os.O_DIRECTORY:
            self._folders[descriptor] = name
        elif is_new:
            self._files[descriptor] = self._file(name)
            self.log.append(("create", name, self._files[descriptor]))
        elif name in self._names:
            self._files[descriptor] = self._names[name]
            if flags & os.O_TRUNC:
                self._sizes[self._names[name]] = 0
                self.log.append(("truncate", self._names[name], 0))
        return descriptor

    def dup(self, descriptor: int) -> int:
        """Duplicate a descriptor."""
        found = os.dup(descriptor)
        self._files[found] = self._files.get(descriptor, -1)
        return found

    def close(self, descriptor: int) -> None:
        """Close a descriptor."""
        self._files.pop(descriptor, None)
        self._folders.pop(descriptor, None)
        os.close(descriptor)

    def write(self, descriptor: int, data: Any) -> int:
        """Write at the end; a write that fails has written half."""
        data = bytes(data)

        def write(part: bytes) -> int:
            number = self._files[descriptor]
            self.log.append(("write", number, self._sizes[number], part))
            self._sizes[number] += len(part)
            return os.write(descriptor, part)

        self._step(lambda: write(data[: len(data) // 2]))
        return write(data)

    def fdopen(self, descriptor: int, mode: str, buffering: int) -> Any:
        """Open a file whose writes come here."""
        disk = self

        class Raw(io.RawIOBase):
            def writable(self) -> bool:
                return True

            def fileno(self) -> int:
                return descriptor

            def write(self, data: Any) -> int:
                return disk.write(descriptor, data)

            def close(self) -> None:
                if not self.closed:
                    super().close()
                    disk.close(descriptor)

        return io.BufferedWriter(Raw(), buffering)

    def fsync(self, descriptor: int) -> None:
        """Sync a file or folder."""
        self._step()
        if descriptor in self._folders:
            if self._syncs_folders:
                self.log.append(("sync folder", self._folders[descriptor]))
        elif self._syncs:
            self.log.append(("sync", self._files[descriptor]))

    def ftruncate(self, descriptor: int, size: int) -> None:
        """Cut a file."""
        self._step()
        number = self._files[descriptor]
        self._sizes[number] = size
        self.log.append(("truncate", number, size))
        os.ftruncate(descriptor, size)

    def replace(self, source: Any, target: Any) -> None:
        """Rename."""
        self._step()
        os.replace(source, target)
        self._names[os.fspath(target)] = number = self._names.pop(os.fspath(source))
        self.log.append(("rename", os.fspath(source), os.fspath(target), number))

    def chmod(self, path: Any, mode: int) -> None:
        """Set a mode."""
        self._step()
        os.chmod(path, mode)

    def unlink(self, path: Any) -> None:
        """Remove a name."""
        self._step()
        os.unlink(path)
        self._names.pop(os.fspath(path), None)
        self.log.append(("unlink", os.fspath(path)))


FAULTS = {"full": errno.ENOSPC, "broken": errno.EIO}


def after_power_loss(log: list[tuple[Any, ...]], chance: random.Random) -> dict[str, bytes]:
    """Return what a disk could hold after the power went at the end of a log: what was synced, and any part of the rest.

    Of a file's unsynced writes any may be lost, and the last be torn; of the changes to names in a folder since that
    was synced, any.
    """
    contents: dict[int, bytes] = {}
    pending: dict[int, list[tuple[Any, ...]]] = {}
    names: dict[str, int] = {}
    changes: list[tuple[str, dict[str, int | None]]] = []
    for kind, *rest in log:
        if kind in ("write", "truncate"):
            pending.setdefault(rest[0], []).append((kind, *rest[1:]))
        elif kind == "sync":
            contents[rest[0]] = _applied(contents.get(rest[0], b""), pending.pop(rest[0], []))
        elif kind == "create":
            contents.setdefault(rest[1], b"")
            changes.append((os.path.dirname(rest[0]), {rest[0]: rest[1]}))
        elif kind == "rename":
            changes.append((os.path.dirname(rest[1]), {rest[0]: None, rest[1]: rest[2]}))
        elif kind == "unlink":
            changes.append((os.path.dirname(rest[0]), {rest[0]: None}))
        elif kind == "sync folder":
            _apply(names, [c for f, c in changes if f == rest[0]])
            changes = [c for c in changes if c[0] != rest[0]]
    for number, writes in pending.items():
        kept = [w for w in writes if chance.random() < 0.5]
        if kept and kept[-1][0] == "write" and chance.random() < 0.5:
            kind, at, data = kept[-1]
            kept[-1] = (kind, at, data[: chance.randrange(len(data) + 1)])
        contents[number] = _applied(contents.get(number, b""), kept)
    _apply(names, [c for _, c in changes if chance.random() < 0.5])
    return {name: contents.get(number, b"") for name, number in names.items()}


def _apply(names: dict[str, int], changes: list[dict[str, int | None]]) -> None:
    for change in changes:
        for name, number in change.items():
            if number is None:
                names.pop(name, None)
            else:
                names[name] = number


def _applied(content: bytes, writes: list[tuple[Any, ...]]) -> bytes:
    for write in writes:
        if write[0] == "truncate":
            content = content[: write[1]]
            continue
        _, at, data = write
        content = content.ljust(at, b"\0")[:at] + data + content[at + len(data) :]
    return content
