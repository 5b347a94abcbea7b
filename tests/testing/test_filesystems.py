"""`FileSystemContract`: the file system over a folder keeps it, and each way to break it is found."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from petal import FileSystem
from petal.interfaces.filesystem import Description, Upload
from petal.testing import FileSystemContract, FolderFileSystem

pytest_plugins = "pytester"


class TestFolderFileSystem(FileSystemContract):
    @pytest.fixture
    def filesystem(self, tmp_path: Path) -> FileSystem:
        return FolderFileSystem(tmp_path)

    @pytest.fixture
    def another(self, tmp_path: Path) -> FileSystem:
        return FolderFileSystem(tmp_path)

    @pytest.fixture
    def folder(self) -> str:
        return "shelf://tests/some/folder"


class Broken(FolderFileSystem):
    """One that does a thing wrong."""


class SeenAtOnce(Broken):
    """What is written is seen before it is committed."""

    def write(self, url: str, *, owner: str) -> Upload:
        path = self._asked("write", url)
        path.parent.mkdir(parents=True, exist_ok=True)
        upload = _Plain(path)
        self.opened = upload.file
        return upload


class _Plain:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.file: BinaryIO = path.open("wb", buffering=0)  # type: ignore[assignment]

    def store(self) -> None:
        self.file.close()

    def hand_over(self) -> str:
        return "token"

    def commit(self) -> Description:
        self.file.close()
        return Description(self._path.stat().st_size, str(self._path.stat().st_mtime_ns))

    def abort(self) -> None:
        self._path.unlink(missing_ok=True)


class CutShort(Broken):
    """The end of a file does not come."""

    def read(self, url: str) -> BinaryIO:
        with super().read(url) as file:
            return io.BytesIO(file.read(100_000))


class AnyToken(Broken):
    """A token publishes any URL."""

    def _upload(self, url: str, owner: str) -> Path:
        return self._folder / ".uploads" / (os.path.basename(owner) or "none")


class TimeAsVersion(Broken):
    """The version is not that of the content."""

    def describe(self, url: str) -> Description | None:
        found = super().describe(url)
        return None if found is None else Description(found.size, "the same for all")


class EverythingMatches(Broken):
    """Patterns are not looked at."""

    def find(self, pattern: str) -> list[str]:
        return super().find(pattern.rpartition("/")[0] + "/**")


class Unsorted(Broken):
    def find(self, pattern: str) -> list[str]:
        return super().find(pattern)[::-1]


class Mixed(Broken):
    """A file that is replaced while it is read goes on with the new one."""

    def read(self, url: str) -> BinaryIO:
        return io.BufferedReader(_Anew(lambda: FolderFileSystem.read(self, url)))


class _Anew(io.RawIOBase):
    def __init__(self, opened: Callable[[], BinaryIO]) -> None:
        self._opened = opened
        self._at = 0
        opened().close()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with self._opened() as file:
            file.seek(self._at)
            data = file.read(len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


_FOUND = {
    SeenAtOnce: "test_nothing_is_seen_before_it_is_committed",
    CutShort: "test_bytes_come_back",
    AnyToken: "test_a_token_is_for_its_url",
    TimeAsVersion: "test_a_version_is_that_of_the_content",
    EverythingMatches: "test_patterns_find_files",
    Unsorted: "test_patterns_find_files",
    Mixed: "test_what_is_being_read_is_one_version",
}


@pytest.mark.parametrize("kind", _FOUND, ids=lambda kind: kind.__name__)
def test_a_broken_one_is_found(kind: type[Broken], tmp_path: Path) -> None:
    """Each by the test that is about it."""
    test = getattr(FileSystemContract(), _FOUND[kind])
    files = kind(tmp_path)
    asked: dict[str, Any] = {"filesystem": files, "another": files, "folder": "shelf://tests/some/folder"}
    names = test.__func__.__code__.co_varnames[1 : test.__func__.__code__.co_argcount]
    arguments = {name: asked.get(name, 12 << 20) for name in names}
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        test(**arguments)
    if isinstance(files, SeenAtOnce):
        files.opened.close()


def test_a_fixture_that_is_missing_is_said(pytester: pytest.Pytester) -> None:
    """A subclass says what is tested."""
    pytester.makepyfile(
        """
        from petal.testing import FileSystemContract

        class TestMine(FileSystemContract):
            pass
        """
    )
    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider", "-k", "is_not_there")
    result.stdout.fnmatch_lines(["*override the fixture*"])


def test_a_fault_is_met_once(tmp_path: Path) -> None:
    """Tests say which call fails, and see what was asked."""
    files = FolderFileSystem(tmp_path)
    files.faults["describe"] = [TimeoutError("no answer")]
    with pytest.raises(TimeoutError):
        files.describe("shelf://b/k")
    assert files.describe("shelf://b/k") is None
    assert files.calls == [("describe", "shelf://b/k")] * 2
