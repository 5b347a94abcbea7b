"""Choose among lines by regular expressions."""

from collections.abc import Iterable
from typing import Annotated, Any

from petal import LISTS, Batches, Check, operator
from petal.library import regex

REST = "rest"


def _check_patterns(patterns: dict[str, str]) -> None:
    if not patterns:
        raise ValueError("name at least one port and its pattern, such as {errors: '^ERROR'}")
    for port, pattern in patterns.items():
        if not port.isidentifier() or port in (REST, "output"):
            raise ValueError(
                f"{port!r} cannot be a port: use letters, digits and `_`; `rest` and `output` are taken"
            )
        regex.check(pattern)


def _ports(params: dict[str, Any]) -> Iterable[str]:
    return [*params["patterns"], REST]


@operator(rowwise=True)
def regex_filter(
    lines: Annotated[Batches[str], LISTS],
    *,
    pattern: Annotated[str, Check(regex.check)],
    invert: bool = False,
) -> Batches[str]:
    r"""Keep the lines in which a regular expression is found.

    The pattern may match anywhere in a line; `^` and `$` tie it to the ends. The dialect is that of
    Python's `re` and Polars together: what both take gives the result of `re.search`; look-around and
    back-references go to Python (slower), classes such as `\p{L}` and `[[:alpha:]]` to Polars.

    Args:
        lines: The lines; a missing one (null) counts as not matching.
        pattern: The regular expression. `(?i)` at its start ignores case.
        invert: Keep the lines in which it is not found.

    Example:
        nodes:
          - { id: reader, type: FileReader, params: { file_path: input.txt } }
          - { id: errors, type: RegexFilter, params: { pattern: ' ERROR ' } }
          - { id: writer, type: FileWriter, params: { file_path: errors.txt } }
        edges:
          - [reader, errors]
          - [errors, writer]
    """
    search = regex.Search(pattern)
    for batch in lines:
        kept: Any
        if isinstance(batch, list):
            answers = zip(batch, search.in_list(batch), strict=True)
            kept = [line for line, answer in answers if bool(answer) is not invert]
        else:
            found = search.in_column(batch)
            kept = batch.filter(~found.fill_null(False) if invert else found)  # a filter drops what is null
        if len(kept):
            yield kept


@operator(outputs=_ports, rowwise=False)
def splitter(
    lines: Batches[str], *, patterns: Annotated[dict[str, str], Check(_check_patterns)]
) -> dict[str, list[str]]:
    """Sort lines into ports by regular expressions.

    Each line goes to the first port whose pattern is found in it, or to the port `rest`. The port `output`
    is all of them, by name. The lines are held in memory; where each consumer filters for itself, let
    several edges leave the reader instead: an output may have any number of consumers, and is read once.

    Args:
        lines: The lines; a missing one (null) goes nowhere.
        patterns: The ports and their regular expressions, as of RegexFilter, tried in this order.

    Example:
        nodes:
          - { id: reader, type: FileReader, params: { file_path: input.txt } }
          - id: split
            type: Splitter
            params: { patterns: { errors: ' ERROR ', warnings: ' WARN ' } }
          - { id: errors, type: FileWriter, params: { file_path: errors.txt } }
          - { id: others, type: FileWriter, params: { file_path: others.txt } }
        edges:
          - [reader, split]
          - [split.errors, errors]
          - [split.rest, others]
    """
    searches = {port: regex.compiled(pattern) for port, pattern in patterns.items()}
    split: dict[str, list[str]] = {port: [] for port in [*patterns, REST]}
    for batch in lines:
        left = batch.drop_nulls()
        for port, search in searches.items():
            found = search(left)
            split[port] += left.filter(found).to_list()
            left = left.filter(~found)
        split[REST] += left.to_list()
    return split
