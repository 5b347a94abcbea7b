"""A worker that has a copy of the pipeline's files finds there what the driver has elsewhere (``$PETAL_PROJECT``)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from petal import Pipeline, node
from petal.code.fingerprint import fingerprint
from petal.code.loader import load_file, reference
from petal.data.wire import Message, Outgoing, unpack

OPERATOR = """
from petal import Context, operator
from helper import mark


def vault(name: str) -> str:
    return f"what {name} is"


@operator
def marked(text: str, *, context: Context) -> str:
    return mark + (context.secret(text) if "/" in text else text)
"""


def packed(folder: Path, base: Path | None, text: str = "x") -> bytes:
    """Return a request for the operator, and for what resolves secrets beside it, as the driver has it."""
    module = load_file(folder / "operators.py")
    target = module.marked
    found = fingerprint(target)
    with Outgoing(None) as message:
        message.write(
            {
                "petal": 1,
                "operator_id": "marked",
                "type": "Marked",
                "reference": msgspec.to_builtins(reference(target)),
                "folders": [str(folder)],
                "base": None if base is None else str(base),
                "inputs": {"text": text},
                "plugins": {"resolvers": {"vault": msgspec.to_builtins(reference(module.vault))}},
                "code": {"digest": found.digest, "parts": found.parts},
            }
        )
        return message.packed()


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """The driver's folder, of which a copy lies in `copy`; then it is gone."""
    for folder in ("there/ops", "copy/ops"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "operators.py").write_text(OPERATOR)
        (tmp_path / folder / "helper.py").write_text("mark = '> '\n")
    return tmp_path / "there"


def asked(data: bytes, copy: Path) -> dict[str, object]:
    """Ask a worker in another process."""
    code = "import sys; from petal.worker.execute import execute; sys.stdout.buffer.write(execute(sys.stdin.buffer.read()))"
    env = os.environ | {"PETAL_PROJECT": str(copy)}
    done = subprocess.run([sys.executable, "-c", code], input=data, env=env, capture_output=True, check=True)
    message: Message = unpack(done.stdout)
    return message.header


@pytest.mark.parametrize(("base", "copy"), [(".", "copy"), ("ops", "copy/ops"), ("jobs", "copy/jobs")])
def test_files_are_found_by_where_they_lie_from_the_pipelines_folder(
    there: Path, tmp_path: Path, base: str, copy: str
) -> None:
    """In its folder, beneath it and beside it; and the code is the same."""
    data = packed(there / "ops", there / base)
    there.rename(tmp_path / "gone")
    reply = asked(data, tmp_path / copy)
    assert (reply["status"], reply["output"]) == ("ok", "> x")
    assert "skew" not in reply


def test_what_plugins_bring_in_the_pipelines_own_files_is_found_likewise(there: Path, tmp_path: Path) -> None:
    data = packed(there / "ops", there / "ops", "vault/door")
    there.rename(tmp_path / "gone")
    reply = asked(data, tmp_path / "copy/ops")
    assert (reply["status"], reply["output"]) == ("ok", "> what door is")
    assert reply["secrets"] == ["vault/door"]


def test_without_a_base_the_files_are_where_the_sender_has_them(there: Path, tmp_path: Path) -> None:
    """The control: a sender that shares files says none, and then nothing is looked for elsewhere."""
    data = packed(there / "ops", None)
    there.rename(tmp_path / "gone")
    reply = asked(data, tmp_path / "copy")
    assert reply["status"] == "error"
    assert "the worker lacks the file" in str(reply["error"])


def test_the_folder_of_a_pipeline_is_that_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text("nodes:\n  - { id: source, type: EmptySource }\n")
    assert Pipeline.from_file(tmp_path / "pipeline.yaml").folder == os.path.realpath(tmp_path)
    assert Pipeline.of(node("EmptySource", id="source")).folder == os.path.dirname(os.path.realpath(__file__))
