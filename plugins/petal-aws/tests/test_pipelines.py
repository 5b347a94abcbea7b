"""Pipelines whose files, cache and large messages lie in a bucket: local and in workers, written once or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from petal_aws.filesystem import open_filesystem

from petal import Pipeline, Session, Status, node, operator
from petal.testing import FakeBackend
from petal.testing.subject import giver
from petal.testing.tasks import hands_bytes
from tests.console import environment, run

FILE = """\
nodes:
  - {{ id: read, type: FileReader, params: {{ file_path: "s3://{bucket}/in/*.txt" }} }}
  - {{ id: find, type: RegexFilter, inputs: {{ lines: read }}, params: {{ pattern: "ERROR" }} }}
  - id: write
    type: FileWriter
    inputs: {{ lines: find }}
    params: {{ file_path: "s3://{bucket}/out/errors.txt" }}
    execution: {{ backend: {backend} }}
"""


def put(bucket: str, key: str, text: str) -> None:
    upload = open_filesystem().write(f"s3://{bucket}/{key}", owner="test")
    upload.file.write(text.encode())
    upload.commit()


def get(bucket: str, key: str) -> str:
    with open_filesystem().read(f"s3://{bucket}/{key}") as file:
        return file.read().decode()


@pytest.mark.parametrize("backend", ["local", "process"])
def test_readers_and_writers_open_urls(aws_bucket: str, tmp_path: Path, backend: str) -> None:
    """What a worker writes, the process that runs the pipeline publishes."""
    put(aws_bucket, "in/a.txt", "one\nan ERROR\n")
    put(aws_bucket, "in/b.txt", "ERROR two\n")
    (tmp_path / "etl.yaml").write_text(FILE.format(bucket=aws_bucket, backend=backend))
    Pipeline.from_file(tmp_path / "etl.yaml").run().check()
    assert get(aws_bucket, "out/errors.txt") == "an ERROR\nERROR two\n"


def test_a_pipeline_file_is_fetched(aws_bucket: str, tmp_path: Path) -> None:
    """`petal run s3://bucket/etl.yaml`, in a folder that has nothing."""
    put(aws_bucket, "in/a.txt", "one\nan ERROR\n")
    put(aws_bucket, "jobs/etl.yaml", FILE.format(bucket=aws_bucket, backend="local"))
    [said] = run(
        [f"petal run s3://{aws_bucket}/jobs/etl.yaml; echo exit $?"], tmp_path, environment(tmp_path / "bin")
    )
    assert said.endswith("exit 0\n"), said
    assert get(aws_bucket, "out/errors.txt") == "an ERROR\n"


@operator
def breaks(rows: list[str], *, path: str) -> None:
    """Write a part of a file, and fail."""
    from petal import open_output

    with open_output(path) as file:
        file.write("".join(rows).encode() * (3 << 20))
        raise RuntimeError("in the middle")


def test_a_writer_that_fails_leaves_nothing(aws_bucket: str, s3: Any) -> None:
    """No object, no parts; what was there stays."""
    put(aws_bucket, "out/kept.txt", "before")
    result = Pipeline.of(
        node(rows, id="rows"),
        node(
            breaks, id="breaks", inputs={"rows": "rows"}, params={"path": f"s3://{aws_bucket}/out/kept.txt"}
        ),
        name="breaks",
        session=Session(),
    ).run()
    assert result.nodes["breaks"].status is Status.FAILED
    assert get(aws_bucket, "out/kept.txt") == "before"
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=aws_bucket)


def rows() -> list[str]:
    """Return some rows."""
    return ["row", "row"]


def test_a_value_goes_by_claim_check(aws_bucket: str, s3: Any) -> None:
    """Both ways, above the limit of the transport; nothing is left at the end."""
    backend = FakeBackend(limit=50_000)
    session = Session()
    session.register(backend)
    data = os.urandom(1 << 20)
    result = Pipeline.of(
        node(giver(data), id="data"),
        node(
            hands_bytes,
            id="handed",
            inputs={"value": "data"},
            policies={"execution": {"backend": backend.name, "claims": f"s3://{aws_bucket}/claims"}},
        ),
        name="claims",
        session=session,
    ).run()
    assert result.check().outputs["handed"] == data
    assert [len(sent.message) < 50_000 for sent in backend.sent] == [True]
    assert s3.list_objects_v2(Bucket=aws_bucket)["KeyCount"] == 0


CACHED = """\
cache_io: s3://{bucket}/cache
plugins: [./ops.py]
nodes:
  - {{ id: read, type: FileReader, params: {{ file_path: in.txt }} }}
  - {{ id: slow, type: Slow, inputs: {{ lines: read }} }}
"""
OPS = '''\
from pathlib import Path
from petal import operator

@operator
def slow(lines: list[str]) -> list[str]:
    """Count its calls."""
    with open("{calls}", "a") as file:
        file.write("called\\n")
    return [line.upper() for line in lines]
'''


def test_another_machine_finds_what_one_has_computed(aws_bucket: str, tmp_path: Path) -> None:
    """Two projects with homes of their own, and one cache in a bucket."""
    calls = tmp_path / "calls"
    found = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "etl.yaml").write_text(CACHED.format(bucket=aws_bucket))
        (folder / "ops.py").write_text(OPS.format(calls=calls))
        (folder / "in.txt").write_text("a\nb\n")
        found.append(Pipeline.from_file(folder / "etl.yaml").run().check().outputs)
    assert found[0] == found[1]
    assert calls.read_text() == "called\n"
    assert found[0]["slow"] == ["A", "B"]
