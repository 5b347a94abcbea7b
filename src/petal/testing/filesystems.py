"""The contract of file systems: what is written at a URL appears when it is committed, whole, and is read back the same."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, unquote

import pytest

from petal.data.filesystems import bringing
from petal.errors import UsageError
from petal.interfaces.filesystem import Description, FileSystem, Upload
from petal.spec.url import URL, glob_pattern
from petal.testing.subject import check

_SIZES = (0, 1, 1000, 1 << 20, (12 << 20) + 3)
_NAMES = ("a b.txt", "ä/ö.txt", "50%.txt", "x+y=z&w.txt", "a//b.txt", "q#1.txt", "it's (1).txt", "..hidden/x")
_OWNER = re.compile(r"[0-9A-Za-z-]+")


class FolderFileSystem:
    """A file system of URLs that keeps files in a folder, for tests: ``SCHEME://BUCKET/KEY``.

    What opens it for workers is a function at the top level of a module:

    ```python
    def shelf() -> FolderFileSystem:
        return FolderFileSystem(Path(os.environ["SHELF"]))


    @petal.hookimpl
    def petal_filesystems():
        return {"shelf": shelf}
    ```

    Args:
        folder: Where the files are; other instances with the same folder see them too.

    Attributes:
        calls: What was asked, in order: the name of the method, and the URL.
        faults: Errors to raise instead of doing what the method of that name does (``commit`` and the like too), each once.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder)
        self.calls: list[tuple[str, str]] = []
        self.faults: dict[str, list[OSError]] = {}

    def describe(self, url: str) -> Description | None:
        """Say what a file is like."""
        path = self._asked("describe", url)
        try:
            return _described(path)
        except FileNotFoundError:
            return None

    def find(self, pattern: str) -> list[str]:
        """Return the URLs that match a pattern, sorted."""
        bucket = self._asked("find", pattern).parent
        start = pattern[: pattern.index("/", pattern.index("://") + 3) + 1]
        wanted = glob_pattern(pattern)
        names = [path.name for path in bucket.iterdir()] if bucket.is_dir() else []
        return sorted(url for name in names if wanted.fullmatch(url := start + unquote(name)))

    def read(self, url: str) -> BinaryIO:
        """Open a file."""
        path = self._asked("read", url)
        try:
            return path.open("rb")
        except FileNotFoundError:
            raise FileNotFoundError(f"there is no file {path.name!r} in the folder") from None

    def write(self, url: str, *, owner: str) -> Upload:
        """Begin to write a file."""
        path = self._asked("write", url)
        begun = self._upload(url, owner)
        begun.parent.mkdir(parents=True, exist_ok=True)
        return _FolderUpload(self, url, path, begun, owner, begun.open("xb"))

    def take_over(self, url: str, token: str) -> Upload:
        """Return an upload that was handed over."""
        path = self._asked("take_over", url)
        if not _OWNER.fullmatch(token):
            raise ValueError("this is no token of an upload")
        return _FolderUpload(self, url, path, self._upload(url, token), token, None)

    def left(self) -> list[str]:
        """Name the uploads that were begun, and neither committed nor aborted."""
        folder = self._folder / ".uploads"
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def meet(self, name: str, url: str) -> None:
        """Note a call, and raise the error that it is to meet."""
        self.calls.append((name, url))
        waiting = self.faults.get(name)
        if waiting:
            raise waiting.pop(0)

    def _asked(self, name: str, url: str) -> Path:
        self.meet(name, url)
        bucket, _, key = url.partition("://")[2].partition("/")
        if not bucket or not key:
            raise ValueError("it names a bucket and, behind a slash, a file")
        return self._folder / quote(bucket, safe="") / quote(key, safe="")

    def _upload(self, url: str, owner: str) -> Path:
        """Return where an upload is: a name that its owner and its URL make together."""
        return self._folder / ".uploads" / f"{owner}.{hashlib.sha256(url.encode()).hexdigest()[:16]}"


class _FolderUpload:
    def __init__(
        self, files: FolderFileSystem, url: str, target: Path, begun: Path, owner: str, file: BinaryIO | None
    ) -> None:
        self._files = files
        self._url = url
        self._target = target
        self._begun = begun
        self._owner = owner
        self._over = False
        self.file: BinaryIO = file  # type: ignore[assignment]

    def store(self) -> None:
        self._files.meet("store", self._url)
        if self.file is not None:
            self.file.close()

    def hand_over(self) -> str:
        self._files.meet("hand_over", self._url)
        self.store()
        return self._owner

    def commit(self) -> Description:
        self._files.meet("commit", self._url)
        self.store()
        self._target.parent.mkdir(parents=True, exist_ok=True)
        found = _described(self._begun)
        self._begun.replace(self._target)
        self._over = True
        return found

    def abort(self) -> None:
        self._files.calls.append(("abort", self._url))
        if self.file is not None:
            self.file.close()
        if not self._over:
            self._begun.unlink(missing_ok=True)
            self._over = True


def _described(path: Path) -> Description:
    with path.open("rb") as file:
        return Description(
            os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()[:32]
        )


class FileSystemContract:
    """Tests of one file system; subclass it in a class whose name begins with ``Test``.

    ```python
    class TestBuckets(FileSystemContract):
        @pytest.fixture
        def filesystem(self):
            return BucketFiles()

        @pytest.fixture
        def folder(self):
            return "bucket://tests/a-prefix-of-its-own"
    ```
    """

    @pytest.fixture
    def filesystem(self) -> FileSystem:
        """The file system under test."""
        raise UsageError(
            f"{type(self).__name__} opens no file system",
            hint="override the fixture `filesystem`, and `folder`",
        )

    @pytest.fixture
    def another(self, filesystem: FileSystem) -> FileSystem:
        """A second one that sees the same files, as another process has it; by default the same."""
        return filesystem

    @pytest.fixture
    def folder(self) -> str:
        """A URL, without a slash at its end, beneath which there is nothing yet."""
        raise UsageError(
            f"{type(self).__name__} says no folder", hint="override the fixture `folder`: it returns a URL"
        )

    @pytest.mark.parametrize("size", _SIZES)
    def test_bytes_come_back(
        self, filesystem: FileSystem, another: FileSystem, folder: str, size: int
    ) -> None:
        """Of any length, written in pieces of any length, to whoever reads."""
        data, url = os.urandom(size), f"{folder}/some.bin"
        found = put(filesystem, url, data, 300_007)
        check(found.size == size, f"commit() says that there are {found.size} bytes of {size}")
        check(get(filesystem, url) == data, f"{size} bytes did not come back")
        check(get(another, url, 70_001) == data, f"{size} bytes did not come back to another, in pieces")

    def test_what_is_not_there_is_not_there(self, filesystem: FileSystem, folder: str) -> None:
        """None is an answer; to read is an error of its own kind."""
        url = f"{folder}/nothing.txt"
        check(filesystem.describe(url) is None, "describe() found a file that was never written")
        check(list(filesystem.find(f"{folder}/*")) == [], "find() found a file that was never written")
        with pytest.raises(FileNotFoundError):
            get(filesystem, url)

    @pytest.mark.parametrize("size", [0, 1000, 12 << 20])
    def test_nothing_is_seen_before_it_is_committed(
        self, filesystem: FileSystem, another: FileSystem, folder: str, size: int
    ) -> None:
        """Not while it is written, and not when it is stored."""
        url = f"{folder}/new.bin"
        upload = filesystem.write(url, owner="run-1-a")
        upload.file.write(os.urandom(size))
        check(another.describe(url) is None, "a file is seen that is still being written")
        upload.store()
        upload.store()
        check(another.describe(url) is None, "a file is seen that is stored, but not committed")
        check(list(another.find(f"{folder}/**")) == [], "a file is found that is not committed")
        upload.commit()
        check(another.describe(url) is not None, "a file that is committed is not seen")

    @pytest.mark.parametrize("size", [5, 12 << 20])
    def test_the_old_file_stays_until_then(self, filesystem: FileSystem, folder: str, size: int) -> None:
        """And after an upload that is aborted."""
        url = f"{folder}/kept.bin"
        before = put(filesystem, url, b"the old one")
        upload = filesystem.write(url, owner="run-2-a")
        upload.file.write(b"n" * size)
        check(get(filesystem, url) == b"the old one", "the old file is gone while a new one is written")
        upload.abort()
        upload.abort()
        check(get(filesystem, url) == b"the old one", "the old file is gone, and the new one was aborted")
        check(filesystem.describe(url) == before, "an upload that was aborted changed the old file's version")

    def test_abort_after_commit_does_nothing(self, filesystem: FileSystem, folder: str) -> None:
        """Whoever cleans up need not know how far it came."""
        url = f"{folder}/done.txt"
        upload = filesystem.write(url, owner="run-3-a")
        upload.file.write(b"done")
        upload.commit()
        upload.abort()
        check(get(filesystem, url) == b"done", "a file that was committed was removed by abort()")

    def test_abort_comes_at_any_time(self, filesystem: FileSystem, folder: str) -> None:
        """Before anything was written, after it was stored, and from another thread."""
        url = f"{folder}/never.txt"
        for step in ("begun", "written", "stored"):
            upload = filesystem.write(url, owner=f"run-4-{step}")
            if step != "begun":
                upload.file.write(b"x" * 100_000)
            if step == "stored":
                upload.store()
            thread = threading.Thread(target=upload.abort)
            thread.start()
            thread.join()
            check(filesystem.describe(url) is None, f"an upload that was aborted when {step} is a file")

    def test_a_version_is_that_of_the_content(
        self, filesystem: FileSystem, another: FileSystem, folder: str
    ) -> None:
        """It is the same wherever one looks, and another when the content is."""
        url = f"{folder}/versions.txt"
        first = put(filesystem, url, b"one")
        check(filesystem.describe(url) == first, "describe() says another thing than commit()")
        check(another.describe(url) == first, "another process sees another version")
        second = put(filesystem, url, b"two")
        check(first.version != second.version, "another content of the same size has the same version")
        check(filesystem.describe(url) == second, "describe() does not see the new version")

    @pytest.mark.parametrize("size", [0, 7, 6 << 20])
    def test_another_process_commits(
        self, filesystem: FileSystem, another: FileSystem, folder: str, size: int
    ) -> None:
        """What one has written and handed over, another publishes; nothing is seen before."""
        url, data = f"{folder}/handed.bin", os.urandom(size)
        upload = filesystem.write(url, owner="run-5-a")
        upload.file.write(data)
        token = upload.hand_over()
        check(isinstance(token, str) and len(token) <= 4000, f"the token is {token!r:.200}")
        check(another.describe(url) is None, "a file is seen that was handed over, and not committed")
        found = another.take_over(url, token).commit()
        check(get(filesystem, url) == data, "what was handed over did not come back")
        check(filesystem.describe(url) == found, "describe() says another thing than commit()")

    def test_another_process_aborts(self, filesystem: FileSystem, another: FileSystem, folder: str) -> None:
        """And then there is nothing to commit any more."""
        url = f"{folder}/dropped.bin"
        upload = filesystem.write(url, owner="run-6-a")
        upload.file.write(b"x" * 1000)
        token = upload.hand_over()
        another.take_over(url, token).abort()
        check(another.describe(url) is None, "an upload that was dropped is a file")
        with pytest.raises(OSError):  # noqa: PT011 - of which kind is the file system's matter
            another.take_over(url, token).commit()

    def test_a_token_is_for_its_url(self, filesystem: FileSystem, another: FileSystem, folder: str) -> None:
        """It comes from a worker that may not be trusted: with it nothing else can be published."""
        upload = filesystem.write(f"{folder}/mine.bin", owner="run-7-a")
        upload.file.write(b"x" * 1000)
        token = upload.hand_over()
        other = f"{folder}/other.bin"
        for said in (token, "../../x", "nonsense", ""):
            with pytest.raises((OSError, ValueError)):
                another.take_over(other, said).commit()
        check(another.describe(other) is None, "a token of one URL has published another")
        filesystem.take_over(f"{folder}/mine.bin", token).abort()

    @pytest.mark.parametrize("name", _NAMES)
    def test_names_hold_any_character(self, filesystem: FileSystem, folder: str, name: str) -> None:
        """As the user wrote them."""
        url = f"{folder}/{name}"
        put(filesystem, url, name.encode())
        check(get(filesystem, url) == name.encode(), f"{name!r} did not come back")
        check(list(filesystem.find(f"{folder}/**/*")) == [url], f"{name!r} is not found by a pattern")

    def test_patterns_find_files(self, filesystem: FileSystem, folder: str) -> None:
        """As they do in folders, in the order of their names."""
        for name in ("b.csv", "a.csv", "c.txt", "2024/a.csv", "2024/05/a.csv", "2025/a1.csv"):
            put(filesystem, f"{folder}/{name}", b"x")
        wanted = {
            "*.csv": ["a.csv", "b.csv"],
            "*/a.csv": ["2024/a.csv"],
            "**/a.csv": ["2024/05/a.csv", "2024/a.csv", "a.csv"],
            "202?/a*.csv": ["2024/a.csv", "2025/a1.csv"],
            "[bc].*": ["b.csv", "c.txt"],
            "2024/**": ["2024/05/a.csv", "2024/a.csv"],
            "x*": [],
        }
        for pattern, names in wanted.items():
            found = list(filesystem.find(f"{folder}/{pattern}"))
            check(found == [f"{folder}/{n}" for n in names], f"{pattern} finds {found}")

    def test_what_is_no_url_of_it_is_an_error(self, filesystem: FileSystem, folder: str) -> None:
        """That says so: without a bucket, or without a name."""
        scheme = folder.partition("://")[0]
        for url in (f"{scheme}://", f"{scheme}:///name", f"{scheme}://bucket-alone"):
            with pytest.raises(ValueError):  # noqa: PT011 - what it says is the file system's matter
                filesystem.describe(url)

    def test_what_is_being_read_is_one_version(self, filesystem: FileSystem, folder: str) -> None:
        """A file that is replaced meanwhile is an error, or the old one to its end."""
        url, size = f"{folder}/changing.bin", 24 << 20
        put(filesystem, url, b"1" * size)
        with filesystem.read(url) as file:
            start = file.read(1000)
            put(filesystem, url, b"2" * (size + 1))
            try:
                rest = file.read()
            except OSError:
                return
        check(start + rest == b"1" * size, "two versions were mixed, or the end is missing")

    def test_threads_do_not_mix_files(self, filesystem: FileSystem, folder: str) -> None:
        """Eight threads write and read eight files, each its own."""

        def work(number: int) -> None:
            url, data = f"{folder}/thread-{number}.bin", bytes([number]) * 200_000
            put(filesystem, url, data)
            check(get(filesystem, url) == data, f"{url} has what belongs to another")

        with ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(work, i) for i in range(8)]:
                done.result()

    @pytest.mark.parametrize("name", ["lines.txt", "lines.txt.gz"])
    def test_the_library_writes_and_reads_lines(self, filesystem: FileSystem, folder: str, name: str) -> None:
        """Also compressed ones."""
        from petal.library.text import file_reader, file_writer

        lines = [f"line {i}" for i in range(50_000)]
        with _brought(filesystem, folder):
            file_writer(iter([lines]), file_path=URL(f"{folder}/{name}"))
            found = [line for batch in file_reader(file_path=URL(f"{folder}/{name}")) for line in batch]
        check(found == lines, f"{len(found)} lines of {len(lines)} came back, or others")

    @pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl", "rows.parquet", "rows.csv.gz"])
    def test_the_library_writes_and_reads_records(
        self, filesystem: FileSystem, folder: str, name: str
    ) -> None:
        """In every format, one file and a pattern of two."""
        import polars as pl

        from petal.library import csv_files, json_files, parquet_files

        kind: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
            "csv": (csv_files.csv_reader, csv_files.csv_writer),
            "jsonl": (json_files.json_file_reader, json_files.json_file_writer),
            "parquet": (parquet_files.parquet_reader, parquet_files.parquet_writer),
        }
        reader, writer = kind[name.split(".")[1]]
        rows = pl.DataFrame({"n": range(20_000), "name": [f"row {i}" for i in range(20_000)]})
        with _brought(filesystem, folder):
            for part in "ab":
                writer(iter([rows]), file_path=URL(f"{folder}/{part}-{name}"))
            one = pl.concat(list(reader(file_path=URL(f"{folder}/a-{name}"))))
            two = pl.concat(list(reader(file_path=URL(f"{folder}/*-{name}"))))
        check(one.equals(rows), f"{name} did not come back as it was written")
        check(two.equals(pl.concat([rows, rows])), f"two files like {name} did not come back")


def put(filesystem: FileSystem, url: str, data: bytes, piece: int = 1 << 20) -> Description:
    """Write a file in pieces, and publish it."""
    upload = filesystem.write(url, owner=f"test-{os.urandom(6).hex()}")
    for at in range(0, len(data), piece):
        upload.file.write(data[at : at + piece])
    return upload.commit()


def get(filesystem: FileSystem, url: str, piece: int = -1) -> bytes:
    """Read a file, at once or in pieces."""
    with filesystem.read(url) as file:
        if piece < 0:
            return file.read()
        return b"".join(_pieces(file, piece))


def _pieces(file: BinaryIO, size: int) -> Iterable[bytes]:
    while data := file.read(size):
        yield data


@contextlib.contextmanager
def _brought(filesystem: FileSystem, folder: str) -> Iterator[None]:
    """Let URLs of a folder's scheme be opened by a file system."""
    scheme = URL(folder).scheme
    with bringing(lambda asked: (lambda: filesystem) if asked == scheme else None):
        yield
