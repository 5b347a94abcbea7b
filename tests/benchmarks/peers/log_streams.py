"""Read a log, keep the errors, write them: generators, for peers whose edges may carry one."""

import re
from collections.abc import Iterator


def lines(source: str) -> Iterator[str]:
    """Read the log."""
    with open(source, encoding="utf-8") as file:
        yield from file


def errors(lines: Iterator[str]) -> Iterator[str]:
    """Keep the errors."""
    match = re.compile("^ERROR").match
    return (line for line in lines if match(line))


def written(errors: Iterator[str], target: str) -> int:
    """Write them."""
    with open(target, "w", encoding="utf-8") as file:
        file.writelines(errors)
    return 1
