"""Uploads: what happens to them when a process ends, when they are slow, and when their values cross processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import pytest

from petal import READS, URL, Session, open_input, open_output
from petal.config.value_schema import value_schemas
from petal.data import uploads
from petal.data.files import Outputs
from petal.data.filesystems import bringing, filesystem
from petal.data.packing import packer_of
from petal.data.uploads import HandedUpload
from petal.data.wire import Spool
from petal.errors import EnvironmentNotReady, OutputError
from petal.planning.values import BadValue, convert
from petal.spec.crossing import undecodable
from petal.spec.event import Target
from petal.spec.views import Seen, View
from petal.testing import FolderFileSystem


@pytest.fixture
def files(tmp_path: Path) -> Any:
    """What `shelf://` names in this process."""
    found = FolderFileSystem(tmp_path / "shelf")
    with bringing(lambda scheme: (lambda: found) if scheme == "shelf" else None):
        yield found


def test_several_outputs_are_published_together(files: FolderFileSystem, tmp_path: Path) -> None:
    """Files of this machine and URLs, in the order in which they were opened; all of them are described."""
    outputs = Outputs("run-1", describe=True)
    for path in ("shelf://b/data.bin", str(tmp_path / "list.txt"), "shelf://b/last.txt"):
        with outputs.open(path) as file:
            file.write(path.encode())
    assert files.describe("shelf://b/data.bin") is None
    found = outputs.commit()
    assert [target.path for target in found] == [
        "shelf://b/data.bin",
        str(tmp_path / "list.txt"),
        "shelf://b/last.txt",
    ]
    assert all(target.size == len(target.path) for target in found)
    assert all(map(_is_same, found))
    with open_output("shelf://b/data.bin") as file:
        file.write(b"other")
    assert not _is_same(found[0])


def _is_same(target: Target) -> bool:
    from petal.data.published import is_same

    return is_same(target)


def test_what_follows_one_that_cannot_be_published_is_dropped(files: FolderFileSystem) -> None:
    """What came before it stays published."""
    outputs = Outputs("run-1", describe=True)
    for name in "abc":
        with outputs.open(f"shelf://b/{name}") as file:
            file.write(b"x")
    files.faults["commit"] = []
    commit, count = files.meet, [0]

    def meet(name: str, url: str) -> None:
        count[0] += name == "commit"
        commit(name, url)
        if (name, count[0]) == ("commit", 2):
            raise PermissionError("not this one")

    files.meet = meet  # type: ignore[method-assign]
    with pytest.raises(OutputError, match="cannot write 'shelf://b/b': not this one"):
        outputs.commit()
    assert [files.describe(f"shelf://b/{name}") is not None for name in "abc"] == [True, False, False]
    assert files.left() == []


def test_a_slow_file_system_does_not_hold_up_the_end(
    files: FolderFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All uploads together are waited for a bounded time; what is left, the file system's own rules remove."""
    monkeypatch.setattr(uploads, "_PATIENCE", 0.2)
    monkeypatch.setattr(uploads, "_waited", 0.0)
    outputs, gate = Outputs("run-1"), threading.Event()
    opened = []
    for i in range(5):
        manager = outputs.open(f"shelf://b/{i}")
        opened.append(manager)
        manager.__enter__()
    for output in outputs._open:
        output._upload.abort = gate.wait  # type: ignore[union-attr]
    began = time.monotonic()
    outputs.abandon()
    assert time.monotonic() - began < 5.0
    gate.set()
    for output in outputs._open:
        output.file.close()  # type: ignore[union-attr]


def test_what_was_handed_over_and_is_gone_says_so(files: FolderFileSystem) -> None:
    """As what a lifecycle rule has removed meanwhile."""
    with pytest.raises(OutputError, match="cannot write 'shelf://b/x'"):
        HandedUpload("run-9", "shelf://b/x").commit()
    with pytest.raises(OutputError, match="this is no token"):
        HandedUpload("../../x", "shelf://b/x").commit()
    HandedUpload("../../x", "shelf://b/x").abort()


OPERATORS = """
import time
from petal import Context, URL, open_output, operator

@operator
def slow(context: Context, *, target: URL) -> int:
    with open_output(target, context) as file:
        file.write(b"half")
        file.flush()
        print("open", flush=True)
        time.sleep(60)
    return 1
"""
PLUGIN = """
import os
import petal
from petal.testing import FolderFileSystem

def shelf():
    return FolderFileSystem(os.environ["SHELF"])

@petal.hookimpl
def petal_filesystems():
    return {"shelf": shelf}
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("backend", ["local", "process"])
def test_a_run_that_is_stopped_leaves_no_upload(tmp_path: Path, number: int, backend: str) -> None:
    """Neither its file nor what was uploaded of it."""
    (tmp_path / "ops.py").write_text(OPERATORS)
    (tmp_path / "shelf.py").write_text(PLUGIN)
    (tmp_path / "p.yaml").write_text(
        "plugins: [./ops.py, ./shelf.py]\n"
        "nodes:\n  - {id: slow, type: slow, params: {target: 'shelf://b/out'}, execution: {backend: BACKEND}}\n".replace(
            "BACKEND", backend
        )
    )
    files = FolderFileSystem(tmp_path / "shelf")
    run = subprocess.Popen(
        [sys.executable, "-m", "petal", "run", "p.yaml"],
        cwd=tmp_path,
        env={**os.environ, "SHELF": str(tmp_path / "shelf")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    until = time.monotonic() + 60
    while not files.left() and run.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    assert files.left() != [], run.communicate()[0] if run.poll() is not None else "it did not begin"
    run.send_signal(number)
    printed, _ = run.communicate(timeout=60)
    assert run.returncode in (128 + number, 130), printed
    assert files.describe("shelf://b/out") is None
    assert files.left() == [], printed


# -- what may be a URL ------------------------------------------------------------------------------------------

FILE = Annotated[Path | URL | list[Path | URL], READS]


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("x.csv", Path("/here/x.csv")),
        ("s3://b/x.csv", URL("s3://b/x.csv")),
        (["x.csv", "s3://b/x.csv"], [Path("/here/x.csv"), URL("s3://b/x.csv")]),
        (URL("s3://b//x"), URL("s3://b//x")),
        ("-", Path("-")),
    ],
)
def test_a_parameter_is_a_path_or_a_url(value: Any, wanted: Any) -> None:
    """By its look, also in lists; and it crosses to workers as what it is."""
    found = convert(value, FILE, "/here", lenient=False)
    assert (found, [type(one) for one in _each(found)]) == (wanted, [type(one) for one in _each(wanted)])
    assert undecodable(FILE, Seen(View.VALUE)) is None
    packer = packer_of(FILE)
    spool = Spool()
    form, data = packer.pack(found, spool, "it")
    again = packer.unpack(form, memoryview(data), spool.parts, "it")
    assert (again, [type(one) for one in _each(again)]) == (found, [type(one) for one in _each(found)])


def _each(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize(
    ("kind", "value", "folder", "text"),
    [
        (Path, "s3://b/x", "/here", "is a URL, but only files of this machine are taken here"),
        (Path | None, "s3://b/x", "/here", "is a URL, but only files of this machine are taken here"),
        (list[Path], ["s3://b/x"], "/here", "is a URL, but only files of this machine are taken here"),
        (
            Path | URL,
            Path("s3://b/x"),
            "/here",
            "was the URL 's3://b/x', before `Path` made one slash of two",
        ),
        (Path, "x", "s3://b/jobs", "'x' is relative to 's3://b/jobs', but only files of this machine"),
        (URL, "x.csv", "/here", "'x.csv' is text, but URL is wanted"),
        (URL, "s3://b/\0", "/here", "NUL character"),
    ],
)
def test_what_is_neither_is_refused(kind: Any, value: Any, folder: str, text: str) -> None:
    """With what it is."""
    with pytest.raises(BadValue) as caught:
        convert(value, kind, folder, lenient=False)
    assert text in str(caught.value)


def test_a_path_is_beside_the_pipeline_that_was_fetched() -> None:
    """S8.1; what is absolute, or text, is as it is."""
    assert convert("x.csv", Path | URL, "s3://b/jobs", lenient=False) == URL("s3://b/jobs/x.csv")
    assert convert("/x.csv", Path | URL, "s3://b/jobs", lenient=False) == Path("/x.csv")
    assert convert("-", Path | URL, "s3://b/jobs", lenient=False) == Path("-")
    assert convert("x.csv", str, "s3://b/jobs", lenient=False) == "x.csv"


def test_a_folder_that_looks_like_a_scheme_is_one(tmp_path: Path) -> None:
    """Where it is there."""
    (tmp_path / "s3:").mkdir()
    assert convert("s3:/x", Path, str(tmp_path), lenient=False) == tmp_path / "s3:" / "x"


def test_the_schema_takes_texts_and_lists() -> None:
    """As that of paths does."""
    (one, paths), _ = value_schemas([FILE, Path | list[Path]])
    assert one == paths


def test_outside_of_runs_installed_plugins_open_urls(files: FolderFileSystem, tmp_path: Path) -> None:
    """A path is a file of this machine, and a scheme that nobody brings is said."""
    (tmp_path / "x").write_bytes(b"x")
    with open_input(tmp_path / "x") as file:
        assert file.read() == b"x"
    with pytest.raises(EnvironmentNotReady, match="no plugin opens `nobody://`") as caught:
        filesystem("nobody://b/x")
    assert caught.value.code == "unknown-scheme"
    assert Session().filesystem("nobody") is None
