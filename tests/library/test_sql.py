"""FilterRows and SqlQuery."""

import polars as pl
import pytest

from petal import DataError
from petal.library.sql import filter_rows, sql_query

PEOPLE = pl.DataFrame(
    {"name": ["Ada", "Bob", None], "age": [36, None, 45], "user": [{"team": "core"}, {"team": "ops"}, None]}
)
(CONDITION,) = filter_rows.__annotations__["where"].__metadata__


@pytest.mark.parametrize(
    ("where", "ages"),
    [
        ("age > 36", [45]),
        ("age IN (36, 45)", [36, 45]),
        ("NOT age > 36", [36]),
        ("age IS NULL OR name LIKE 'A%'", [36, None]),
        ("\"user\".team = 'core'", [36]),
        ("COALESCE(age, 0) < 40 AND LENGTH(name) = 3", [36, None]),
        ("\"name\" = 'Len' OR name = 'Bob'", [None]),
        ("1 = 1", [36, None, 45]),
        ("FALSE", []),
    ],
)
def test_rows_are_kept_where_the_condition_is_true(where, ages):
    """What is null is not true; one record at a time, however the stream is cut."""
    CONDITION.test(where)
    for frames in ([PEOPLE], [PEOPLE[:1], PEOPLE[1:1], PEOPLE[1:]]):
        kept = list(filter_rows(frames, where=where))
        assert [row["age"] for f in kept for row in f.to_dicts()] == ages
        assert all(f.columns == PEOPLE.columns for f in kept)


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("age >", "is not a condition in SQL"),
        ("age > 3; DROP TABLE x", "is not a condition in SQL"),
        ("nope(age) > 3", "unsupported function 'nope'"),
        ("age > AVG(age)", "more than one record"),
        ("COUNT(*) > 1", "more than one record"),
        ("SUM(age) OVER (PARTITION BY name) > 3", "more than one record"),
        ("ROW_NUMBER() OVER (ORDER BY age) = 1", "more than one record"),
    ],
)
def test_conditions_are_checked_before_the_run(where, what):
    """A condition that a batch of rows would answer differently from all of them is refused too."""
    with pytest.raises(ValueError, match=what):
        CONDITION.test(where)


def test_conditions_that_do_not_fit_the_records():
    """A missing column lists those that are there."""
    with pytest.raises(DataError, match="no column 'aeg'; the columns are: name, age, user") as error:
        list(filter_rows([PEOPLE], where="aeg > 3"))
    assert error.value.hint == "did you mean 'age'?"
    for where in ("name > 3", "age"):
        with pytest.raises(DataError, match="does not fit the records") as error:
            list(filter_rows([PEOPLE], where=where))
        assert error.value.__suppress_context__


def test_a_query_over_two_inputs():
    """The names are those of the edges, in order."""
    teams = pl.LazyFrame({"team": ["core", "ops"], "boss": ["Eve", "Dan"]})
    people = PEOPLE.lazy().select("name", pl.col("user").struct.field("team"))
    query = "SELECT t.boss, COUNT(*) n FROM p JOIN t ON p.team = t.team GROUP BY t.boss ORDER BY t.boss"
    found = sql_query(people, teams, names=["p", "t"], query=query)
    assert found.rows() == [("Dan", 1), ("Eve", 1)]


def test_queries_that_are_wrong():
    """Their message says what is there."""
    table = PEOPLE.lazy()
    for query, what in (
        ("SELECT nam FROM t", "no column 'nam'; the columns are: t.name, t.age, t.user"),
        ("SELECT * FROM u", "the query fails: relation 'u' was not found"),
        ("SELECT FROM", "the query fails: sql parser error"),
        ("SELECT age + name FROM t WHERE name > 3", "the query fails"),
    ):
        with pytest.raises(DataError, match=what) as error:
            sql_query(table, names=["t"], query=query)
        assert "FAILED HERE" not in str(error.value)
    with pytest.raises(DataError, match="there are 2 inputs, but `names` has 1: t"):
        sql_query(table, table, names=["t"], query="SELECT * FROM t")


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("query", "DROP TABLE t", "begin it with SELECT or WITH"),
        ("query", "SELECT * FROM read_csv('/etc/passwd')", "sees its inputs only"),
        ("names", [], "name the table"),
        ("names", ["a", "a"], "'a' is named twice"),
        ("names", ["a b"], "cannot be a table's name"),
    ],
)
def test_queries_are_checked_before_the_run(name, value, what):
    """As far as they can be without the columns."""
    (check,) = sql_query.__annotations__[name].__metadata__
    with pytest.raises(ValueError, match=what):
        check.test(value)
    sql_query.__annotations__["query"].__metadata__[0].test("-- all\nwith a as (select 1) select * from a")
