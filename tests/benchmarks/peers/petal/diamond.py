"""A diamond with one branch that waits for the other's end."""

from collections.abc import Iterable, Iterator

from petal import Pipeline, node, operator


@operator
def count(lines: Iterable[str]) -> int:
    """Count the lines: all of them, so that whoever takes the count waits for the end of the stream."""
    return sum(1 for _ in lines)


@operator
def rest(lines: Iterable[str], count: int) -> Iterator[str]:
    """Pass the lines on, now that their number is known."""
    assert count > 0
    yield from lines


pipeline = Pipeline.of(
    node("FileReader", id="lines", file_path="log.txt"),
    count,
    rest,
    node("FileWriter", id="writer", inputs={"lines": "rest"}, file_path="copy.txt"),
)
