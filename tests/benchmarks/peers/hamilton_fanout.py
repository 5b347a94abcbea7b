"""One log, three filters, three files, as a module of Hamilton."""

import log_lists
from common import PATTERNS
from hamilton.function_modifiers import parameterize, source, value


def lines(path: str) -> list[str]:
    """Read the log."""
    return log_lists.lines(path)


@parameterize(**{f"kept{i}": {"pattern": value(pattern)} for i, pattern in enumerate(PATTERNS, 1)})
def kept(lines: list[str], pattern: str) -> list[str]:
    """Keep the lines that match."""
    return log_lists.errors(lines, pattern)


@parameterize(**{f"written{i}": {"kept": source(f"kept{i}"), "number": value(i)} for i in (1, 2, 3)})
def written(kept: list[str], number: int, target: str) -> int:
    """Write them."""
    return log_lists.written(kept, f"{target}.{number}")
