"""An operator is a function: call it."""

from datetime import datetime

from petal_timestamp import timestamp_appender

NOON = datetime(2026, 3, 1, 12, 0)


def test_each_line_begins_with_the_time() -> None:
    assert list(timestamp_appender(["a", ""], now=NOON)) == [
        "2026-03-01T12:00:00 - a",
        "2026-03-01T12:00:00 - ",
    ]


def test_the_clock_is_read_where_no_time_is_given() -> None:
    before = datetime.now()
    [line] = timestamp_appender(["a"])
    assert before <= datetime.fromisoformat(line.removesuffix(" - a")) <= datetime.now()
