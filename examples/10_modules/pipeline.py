"""Case 10 in Python: there, a module is a function that returns nodes."""

from typing import Any

from petal import Pipeline, node


def cleaning(prefix: str, lines: str) -> list[Any]:
    """Drop blank lines and comments; the result is the last node."""
    filled = node(
        "RegexFilter", id=f"{prefix}_filled", inputs={"lines": lines}, pattern=r"^\s*$", invert=True
    )
    said = node("RegexFilter", id=f"{prefix}_said", inputs={"lines": filled}, pattern="^#", invert=True)
    return [filled, said]


def preprocessing(prefix: str, lines: str, level: str) -> list[Any]:
    """Keep the clean lines of one level; the result is the last node."""
    clean = cleaning(prefix, lines)
    return [*clean, node("RegexFilter", id=prefix, inputs={"lines": clean[-1]}, pattern=rf"^{level}\b")]


pipeline = Pipeline.of(
    node("FileReader", id="reader", file_path="input.txt"),
    *preprocessing("errors", "reader", "ERROR"),
    *preprocessing("warnings", "reader", "WARN"),
    node("FileWriter", id="error_writer", inputs={"lines": "errors"}, file_path="errors.txt"),
    node("FileWriter", id="warning_writer", inputs={"lines": "warnings"}, file_path="warnings.txt"),
    name="modules",
)

if __name__ == "__main__":
    pipeline.run().check()
