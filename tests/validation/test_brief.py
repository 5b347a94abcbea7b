"""The snippets of the user's own brief, word for word."""

from pathlib import Path

import pytest

from petal import Pipeline

CASE_2 = """\
nodes:
  - id: reader
    type: FileReader
    params: { file_path: input.txt }

  - id: filter
    type: RegexFilter
    params: { pattern: '^ERROR' }

  - id: writer
    type: FileWriter
    params: { file_path: output.txt }

edges:
  - [reader, filter]
  - [filter, writer]
"""

CASE_9 = """\
cache_io: true
nodes:
  - id: flaky
    type: FlakyTransformer
    params: {}
    retry: 3
"""

HYBRID = """\
nodes:
  - id: reader
    type: FileReader
    params: { file_path: "input.txt" }

  - id: lambda_transform
    type: SentimentAnalyzer
    execution:
      backend: aws_lambda
      function_name: petal-sentiment-analyze
      region: us-east-1

  - id: writer
    type: FileWriter
    params: { file_path: "output.txt" }

edges:
  - [reader, lambda_transform]
  - [lambda_transform, writer]
"""

MODULE = """\
modules:
  - id: preprocessor
    path: preprocessing.yaml

edges:
  - [preprocessor.output, main_writer]
"""


def load(text: str, name: str = "pipeline.yaml") -> Pipeline:
    Path(name).write_text(text)
    return Pipeline.from_file(name)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("input.txt").write_text("ERROR one\nINFO two\nERROR three\n")


def test_case_2_runs_unchanged():
    """Case 2: read, keep the errors, write."""
    pipeline = load(CASE_2)
    assert pipeline.validate() == []
    pipeline.run().check()
    assert Path("output.txt").read_text() == "ERROR one\nERROR three\n"


def test_case_9_runs_and_is_tried_again():
    """Case 9 as it is written has no finding; what fails by chance has three attempts, and says so if none is enough."""
    pipeline = load(CASE_9)
    assert pipeline.validate() == []
    found = pipeline.run().nodes["flaky"]
    assert found.status == "succeeded" or (found.attempts == 3 and "on purpose" in str(found.error))


@pytest.mark.parametrize(("probability", "attempts"), [(0.0, 1), (1.0, 3)])
@pytest.mark.slow
def test_case_9_makes_as_many_attempts_as_it_needs(probability, attempts):
    """The first good one is the last; three bad ones are the end."""
    result = load(CASE_9).run(params={"flaky.probability": probability})
    assert result.nodes["flaky"].attempts == attempts
    assert (result.status == "succeeded") == (attempts == 1)


def test_the_hybrid_pipeline_names_its_operator_and_its_backend():
    """The example of a Lambda step loads; what is missing is said, and nothing else."""
    findings = load(HYBRID).validate()
    missing = {f.code: f for f in findings}
    backend = missing.pop("unknown-backend", None)  # where the plugin is not installed
    assert backend is None or backend.hint == "`pip install petal-lambda` brings it"
    assert set(missing) == {"unknown-operator"}


def test_case_10_is_valid_when_completed():
    """Case 10's fragment, with the node and the module file that it speaks of, runs."""
    load(
        "nodes:\n  - { id: reader, type: FileReader, params: { file_path: input.txt } }\noutputs: { output: reader }\n",
        "preprocessing.yaml",
    )
    pipeline = load(
        MODULE + "nodes:\n  - { id: main_writer, type: FileWriter, params: { file_path: output.txt } }\n"
    )
    assert pipeline.validate() == []
    pipeline.run().check()
    assert Path("output.txt").read_text() == Path("input.txt").read_text()


def test_case_11_prints_as_in_the_brief(capsys: pytest.CaptureFixture[str]):
    """Case 11: `.run(dry=True)` prints the chain on one line, and nothing is written."""
    pipeline = load(
        CASE_2.replace("id: writer", "id: sink").replace("filter, writer", "filter, sink"),
        "extract_logs.yaml",
    )
    before = sorted(Path().iterdir())
    pipeline.run(dry=True)
    assert capsys.readouterr().out == "Pipeline: extract_logs\n[reader] ──▶ [filter] ──▶ [sink]\n"
    assert sorted(Path().iterdir()) == before
