"""Read a log, keep the errors, write them: functions of lists, for peers whose edges carry values."""

import re


def lines(source: str) -> list[str]:
    """Read the log."""
    with open(source, encoding="utf-8") as file:
        return file.readlines()


def errors(lines: list[str], pattern: str = "^ERROR") -> list[str]:
    """Keep the lines that match."""
    match = re.compile(pattern).search
    return [line for line in lines if match(line)]


def written(errors: list[str], target: str) -> int:
    """Write them, and say how many they are."""
    with open(target, "w", encoding="utf-8") as file:
        file.writelines(errors)
    return len(errors)
