"""Say which columns an operator needs, and which of them a reader is to read."""

from collections.abc import Iterable

from petal import Context


def with_wanted(own: Iterable[str], wanted: list[str] | None) -> list[str] | None:
    """Return the columns that an operator needs which passes all others on as they are.

    Args:
        own: The columns that it looks at.
        wanted: The columns that its consumers need, or None for all.
    """
    return None if wanted is None else [*own, *wanted]


def hinted(context: Context | None, columns: Iterable[str]) -> list[str] | None:
    """Return the columns that anybody needs, in the file's order, or None for all.

    Where one is not there, all are read: who looks for it gives null or says which columns there are, and a
    later part of the file that has it is noticed.

    Args:
        context: The reader's Context.
        columns: The columns that the file has.
    """
    if context is None or not context.columns:
        return None
    there = list(columns)
    needed = {name if name in there else name.partition(".")[0] for name in context.columns}
    return [c for c in there if c in needed] if needed <= set(there) else None
