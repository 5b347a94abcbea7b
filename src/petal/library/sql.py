"""SQL over records: a condition for each, or a query over several inputs."""

import json
import re
from typing import Annotated, Any

import polars as pl

from petal import Batches, Check, DataError, operator
from petal.library.hints import with_wanted
from petal.library.names import first_line, need_columns, no_column

#: What a condition may not hold, in Polars' own tree of it: all that looks at more than one record.
_ACROSS = {"Agg", "Over", "Rolling", "SubPlan", "Len", "Correlation"}
_FILES = re.compile(r"\b(read|scan)_\w+\s*\(", re.IGNORECASE)
_UNKNOWN = re.compile(r"""(?:unable to find column|column) ["']([^"']+)["']""")


def _condition(where: str) -> pl.Expr:
    try:
        found = pl.sql_expr(where)
        tree = json.loads(found.meta.serialize(format="json"))
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{where!r} is not a condition in SQL: {first_line(error)}") from None
    if _looks_across(tree):
        raise ValueError(
            f"{where!r} looks at more than one record: work that out with Aggregate or SqlQuery instead"
        )
    return found


def _looks_across(tree: Any) -> bool:
    if isinstance(tree, list):
        return any(map(_looks_across, tree))
    if isinstance(tree, dict):
        return any(
            key in _ACROSS or (key not in ("Literal", "Column") and _looks_across(value))
            for key, value in tree.items()
        )
    return tree in _ACROSS


def _check_names(names: list[str]) -> None:
    if not names:
        raise ValueError("name the table that each edge brings, in the order of the edges")
    for name in names:
        if not name.isidentifier():
            raise ValueError(f"{name!r} cannot be a table's name: use letters, digits and `_`")
    if twice := {n for n in names if names.count(n) > 1}:
        raise ValueError(f"{min(twice)!r} is named twice")


def _check_query(query: str) -> None:
    if not re.match(r"\s*(--.*\n\s*)*(select|with|from|values|\()", query, re.IGNORECASE):
        raise ValueError(f"{query[:60]!r} is not a query: begin it with SELECT or WITH")
    if found := _FILES.search(query):
        raise ValueError(f"a query sees its inputs only: read the file by a node, not by `{found[0]}...)`")


def _compared(params: dict[str, Any], wanted: list[str] | None) -> list[str] | None:
    return with_wanted(_condition(params["where"]).meta.root_names(), wanted) if wanted else None


@operator(rowwise=True, columns=_compared)
def filter_rows(
    records: Batches[dict[str, Any]], *, where: Annotated[str, Check(_condition)]
) -> Batches[dict[str, Any]]:
    """Keep the records for which a condition in SQL is true.

    The condition looks at one record at a time: `age > 40 AND city <> 'Rome'`, `name LIKE 'A%'`,
    `place.city = 'Rome'`, `zip IS NOT NULL`. As in SQL, what compares with null is not true.

    Args:
        records: The records.
        where: The condition, as after WHERE in SQL; a column whose name is no plain word, or is
            one of SQL's own such as `user`, is put in double quotes.

    Raises:
        DataError: A column is not there, or cannot be compared so.

    Example:
        nodes:
          - { id: people, type: CsvReader, params: { file_path: people.csv } }
          - { id: some, type: FilterRows, params: { where: "age > 40 AND city LIKE 'N%'" } }
          - { id: writer, type: CsvWriter, params: { file_path: some.csv } }
        edges:
          - [people, some]
          - [some, writer]
    """
    condition = _condition(where)
    names = condition.meta.root_names()
    for frame in records:
        need_columns(names, frame.columns)
        try:
            kept: Any = frame.filter(condition)
        except pl.exceptions.PolarsError as error:
            raise DataError(
                f"{where!r} does not fit the records: {first_line(error)}",
                hint="compare a column with a value of its own type, or use CAST(column AS ...)",
            ) from None
        yield kept


@operator(rowwise=False)
def sql_query(
    *tables: pl.LazyFrame,
    names: Annotated[list[str], Check(_check_names)],
    query: Annotated[str, Check(_check_query)],
) -> pl.DataFrame:
    """Query one or several inputs in SQL.

    The dialect is that of Polars: SELECT with JOIN, WHERE, GROUP BY, HAVING, ORDER BY, LIMIT, UNION, WITH.
    The inputs and the result are held in memory; without ORDER BY the order of the result is not fixed.

    Args:
        tables: The inputs, in the order of their edges.
        names: What the query calls them, in the same order.
        query: The query; it sees these tables only.

    Raises:
        DataError: The query is wrong, or a table or column is not there.

    Example:
        nodes:
          - { id: events, type: JsonFileReader, params: { file_path: events.jsonl } }
          - { id: people, type: CsvReader, params: { file_path: people.csv } }
          - id: counts
            type: SqlQuery
            params:
              names: [events, people]
              query: >-
                SELECT p.name, COUNT(*) AS events FROM events e JOIN people p ON e.user_id = p.user_id
                GROUP BY p.name ORDER BY p.name
          - { id: writer, type: CsvWriter, params: { file_path: counts.csv } }
        edges:
          - [events, counts]
          - [people, counts]
          - [counts, writer]
    """
    if len(tables) != len(names):
        raise DataError(
            f"there are {len(tables)} inputs, but `names` has {len(names)}: {', '.join(names)}",
            hint="name one table for each edge, in the order of the edges",
        )
    there = dict(zip(names, tables, strict=True))
    try:
        return pl.SQLContext(there).execute(query).collect()
    except pl.exceptions.PolarsError as error:
        columns = [f"{n}.{c}" for n, table in there.items() for c in table.collect_schema()]
        if isinstance(error, pl.exceptions.ColumnNotFoundError) and (name := _UNKNOWN.search(str(error))):
            raise no_column(name[1], columns) from None
        raise DataError(
            f"the query fails: {first_line(error)}", hint=f"the tables are: {', '.join(names)}"
        ) from None
