"""An operator is a function, which a test may call; what every operator owes to pipelines is a contract to inherit."""

from datetime import datetime

from petal_timestamp import timestamp_appender

from petal.testing import Case, OperatorContract

NOON = datetime(2026, 3, 1, 12, 0)


class TestTimestampAppender(OperatorContract):
    """Lines with a time before them, and no lines."""

    operator = timestamp_appender
    cases = [
        Case(
            inputs={"lines": ["a", ""]},
            params={"now": NOON},
            output=["2026-03-01T12:00:00 - a", "2026-03-01T12:00:00 - "],
        ),
        Case(inputs={"lines": []}, output=[], label="no lines"),
    ]


def test_the_clock_is_read_where_no_time_is_given() -> None:
    before = datetime.now()
    [line] = timestamp_appender(["a"])
    assert before <= datetime.fromisoformat(line.removesuffix(" - a")) <= datetime.now()
