"""Files by URL in runs: they appear when a node has succeeded, wherever it ran, and never otherwise (S4.5, S5.10, S9)."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest

from petal import READS, URL, Context, Pipeline, Session, hookimpl, node, open_input, open_output, operator
from petal.data.file_state import states_of, unchanged
from petal.data.filesystems import bringing
from petal.data.handed import handed_over
from petal.data.wire import unpack
from petal.errors import WireError
from petal.testing import FakeBackend, FolderFileSystem

#: A plugin in a pipeline's own file, which workers load by reference.
PLUGIN = """
import os
import petal
from petal.data.handed import handed_over
from petal.data.wire import unpack
from petal.errors import WireError
from petal.testing import FakeBackend, FolderFileSystem

def shelf():
    return FolderFileSystem(os.environ["SHELF"])

@petal.hookimpl
def petal_filesystems():
    return {"shelf": shelf}
"""
COPY = """
plugins: [./shelf.py]
nodes:
  - {id: reader, type: FileReader, params: {file_path: 'shelf://b/in.txt'}}
  - {id: filter, type: RegexFilter, params: {pattern: ERROR}}
  - {id: writer, type: FileWriter, params: {file_path: 'shelf://b/out.txt'}}
edges: [[reader, filter], [filter, writer]]
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderFileSystem:
    """A file system over a folder, which `shelf://` names in workers too."""
    monkeypatch.setenv("SHELF", str(tmp_path / "shelf"))
    return FolderFileSystem(tmp_path / "shelf")


@pytest.fixture
def session(files: FolderFileSystem) -> Session:
    """A session whose plugin brings `shelf://`; every call is counted in `files`."""

    class Shelf:
        @hookimpl
        def petal_filesystems(self) -> dict[str, Callable[[], FolderFileSystem]]:
            return {"shelf": lambda: files}

    made = Session()
    made.register(Shelf())
    return made


def put(files: FolderFileSystem, url: str, data: bytes) -> None:
    upload = files.write(url, owner=f"test-{os.urandom(4).hex()}")
    upload.file.write(data)
    upload.commit()


def get(files: FolderFileSystem, url: str) -> bytes:
    with files.read(url) as file:
        return file.read()


def copy(tmp_path: Path, text: str = COPY) -> Pipeline:
    (tmp_path / "shelf.py").write_text(PLUGIN)
    (tmp_path / "p.yaml").write_text(text)
    return Pipeline.from_file(tmp_path / "p.yaml")


@pytest.mark.parametrize(
    "more",
    ["", "defaults: {timeout: 60s}", "defaults: {execution: {backend: process}}"],
    ids=["here", "moved", "process"],
)
def test_files_are_read_and_written_by_url(tmp_path: Path, files: FolderFileSystem, more: str) -> None:
    """In this process, as a group in a worker process, and each node in one of its own."""
    put(files, "shelf://b/in.txt", b"ERROR 1\nfine\nERROR 2\n")
    result = copy(tmp_path, COPY + more).run()
    result.check()
    assert get(files, "shelf://b/out.txt") == b"ERROR 1\nERROR 2\n"
    assert files.left() == []


def test_a_pipeline_reads_every_format(tmp_path: Path, files: FolderFileSystem) -> None:
    """Also compressed, and by a pattern."""
    put(files, "shelf://b/2024/a.csv.gz", gzip.compress(b"n,name\n1,x\n"))
    put(files, "shelf://b/2025/a.csv.gz", gzip.compress(b"n,name\n2,y\n"))
    text = """
plugins: [./shelf.py]
nodes:
  - {id: csv, type: CsvReader, params: {file_path: 'shelf://b/*/a.csv.gz'}}
  - {id: parquet, type: ParquetWriter, params: {file_path: 'shelf://b/all.parquet'}}
  - {id: again, type: ParquetReader, params: {file_path: 'shelf://b/all.parquet'}, after: [parquet]}
  - {id: json, type: JsonFileWriter, params: {file_path: 'shelf://b/all.jsonl.gz'}}
edges: [[csv, parquet], [again, json]]
"""
    copy(tmp_path, text).run().check()
    wanted = b'{"n":1,"name":"x"}\n{"n":2,"name":"y"}\n'
    assert gzip.decompress(get(files, "shelf://b/all.jsonl.gz")) == wanted


def test_a_file_is_not_seen_before_its_node_has_succeeded(session: Session, files: FolderFileSystem) -> None:
    """And not at all if the node fails: what was there stays."""
    put(files, "shelf://b/out.txt", b"before")

    @operator
    def failing(context: Context, *, path: Path | URL) -> int:
        with open_output(path, context) as file:
            file.write(b"half")
        assert get(files, "shelf://b/out.txt") == b"before"
        raise ValueError("no")

    result = Pipeline.of(node(failing, path=URL("shelf://b/out.txt")), session=session).run()
    assert result.status == "failed"
    assert get(files, "shelf://b/out.txt") == b"before"
    assert files.left() == []


def test_a_failure_upstream_drops_the_file(session: Session, files: FolderFileSystem) -> None:
    """The sink had written rows that it had got before (S4.4)."""

    @operator
    def lines() -> Iterator[str]:
        yield from ["a", "b"]
        raise ValueError("no")

    text = [
        lines,
        node("FileWriter", id="writer", inputs={"lines": "lines"}, file_path=URL("shelf://b/out.txt")),
    ]
    assert Pipeline.of(*text, session=session).run().status == "failed"
    assert files.describe("shelf://b/out.txt") is None
    assert files.left() == []


@pytest.mark.parametrize("step", ["write", "store", "commit"])
def test_what_cannot_be_written_says_so(session: Session, files: FolderFileSystem, step: str) -> None:
    """With the URL and the reason; nothing is left."""
    files.faults[step] = [PermissionError("Access Denied")]

    @operator
    def lines() -> list[str]:
        return ["a"]

    text = [
        lines,
        node("FileWriter", id="writer", inputs={"lines": "lines"}, file_path=URL("shelf://b/out.txt")),
    ]
    result = Pipeline.of(*text, session=session).run()
    error = result.nodes["writer"].error
    assert error is not None
    assert "cannot write 'shelf://b/out.txt': Access Denied" in error.message
    assert error.hint == "see that whoever runs this may write there"
    assert files.describe("shelf://b/out.txt") is None
    assert files.left() == []


@pytest.mark.parametrize(("step", "id"), [("describe", "reader"), ("read", "reader"), ("commit", "writer")])
def test_what_may_work_the_next_time_is_tried_again(
    session: Session, files: FolderFileSystem, step: str, id: str
) -> None:
    """With `retry` a connection that broke is made anew; without, the node fails."""
    put(files, "shelf://b/in.txt", b"a\n")

    def run(**policies: Any) -> Any:
        files.faults[step] = [ConnectionResetError("the connection was reset")]
        reader = node("FileReader", id="reader", file_path=URL("shelf://b/in.txt"), policies=policies)
        writer = node(
            "FileWriter",
            id="writer",
            inputs={"lines": "reader"},
            file_path=URL("shelf://b/out.txt"),
            policies=policies,
        )
        return Pipeline.of(reader, writer, session=session).run()

    failed = run()
    assert failed.nodes[id].error is not None
    assert "shelf://b/" in failed.nodes[id].error.message
    assert "the connection was reset" in failed.nodes[id].error.message
    assert files.left() == []
    result = run(retry={"max_attempts": 2, "delay": 0})
    result.check()
    assert result.nodes[id].attempts == 2
    assert get(files, "shelf://b/out.txt") == b"a\n"


# -- workers that share no files --------------------------------------------------------------------------------


def away(tmp_path: Path, text: str = COPY) -> tuple[Pipeline, FakeBackend]:
    """Make the pipeline whose nodes run on a backend that shares no files with this process."""
    (tmp_path / "shelf.py").write_text(PLUGIN)
    (tmp_path / "p.yaml").write_text(text + "defaults: {execution: {backend: fake}}\n")
    backend, session = FakeBackend(), Session()
    session.register(backend)
    return Pipeline.from_file(tmp_path / "p.yaml", session=session), backend


def test_a_worker_without_our_files_writes_urls(tmp_path: Path, files: FolderFileSystem) -> None:
    """It uploads, and this process publishes; the request names the plugin's function, and no more."""
    put(files, "shelf://b/in.txt", b"ERROR 1\nfine\n")
    pipeline, backend = away(tmp_path)
    pipeline.run().check()
    assert get(files, "shelf://b/out.txt") == b"ERROR 1\n"
    assert files.left() == []
    (asked,) = [unpack(sent.message).header for sent in backend.sent if sent.node == "writer"]
    assert list(asked["plugins"]) == ["filesystems"]
    assert asked["plugins"]["filesystems"]["shelf"]["qualname"] == "shelf"


def test_what_such_a_worker_wrote_is_dropped_when_its_node_fails(
    tmp_path: Path, files: FolderFileSystem
) -> None:
    """Nothing of it is left."""
    put(files, "shelf://b/in.txt", b"fine\n")
    files.faults.clear()
    (tmp_path / "ops.py").write_text(
        "from petal import URL, Context, open_output, operator\n\n"
        "@operator\ndef bad(context: Context, *, target: URL) -> int:\n"
        "    with open_output(target, context) as file:\n        file.write(b'half')\n    raise ValueError('no')\n"
    )
    text = "plugins: [./shelf.py, ./ops.py]\nnodes: [{id: bad, type: bad, params: {target: 'shelf://b/out.txt'}}]\n"
    pipeline, _ = away(tmp_path, text)
    assert pipeline.run().status == "failed"
    assert files.describe("shelf://b/out.txt") is None
    assert files.left() == []


def test_a_worker_that_was_told_of_no_plugin_says_so(tmp_path: Path, files: FolderFileSystem) -> None:
    """A text parameter names no file, as far as anybody knows; the plugin under `plugins:` does."""
    put(files, "shelf://b/in.txt", b"text")
    (tmp_path / "ops.py").write_text(
        "from petal import open_input, operator\n\n"
        "@operator\ndef load(*, path: str) -> bytes:\n"
        "    with open_input(path) as file:\n        return file.read()\n"
    )
    text = "plugins: [./ops.py]\nnodes: [{id: load, type: load, params: {path: 'shelf://b/in.txt'}}]\n"
    error = away(tmp_path, text)[0].run().nodes["load"].error
    assert error is not None
    assert error.code == "unknown-scheme"
    assert "annotate the parameter as `Path | petal.URL`" in (error.hint or "")
    named = away(tmp_path, text.replace("[./ops.py]", "[./ops.py, ./shelf.py]"))[0].run()
    assert named.outputs["load"] == b"text"


def test_a_worker_publishes_no_file_of_this_machine(tmp_path: Path, files: FolderFileSystem) -> None:
    """One that shares none cannot have written one: its reply is damaged, or forged."""
    mine, forged = tmp_path / "mine.txt", tmp_path / "forged.txt"
    mine.write_text("mine")
    forged.write_text("forged")
    for pairs in ([[str(forged), str(mine)]], [["x", "other://b/x"]], [["x"]], "x", [["a", 5]]):
        with pytest.raises(WireError):
            handed_over(pairs, shares_files=False, schemes=["shelf"])
    assert len(handed_over([["x", "shelf://b/x"]], shares_files=False, schemes=["shelf"])) == 1
    (handed,) = handed_over([[str(forged), str(mine)]], shares_files=True)
    handed.commit()
    assert mine.read_text() == "forged"


def test_what_is_missing_is_said(session: Session) -> None:
    """A file, and a pattern that matches none."""
    for url, text in (("shelf://b/no.txt", "there is no file"), ("shelf://b/*.txt", "no file matches")):
        result = Pipeline.of(node("FileReader", id="r", file_path=URL(url)), session=session).run()
        assert result.nodes["r"].error is not None
        assert result.nodes["r"].error.message.startswith(f"{text} {url!r}")


def test_a_url_without_a_file_is_said(session: Session) -> None:
    """What the file system says of it."""
    result = Pipeline.of(node("FileReader", id="r", file_path=URL("shelf://b")), session=session).run()
    assert result.nodes["r"].error is not None
    assert result.nodes["r"].error.message.startswith("cannot read 'shelf://b': it names a bucket")


def test_an_operator_of_ones_own_opens_urls(session: Session, files: FolderFileSystem) -> None:
    """By `open_input` and `open_output`, which take paths too."""
    put(files, "shelf://b/in.txt", b"text")

    @operator
    def shout(context: Context, *, source: Path | URL, target: Path | URL) -> int:
        with open_input(source) as file, open_output(target, context) as out:
            return out.write(file.read().upper())

    made = node(shout, source=URL("shelf://b/in.txt"), target=URL("shelf://b/out.txt"))
    assert Pipeline.of(made, session=session).run().outputs["shout"] == 4
    assert get(files, "shelf://b/out.txt") == b"TEXT"


def test_two_runs_do_not_write_one_url(session: Session, files: FolderFileSystem) -> None:
    """The second is refused while the first writes."""

    @operator
    def inner(context: Context) -> None:
        with open_output("shelf://b/out.txt", context) as file:
            file.write(b"inner")

    @operator
    def outer(context: Context) -> str:
        with open_output("shelf://b/out.txt", context) as file:
            file.write(b"outer")
            result = Pipeline.of(inner, session=session).run()
        return str(result.nodes["inner"].error)

    result = Pipeline.of(outer, session=session).run()
    assert "is writing it" in result.outputs["outer"]
    assert get(files, "shelf://b/out.txt") == b"outer"


def test_two_nodes_do_not_write_one_url(session: Session, files: FolderFileSystem) -> None:
    """A scheme in capitals names the same file: half of the rows would be lost."""
    put(files, "shelf://b/in.txt", b"a\n")
    parts = [node("FileReader", id="reader", file_path=URL("shelf://b/in.txt"))]
    for name, url in (("one", "shelf://b/out.txt"), ("two", "SHELF://b/out.txt")):
        parts.append(node("FileWriter", id=name, inputs={"lines": "reader"}, file_path=URL(url)))
    found = Pipeline.of(*parts, session=session).validate()
    assert [one.code for one in found] == ["duplicate-target"]


# -- the journal, and the cache ---------------------------------------------------------------------------------


def failing_while(broken: Path) -> list[Any]:
    """Return the nodes that copy a URL to another, and then fail for as long as a file is there, which is made."""
    broken.touch()

    @operator
    def check(*, name: str) -> None:
        if Path(name).exists():
            raise ValueError("not yet")

    return [
        node("FileReader", id="reader", file_path=URL("shelf://b/in.txt")),
        node("FileWriter", id="writer", inputs={"lines": "reader"}, file_path=URL("shelf://b/out.txt")),
        node(check, id="check", after=["writer"], name=str(broken)),
    ]


def test_the_journal_says_what_was_published(
    tmp_path: Path, session: Session, files: FolderFileSystem
) -> None:
    """A resumed run does not write again what is there still, and does write what is not (S9.3)."""
    put(files, "shelf://b/in.txt", b"a\n")
    broken = tmp_path / "broken"
    parts = failing_while(broken)

    def run(**asked: Any) -> Any:
        files.calls.clear()
        return Pipeline.of(*parts, session=session, name="p").run(home=tmp_path / "home", **asked)

    assert run().status == "failed"
    run(resume="last")
    assert ("write", "shelf://b/out.txt") not in files.calls
    assert ("describe", "shelf://b/out.txt") in files.calls
    put(files, "shelf://b/out.txt", b"something else")
    broken.unlink()
    run(resume="last").check()
    assert get(files, "shelf://b/out.txt") == b"a\n"


def test_a_run_does_not_go_on_with_another_input(
    tmp_path: Path, session: Session, files: FolderFileSystem
) -> None:
    """What is at the URL has changed since the run was stopped."""
    put(files, "shelf://b/in.txt", b"a\n")
    broken = tmp_path / "broken"
    parts = failing_while(broken)
    pipeline = Pipeline.of(*parts, session=session, name="p")
    assert pipeline.run(home=tmp_path / "home").status == "failed"
    put(files, "shelf://b/in.txt", b"b\n")
    with pytest.raises(Exception, match=r"reads shelf://b/in\.txt, which changed"):
        pipeline.run(home=tmp_path / "home", resume="last")


def test_a_reader_is_cached_by_version(tmp_path: Path, session: Session, files: FolderFileSystem) -> None:
    """A hit reads nothing; another content, or another file that matches, is read."""
    put(files, "shelf://b/a.txt", b"a\n")

    def run(url: str) -> tuple[list[str], bool]:
        made = node("FileReader", id="r", file_path=URL(url), policies={"cache": True})
        files.calls.clear()
        result = Pipeline.of(made, session=session, name=url).run(home=tmp_path / "home")
        result.check()
        return list(result.outputs["r"]), result.nodes["r"].cached

    for url in ("shelf://b/a.txt", "shelf://b/*.txt"):
        put(files, "shelf://b/a.txt", b"a\n")
        assert run(url) == (["a"], False)
        assert run(url) == (["a"], True)
        assert "read" not in {name for name, _ in files.calls}
        put(files, "shelf://b/a.txt", b"b\n")
        assert run(url) == (["b"], False)
    put(files, "shelf://b/c.txt", b"c\n")
    assert run("shelf://b/*.txt") == (["b", "c"], False)


def test_a_node_may_depend_on_a_url(tmp_path: Path, session: Session, files: FolderFileSystem) -> None:
    """`depends_on` names it, relative to nothing."""

    @operator
    def rules() -> str:
        return "some"

    policies = {"cache": {"depends_on": ["shelf://b/rules.txt"]}}

    def run() -> bool:
        made = Pipeline.of(node(rules, policies=policies), session=session, name="p")
        assert made.validate() == []
        return made.run(home=tmp_path / "home").nodes["rules"].cached

    assert [run(), run()] == [False, True]
    put(files, "shelf://b/rules.txt", b"x")
    assert [run(), run()] == [False, True]


def test_a_parameter_given_as_a_url_is_recorded(
    tmp_path: Path, session: Session, files: FolderFileSystem
) -> None:
    """So a resumed run is asked for the same."""
    put(files, "shelf://b/in.txt", b"a\n")
    reader = node("FileReader", id="reader", file_path="here.txt")
    writer = node("FileWriter", id="writer", inputs={"lines": "reader"}, file_path=URL("shelf://b/no/"))
    files.faults["commit"] = [PermissionError("no")]

    def run(**asked: Any) -> Any:
        return Pipeline.of(reader, writer, session=session, name="p").run(home=tmp_path / "home", **asked)

    assert run(params={"reader.file_path": URL("shelf://b/in.txt")}).status == "failed"
    run(resume="last").check()
    assert get(files, "shelf://b/no/") == b"a\n"


def test_a_reader_of_a_pattern_is_cached_by_all_that_match(tmp_path: Path) -> None:
    """On this machine too."""
    (tmp_path / "a.txt").write_text("a\n")

    def run() -> tuple[list[str], bool]:
        made = node("FileReader", id="r", file_path=str(tmp_path / "*.txt"), policies={"cache": True})
        result = Pipeline.of(made, name="p").run(home=tmp_path / "home")
        return list(result.outputs["r"]), result.nodes["r"].cached

    assert run() == (["a"], False)
    assert run() == (["a"], True)
    (tmp_path / "a.txt").write_text("b\n")
    assert run() == (["b"], False)
    (tmp_path / "c.txt").write_text("c\n")
    assert run() == (["b", "c"], False)


def test_an_output_of_a_file_that_changed_meanwhile_is_not_kept(
    tmp_path: Path, session: Session, files: FolderFileSystem
) -> None:
    """It may be of neither version (F12)."""
    put(files, "shelf://b/a.txt", b"a")

    @operator
    def read(*, path: Annotated[Path | URL, READS]) -> bytes:
        with open_input(path) as file:
            data = file.read()
        put(files, str(path), data + b"a")
        return data

    def run() -> Any:
        policies = {"cache": {"version": "1"}}
        made = node(read, path=URL("shelf://b/a.txt"), policies=policies)
        return Pipeline.of(made, session=session, name="p").run(home=tmp_path / "home")

    assert run().outputs["read"] == b"a"
    put(files, "shelf://b/a.txt", b"a")
    assert not run().nodes["read"].cached


def test_a_state_is_that_of_a_version(files: FolderFileSystem) -> None:
    """What cannot be looked at is not unchanged."""
    put(files, "shelf://b/a.txt", b"a")
    with bringing(lambda _: lambda: files):
        before = states_of(["shelf://b/a.txt", "shelf://b/none.txt"])
        assert before["shelf://b/none.txt"].digest == "absent"
        assert unchanged(before)
        files.faults["describe"] = [ConnectionError("no route")]
        assert not unchanged(before)
        put(files, "shelf://b/a.txt", b"b")
        assert not unchanged(before)
