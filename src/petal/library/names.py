"""Turn a name that is not there into an error that offers the ones that are."""

from collections.abc import Iterable

from petal import DataError

_SHOWN = 20


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return ``did you mean ...?`` or an empty string when nothing is close."""
    from difflib import get_close_matches  # only a mistake needs it

    close = get_close_matches(name, list(names), n=3, cutoff=0.6)
    return f"did you mean {' or '.join(repr(c) for c in close)}?" if close else ""


def no_column(name: str, columns: Iterable[str]) -> DataError:
    """Return the error for a column that a frame does not have.

    Args:
        name: The column asked for.
        columns: The columns there are.
    """
    there = list(columns)
    listed = ", ".join(there[:_SHOWN]) + (", ..." if len(there) > _SHOWN else "")
    guess = did_you_mean(name, there)
    return DataError(
        f"there is no column {name!r}; the columns are: {listed or '(none)'}",
        hint=guess or "name one of the columns listed",
    )


def need_columns(names: Iterable[str], columns: Iterable[str]) -> None:
    """Check that every name is a column.

    Raises:
        DataError: One is not.
    """
    there = list(columns)
    for name in names:
        if name not in there:
            raise no_column(name, there)


def first_line(error: Exception) -> str:
    """Return what an error of Polars says, without its advice, which is about Polars' own options."""
    return str(error).strip().partition("\n")[0].removesuffix(".")
