"""Lines for people: what they say of rows, times, statuses; and progress on a terminal."""

import io
import json
import logging
import time

import pytest

from petal.errors import NodeFailed
from petal.metadata.bus import log_event
from petal.metadata.console import Console, seconds_text
from petal.metadata.logs import formatter, log_failure, logging_to
from petal.metadata.progress import Progress
from petal.spec.event import AttemptFailed, NodeFinished, NodeStarted, RunFinished, RunStarted, Status
from petal.spec.redaction import hide


def finished(**fields):
    return NodeFinished(
        **{"run": "r", "at": 0.0, "node": "filter", "type": "RegexFilter", "status": Status.SUCCEEDED}
        | fields
    )


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        (
            {"rows_in": {"lines": 120}, "rows": 17, "seconds": 0.123},
            "✔ filter  RegexFilter  120 → 17 rows  0.12s",
        ),
        ({"rows": 1, "seconds": 75.0}, "✔ filter  RegexFilter  1 row  1m15s"),
        ({"rows_in": {"a": 1000, "b": 500}}, "✔ filter  RegexFilter  1,500 rows in"),
        ({"cached": True}, "✔ filter  RegexFilter  cached"),
        ({"status": Status.FAILED, "error": "Bad: x\ny"}, "✘ filter  RegexFilter  failed  Bad: x"),
        ({"status": Status.SKIPPED}, "– filter  RegexFilter  skipped"),
        ({"error": "\x1b[2J", "status": Status.FAILED}, "✘ filter  RegexFilter  failed  \\x1b[2J"),
    ],
)
def test_a_line_per_node(fields, line):
    """A node's line has its mark, id, type, rows, time and error."""
    lines = []
    Console(lines.append)(finished(**fields))
    assert lines == [line]


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"wait": 0.84}, "↻ filter  attempt 1 of 3 failed: ValueError: x; again in 0.84s"),
        ({"attempt": 2, "wait": 0.0}, "↻ filter  attempt 2 of 3 failed: ValueError: x; again at once"),
        ({"attempt": 4, "wait": 0.0}, "↻ filter  attempt 4 failed: ValueError: x; again at once"),
        ({"node": "other", "wait": 65.0}, "↻ other  attempt 1 failed: ValueError: x; again in 1m05s"),
    ],
)
def test_a_line_per_attempt_that_is_made_again(fields, line):
    """It says which attempt of how many, why, and when the next one is; free attempts exceed what a node has."""
    lines = []
    failed = {"run": "r", "at": 0.0, "node": "filter", "attempt": 1, "backend": "local", "kind": "user"}
    Console(lines.append, attempts={"filter": 3})(
        AttemptFailed(**failed | {"error": "ValueError: x\ny"} | fields)
    )
    assert lines == [line]


def test_a_node_that_moves_says_from_where_to_where():
    """Of a node that fails over each attempt names its place and the next one; without a move it stays."""
    lines = []
    console = Console(lines.append, places={"filter": ("docker", "docker", "local")})
    fault = ("no engine", 0.0)
    console(AttemptFailed("r", 0.0, "filter", 1, "docker", "infrastructure", *fault))
    console(AttemptFailed("r", 0.0, "filter", 2, "docker", "infrastructure", *fault))
    console(AttemptFailed("r", 0.0, "filter", 3, "local", "user", "ValueError: x", 0.5))
    console(finished(attempt=4, backend="local"))
    assert lines == [
        "↻ filter  attempt 1 on docker failed: no engine; next on docker",
        "↻ filter  attempt 2 on docker failed: no engine; next on local",
        "↻ filter  attempt 3 on local failed: ValueError: x; again in 0.50s",
        "✔ filter  RegexFilter  attempt 4 on local",
    ]


def test_a_call_of_a_batch_that_moves_says_so():
    """Calls move one by one, each from the place that it was in."""
    lines = []
    console = Console(lines.append, places={"filter": ("a", "b")})
    for where in ("rows 1 to 10 of `lines`", "rows 21 to 30 of `lines`"):
        console(
            AttemptFailed("r", 0.0, "filter", 1, "a", "infrastructure", f"in {where}: lost", 0.0, True, where)
        )
    assert lines == [
        "↻ filter  attempt 1 on a failed: in rows 1 to 10 of `lines`: lost; next on b",
        "↻ filter  attempt 1 on a failed: in rows 21 to 30 of `lines`: lost; next on b",
    ]


def test_ascii_and_colours():
    """Without Unicode the marks are words; colours surround the mark alone."""
    lines, failed = [], AttemptFailed("r", 0.0, "filter", 1, "local", "user", "bad", 1.0)
    Console(lines.append, unicode=False)(finished(rows_in={"x": 2}, rows=1))
    Console(lines.append, unicode=False)(failed)
    Console(lines.append, colour=True)(finished())
    Console(lines.append, colour=True)(failed)
    assert lines == [
        "ok     filter  RegexFilter  2 -> 1 row",
        "again  filter  attempt 1 failed: bad; again in 1.00s",
        "\x1b[32m✔\x1b[0m filter  RegexFilter",
        "\x1b[33m↻\x1b[0m filter  attempt 1 failed: bad; again in 1.00s",
    ]


def test_the_summary_counts():
    """The last line names the pipeline and counts the statuses."""
    lines = []
    console = Console(lines.append)
    console(RunStarted("r", 0.0, "etl", 3))
    console(RunFinished("r", 0.0, Status.FAILED, 1.5, {"succeeded": 2, "failed": 1}))
    assert lines == ["✘ etl: 2 succeeded, 1 failed in 1.50s"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.004, "0.00s"), (59.9, "59.90s"), (125, "2m05s"), (3720, "1h02m")]
)
def test_times(seconds, text):
    """Times are short."""
    assert seconds_text(seconds) == text


def test_console_hides_secrets():
    """A secret in an error is hidden."""
    hide("swordfish-9")
    lines = []
    Console(lines.append)(finished(status=Status.FAILED, error="no swordfish-9"))
    assert lines == ["✘ filter  RegexFilter  failed  no ***"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_of_a_short_run_is_never_drawn():
    """A run that is over soon draws nothing; lines pass straight through."""
    stream = Terminal()
    with Progress(stream) as progress:
        progress(RunStarted("r", 0.0, "etl", 1))
        progress.write("a line")
    assert stream.getvalue() == "a line\n"


def test_progress_of_a_long_run():
    """A longer run shows how far it is, lines go above it, and at the end it is gone."""
    pytest.importorskip("rich")
    stream = Terminal()
    with Progress(stream, patience=0.0) as progress:
        progress(RunStarted("r", 0.0, "etl", 3))
        progress(NodeStarted("r", 0.0, "reader", "FileReader"))
        progress(NodeStarted("r", 0.0, "filter", "RegexFilter"))
        progress(NodeStarted("r", 0.0, "reader", "FileReader", attempt=2))
        progress(finished())
        assert progress.text().startswith("1/3 nodes")
        assert progress.text().endswith("running: reader (attempt 2)")
        deadline = time.monotonic() + 5
        while progress._live is None and time.monotonic() < deadline:
            time.sleep(0.01)
        progress.write("a line")
        progress(RunFinished("r", 0.0, Status.SUCCEEDED, 1.0, {}))
    assert "a line" in stream.getvalue()
    assert "1/3 nodes" in stream.getvalue()


def test_log_records_are_json_whatever_is_logged():
    """Events, an operator's records and exceptions become one JSON object per line; secrets are hidden."""
    hide("opensesame")
    stream = io.StringIO()
    with logging_to(stream, "json"):
        log_event(finished(rows_in={"lines": 3}, rows=2, output="opensesame"))
        extra = {"run": "r", "node": "n", "attempt": 2}
        logging.LoggerAdapter(logging.getLogger("petal.node"), extra).info("hello %s", "opensesame")
        try:
            raise ValueError("opensesame")
        except ValueError:
            logging.getLogger("mine").exception("it broke")
        log_failure(NodeFailed("bad", node="n", attempt=1, params="a=1", traceback="Traceback ..."))
    event, own, broken, failure = map(json.loads, stream.getvalue().splitlines())
    assert (event["event"], event["rows"], event["output"]) == ("nodefinished", 2, "***")
    assert (own["event"], own["node"], own["attempt"]) == ("hello ***", "n", 2)
    assert "ValueError: ***" in broken["exception"]
    assert (failure["event"], failure["params"]) == ("failure", "a=1")


def test_quiet_logs_hold_errors_only():
    """With quiet only errors come through."""
    stream = io.StringIO()
    with logging_to(stream, "json", quiet=True):
        log_event(finished())
        log_event(finished(status=Status.FAILED, error="bad"))
    assert len(stream.getvalue().splitlines()) == 1


def test_an_attempt_that_is_made_again_is_a_warning():
    """A failed attempt, which the run gets over, is logged as a warning."""
    stream = io.StringIO()
    with logging_to(stream, "json"):
        log_event(AttemptFailed("r", 0.0, "filter", 1, "local", "user", "bad", 1.0))
    record = json.loads(stream.getvalue())
    assert (record["event"], record["level"], record["wait"]) == ("attemptfailed", "warning", 1.0)


def test_console_records():
    """For people a record is one line of key=value."""
    record = logging.LogRecord("x", logging.INFO, "", 0, "hello", (), None)
    assert "[info     ] hello" in formatter("console").format(record)
