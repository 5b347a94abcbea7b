"""Example 08: the same analysis as an operator in a container, as a program that knows nothing of Petal, and here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from petal import Pipeline
from tests.examples import Example

pytestmark = pytest.mark.docker

#: The brief's case 8, word for word.
BRIEF = """\
    execution:
      backend: docker
      image: myorg/nlp-tools:latest
      entrypoint: analyze_text.py
"""
PHRASES = b"""\
phrase,score,count
pollen,1.0,6
nectar,0.43,3
flower,0.4,2
nectar guide,0.277,2
bee,0.252,2
"""


@pytest.fixture(autouse=True)
def modules() -> Iterator[None]:
    """Forget the example's own modules: another test has a copy of its own."""
    yield
    for name in ("operators", "analyze_text"):
        sys.modules.pop(name, None)


def made(command: str, place: str) -> bytes:
    """Run a pipeline file, check where its step ran, and return what it wrote."""
    result = Pipeline.from_file(command).run().check()
    assert result.nodes["analyze"].backend == place
    return Path("phrases.csv").read_bytes()


@pytest.mark.parametrize("file", ["pipeline.yaml", "pipeline.py"])
def test_an_operator_in_an_image_that_petal_makes(example: Example, images: None, file: str) -> None:
    """The image is made of the pipeline's file, and both files run in it."""
    from petal_docker.build import build

    image = build(file)
    assert image.tag == "petal-example/key-phrases"
    assert image.files == ("analyze_text.py", "operators.py")
    assert "polars" not in image.packages
    assert made(file, "docker") == PHRASES


def test_the_worker_has_the_pipelines_own_code(
    example: Example, images: None, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is said of other code, until the pipeline's is edited."""
    from petal_docker.build import build

    build("pipeline.yaml")
    made("pipeline.yaml", "docker")
    assert "other code" not in caplog.text
    text = Path("analyze_text.py").read_text()
    Path("analyze_text.py").write_text(text.replace("window: int = 4", "window: int = 3"))
    made("pipeline.yaml", "docker")
    assert "other code than this process: `analyze_text:text_rank`" in caplog.text


def test_the_file_of_the_brief_runs_a_program_written_by_hand(example: Example, images: None) -> None:
    """The brief's block stands in the file as it is; the image has nothing of Petal."""
    from petal_docker.engine import connect

    assert BRIEF in Path("brief.yaml").read_text()
    client = connect()
    try:
        said = list(client.build(path=".", tag="myorg/nlp-tools", rm=True, decode=True))
    finally:
        client.close()
    assert not [line for line in said if "error" in line]
    assert made("brief.yaml", "docker") == PHRASES


def test_it_gives_the_same_here(example: Example) -> None:
    result = Pipeline.from_file("pipeline.yaml").run(targets=["reader"])
    from analyze_text import key_phrases  # the example's folder is importable once its operators are loaded

    assert result.outputs["reader"][0].startswith("A flower advertises.")
    assert [found["phrase"] for found in key_phrases(list(result.outputs["reader"]), 2)] == [
        "pollen",
        "nectar",
    ]


@pytest.mark.slow
def test_the_readme_is_true(example: Example, images: None, tmp_path: Path) -> None:
    assert example.readme_mistakes(tmp_path) == []
