"""Example 07: a step in AWS Lambda, run by AWS's own emulator on the zip that Petal packages; and a function by hand."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from petal import Pipeline
from tests.console import copy_of, environment, run
from tests.examples import Example, Functions

pytestmark = pytest.mark.aws

#: The brief's case 7, word for word.
BRIEF = """\
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
FELT = """\
+0.77  The desk is beautiful, and it stands firmly. Thank you!
+0.00  The parcel was two days late.
-0.48  The lamp arrived broken, and nobody answers my letters.
-0.49  Assembly was easy, but the instructions are terrible.
+0.78  I LOVE this chair!!!
+0.43  Not bad at all.
+0.00  The table has four legs and a drawer.
-0.77  Worst. Shop. Ever. I want my money back :(
"""
WORDS = b"""\
word,count
the,5
and,3
was,2
my,2
i,2
"""
#: Bytes that a package may have.
LARGEST = 15 << 20


@pytest.fixture(autouse=True)
def modules() -> Iterator[None]:
    """Forget the example's own modules: another test has a copy of its own."""
    yield
    sys.modules.pop("operators", None)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip that the README's command makes of the pipeline."""
    scratch = tmp_path_factory.mktemp("package")
    folder = copy_of(Path(__file__).resolve().parent, scratch / "07_lambda")
    run(["petal lambda package pipeline.yaml"], folder, environment(scratch / "bin"))
    return folder / "petal-sentiment-analyze.zip"


@pytest.fixture
def deployed(functions: Functions, package: Path) -> Functions:
    """AWS Lambda with the two functions of the example."""
    functions.deploy("petal-sentiment-analyze", package, handler="petal_lambda.handler.handler")
    functions.deploy("count-words", Path(__file__).resolve().parent, handler="count_words.handler")
    return functions


def test_the_file_of_the_brief_stands_there_word_for_word(example: Example) -> None:
    assert Path("pipeline.yaml").read_text().endswith(BRIEF)


@pytest.mark.parametrize("file", ["pipeline.yaml", "pipeline.py"])
def test_the_step_runs_in_the_function(example: Example, deployed: Functions, file: str) -> None:
    """What the function gives is, byte for byte, what the same operator gives here."""
    result = Pipeline.from_file(file).run().check()
    assert result.nodes["lambda_transform"].backend == "aws_lambda"
    there = Path("output.txt").read_bytes()
    assert there.decode() == FELT
    Path("output.txt").unlink()
    scratch = example.folder.parent / "bin"
    run([f"petal run {file} --backend lambda_transform=local"], example.folder, environment(scratch))
    assert Path("output.txt").read_bytes() == there


def test_the_package_holds_what_the_step_needs_and_no_more(package: Path) -> None:
    assert package.stat().st_size < LARGEST


def test_a_function_written_by_hand_is_a_step(example: Example, deployed: Functions) -> None:
    """It knows nothing of Petal: it gets `inputs`, `operator_id`, `type` and `params`, and gives its bare output."""
    result = Pipeline.from_file("by_hand.yaml").run().check()
    assert result.nodes["count"].backend == "aws_lambda"
    assert Path("words.csv").read_bytes() == WORDS


@pytest.mark.slow
@pytest.mark.timeout(300)  # many commands, and a machine that others may use
def test_the_readme_is_true(example: Example, deployed: Functions, tmp_path: Path) -> None:
    assert example.readme_mistakes(tmp_path) == []
