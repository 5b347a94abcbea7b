"""``petal run``: exit codes, what is printed where, values given on the command line."""

import json
import logging

import pytest


def test_a_run_writes_its_file_and_says_nothing_on_stdout(petal, chain):
    """A run that ends well exits 0, with a line per node and a summary on stderr."""
    ran = petal("run", "chain.yaml")
    assert (ran.code, ran.out) == (0, "")
    assert (chain / "output.txt").read_text() == "ERROR one\nERROR two\n"
    lines = ran.err.splitlines()
    assert [line.split()[:3] for line in lines[:3]] == [
        ["✔", "reader", "FileReader"],
        ["✔", "filter", "RegexFilter"],
        ["✔", "writer", "FileWriter"],
    ]
    assert "3 → 2 rows" in lines[1]
    assert lines[3].startswith("✔ chain: 3 succeeded in ")


def test_quiet_says_nothing(petal, chain):
    """--quiet leaves nothing but errors."""
    ran = petal("run", "chain.yaml", "-q")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_json_is_the_result(petal, etl):
    """--json prints the result on stdout, and what operators print goes to stderr."""
    ran = petal("run", "etl.py", "--json", "-q")
    assert ran.code == 0
    assert ran.data["status"] == "succeeded"
    assert ran.data["nodes"]["checked"]["rows"] == 5
    assert ran.err == "summing\n"


def test_a_leaf_stream_is_counted(petal, etl):
    """A stream that nobody consumes is read to its end and counted."""
    ran = petal("run", "etl.py", "--target", "checked", "--json", "-q")
    assert ran.data["outputs"] == {"checked": {"rows": 5}}
    assert "total" not in ran.data["nodes"]


LEAVES = """
from collections.abc import Iterator
from typing import Any, NamedTuple
from petal import operator, split

alive, most = 0, 0

class Row:
    def __init__(self) -> None:
        global alive, most
        alive += 1
        most = max(most, alive)

    def __del__(self) -> None:
        global alive
        alive -= 1

class Parts(NamedTuple):
    large: Iterator[Any]
    small: Iterator[Any]

def rows() -> Iterator[Any]:
    yield from (Row() for _ in range(200_000))
    print(f"most alive {most}")

@operator
def leaf() -> Iterator[Any]:
    yield from rows()

@operator
def parted() -> Parts:
    return split(rows(), Parts, by=lambda _: "large")
"""


@pytest.mark.parametrize("node", ["leaf", "parted"])
def test_a_leaf_stream_is_not_kept(petal, tmp_path, node):
    """S5.3: the command line counts what nobody will read, and holds a few thousand rows of 200,000 at a time."""
    (tmp_path / "leaves.py").write_text(LEAVES)
    ran = petal("run", "leaves.py", "--json", "--target", node)
    assert ran.data["outputs"] == {node: {"rows": 200_000}}
    most = next(int(line.rsplit(" ", 1)[1]) for line in ran.err.splitlines() if line.startswith("most alive"))
    assert most < 20_000


def test_a_failing_node_is_shown_with_the_users_frames_only(petal, etl):
    """A failed run exits 1 and shows node, error, attempt, parameters and the user's own frames."""
    ran = petal("run", "etl.py", "--set", "checked.limit=3", "--set", "checked.label=abc")
    assert ran.code == 1
    assert "✘ checked  Checked  failed" in ran.err
    assert "error: node `checked` failed (attempt 1): ValueError: 3 is too much" in ran.err
    assert "parameters: limit=3, label='abc'" in ran.err
    assert 'etl.py", line 20, in checked' in ran.err
    assert "execution/chain.py" not in ran.err
    assert "– total" in ran.err


def test_debug_shows_petals_frames_too(petal, etl):
    """--debug shows the whole traceback."""
    ran = petal("run", "etl.py", "--set", "checked.limit=3", "--debug")
    assert "running/watch.py" in ran.err


def test_values_are_text_read_by_the_annotation(petal, chain):
    """--set gives text: a number where a pattern is wanted stays text."""
    (chain / "input.txt").write_text("a 123\nb\n")
    assert petal("run", "chain.yaml", "-q", "--set", "filter.pattern=123").code == 0
    assert (chain / "output.txt").read_text() == "a 123\n"


def test_paths_on_the_command_line_are_relative_to_the_current_folder(petal, chain):
    """--set writer.file_path is found from where the user stands (S8.1)."""
    (chain / "sub").mkdir()
    (chain / "sub" / "p.yaml").write_text(
        (chain / "chain.yaml").read_text().replace("input.txt", "../input.txt")
    )
    assert petal("run", "sub/p.yaml", "-q", "--set", "writer.file_path=here.txt").code == 0
    assert (chain / "here.txt").exists()


def test_param_and_input(petal, tmp_path):
    """--param sets a pipeline's parameter and --input one of its inputs, each by its annotation."""
    (tmp_path / "ops.py").write_text(
        "from petal import operator\n@operator\ndef times(day: int, *, factor: int) -> int:\n    print(day * factor)\n    return day * factor\n"
    )
    (tmp_path / "p.yaml").write_text(
        "plugins: [./ops.py]\nparams: {factor: 2}\ninputs: [day]\nnodes:\n"
        "  - {id: t, type: Times, params: {factor: '${params.factor}'}, inputs: {day: day}}\n"
    )
    ran = petal("run", "p.yaml", "--param", "factor=5", "--input", "day=4", "-q")
    assert (ran.code, ran.out) == (0, "20\n")
    missing = petal("run", "p.yaml")
    assert missing.code == 3
    assert "day" in missing.err


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (["--param", "x"], 2, "no `=`"),
        (["--param", "a.b=1"], 2, "--set a.b=... sets it"),
        (["--set", "pattern=1"], 2, "--set NODE.pattern"),
        (["--set", "filter.patern=1"], 2, "did you mean `pattern`?"),
        (["--set", "a.b=1", "--set", "a.b=2"], 2, "given twice"),
        (["--backend", "filter="], 2, "no name"),
        (["--backend", "nope=local"], 2, "no node of that id"),
        (["--target", "filtr"], 2, "did you mean `filter`?"),
        (["--workers", "0"], 2, "--workers"),
        (["--wrokers", "3"], 2, "--workers"),
        (["--backend", "ray"], 3, "not-yet"),
        (["--backend", "process,workers"], 2, "`workers` is no setting"),
        (["--backend", "process,worker=1"], 3, "did you mean `workers`?"),
        (["--backend", "process,workers=many"], 3, "setting `workers` of backend `process`"),
        (["-p", "nope"], 2, "no plugin `nope`"),
        (["--input", "x=1"], 2, "no input `x`"),
    ],
)
def test_wrong_arguments(petal, chain, args, code, text):
    """A wrong argument is named with its remedy, and nothing is run."""
    ran = petal("run", "chain.yaml", *args)
    assert ran.code == code
    assert text in ran.err
    assert not (chain / "output.txt").exists()


def test_a_missing_file(petal, chain):
    """A file that is not there is a usage error with a guess."""
    ran = petal("run", "chian.yaml")
    assert ran.code == 2
    assert ran.err == "error: there is no file `chian.yaml`\n  hint: did you mean `chain.yaml`?\n"


def test_an_invalid_pipeline_shows_every_finding(petal, chain):
    """An invalid pipeline exits 3 with all findings on stderr."""
    (chain / "bad.yaml").write_text(
        "nodes:\n  - {id: a, type: FileReadr}\n  - {id: b, type: RegexFiltr, colour: 1}\n"
    )
    ran = petal("run", "bad.yaml")
    assert (ran.code, ran.out) == (3, "")
    assert "bad.yaml:2:19: error[unknown-operator]" in ran.err
    assert "error[unknown-key]" in ran.err
    assert ran.err.endswith("3 errors\n")


def test_dry_run_prints_the_picture_and_writes_nothing(petal, chain):
    """--dry-run prints the picture and runs nothing."""
    before = sorted(p.name for p in chain.iterdir())
    ran = petal("run", "chain.yaml", "--dry-run")
    assert ran.code == 0
    assert ran.out == "Pipeline: chain\n[reader] ──▶ [filter] ──▶ [writer]\n"
    assert sorted(p.name for p in chain.iterdir()) == before


def test_dry_run_as_json_is_the_plan(petal, chain):
    """--dry-run --json prints the plan."""
    ran = petal("run", "chain.yaml", "--dry-run", "--json")
    assert [node["id"] for node in ran.data["nodes"]] == ["reader", "filter", "writer"]


def test_one_of_several_pipelines_in_a_file(petal, tmp_path):
    """FILE:NAME runs that pipeline."""
    (tmp_path / "two.py").write_text(
        "from petal import Pipeline, operator\n@operator\ndef a() -> int:\n    return 1\n@operator\ndef b() -> int:\n    return 2\n"
        "one = Pipeline.of(a, name='one')\ntwo = Pipeline.of(b, name='two')\n"
    )
    assert "one: 1 succeeded" in petal("run", "two.py:one").err
    assert petal("run", "two.py:three").code == 2


def test_python_that_cannot_be_loaded(petal, tmp_path):
    """A Python file that does not compile is shown with place, line and caret, and no frame of Petal's."""
    (tmp_path / "bad.py").write_text("import petal\n\ndef f(:\n    pass\n")
    ran = petal("run", "bad.py")
    assert ran.code == 3
    assert ran.err.startswith(
        "error: SyntaxError: invalid syntax\n  at bad.py:3:7\n    def f(:\n          ^\n"
    )
    assert "loader.py" not in ran.err


def test_output_of_loading_goes_to_stderr(petal, tmp_path):
    """What a Python file prints while it is loaded is no data."""
    (tmp_path / "loud.py").write_text(
        "print('loading')\nfrom petal import operator\n@operator\ndef a() -> int:\n    return 1\n"
    )
    ran = petal("run", "loud.py", "--json", "-q")
    assert ran.data["status"] == "succeeded"
    assert ran.err == "loading\n"


def test_json_log_records(petal, etl):
    """--log-format json writes one object per line, with rows, times and truncated inputs and outputs."""
    ran = petal(
        "run",
        "etl.py",
        "--log-format",
        "json",
        "--target",
        "checked",
        "--set",
        "numbers.count=1000",
        "--set",
        "checked.limit=-1",
    )
    records = [json.loads(line) for line in ran.err.splitlines()]
    done = next(r for r in records if r["event"] == "nodefinished" and r["node"] == "checked")
    assert done["rows_in"] == {"numbers": 1000}
    assert done["rows"] == 1000
    assert done["inputs"] == {"numbers": "[0, 1, 2]"}
    assert done["output"] == "[0, 1, 2]"
    assert done["seconds"] > 0
    assert records[0]["event"] == "runstarted"
    assert records[-1]["event"] == "runfinished"


def test_a_failure_is_a_log_record(petal, etl):
    """With --log-format json a failure is a record too, so that every line is JSON."""
    ran = petal("run", "etl.py", "--log-format", "json", "--set", "checked.limit=3")
    records = [json.loads(line) for line in ran.err.splitlines()]
    assert ran.code == 1
    assert records[-1]["event"] == "failure"
    assert "3 is too much" in records[-1]["traceback"]


def test_console_log_records(petal, etl):
    """--log-format console writes records for people."""
    ran = petal("run", "etl.py", "--log-format", "console")
    assert "node=checked" in ran.err
    assert "rows=5" in ran.err


def test_secrets_never_show(petal, tmp_path, monkeypatch):
    """A secret is hidden in the console, in log records, in results and in errors."""
    monkeypatch.setenv("TOKEN", "hunter2-very-secret")
    (tmp_path / "ops.py").write_text(
        "from petal import operator\n@operator\ndef leak(*, token: str) -> list[str]:\n    return [token]\n"
        "@operator\ndef burst(leak: list[str]) -> int:\n    raise RuntimeError(leak[0])\n"
    )
    (tmp_path / "p.yaml").write_text(
        "plugins: [./ops.py]\nnodes:\n  - {id: leak, type: Leak, params: {token: '${secret:env/TOKEN}'}}\n  - {id: burst, type: Burst}\n"
    )
    for args in ([], ["--log-format", "json"], ["--log-format", "console"], ["--json"], ["--debug"]):
        ran = petal("run", "p.yaml", *args)
        assert ran.code == 1
        assert "hunter2" not in ran.out + ran.err
        assert "***" in ran.out + ran.err
    assert "${secret:env/TOKEN}" in petal("plan", "p.yaml", "--json").out


def test_nothing_leaks_into_logging(petal, etl):
    """After a run the handlers and levels of logging are what they were."""
    root = logging.getLogger()
    before = (list(root.handlers), root.level, logging.getLogger("petal").level)
    petal("run", "etl.py", "--log-format", "json")
    assert (list(root.handlers), root.level, logging.getLogger("petal").level) == before


def test_structlog_is_not_configured(petal, etl):
    """The application's own configuration of structlog stays as it is."""
    import structlog

    petal("run", "etl.py", "--log-format", "json")
    assert not structlog.is_configured()


def test_fail_fast(petal, etl):
    """--fail-fast is accepted and the run fails."""
    assert petal("run", "etl.py", "--fail-fast", "--set", "checked.limit=1", "-q").code == 1


LOGS = """\
from petal import Context, operator


@operator
def talk(*, context: Context) -> int:
    context.log.debug("too much")
    context.log.info("read %s rows of %s", 3, "x")
    context.log.warning("two\\nlines")
    return 1
"""


def test_what_nodes_log_is_shown(petal, tmp_path):
    """Records of level INFO and above are plain lines on stderr; with --quiet those of WARNING and above."""
    (tmp_path / "talk.py").write_text(LOGS)
    assert petal("run", "talk.py").err.startswith("talk: read 3 rows of x\ntalk: two\n  lines\n✔ talk ")
    assert petal("run", "talk.py", "-q").err == "talk: two\n  lines\n"
    assert "talk: read" not in petal("run", "talk.py", "--log-format", "console").err


def test_a_logged_secret_is_hidden(petal, tmp_path, monkeypatch):
    """What nodes log is redacted."""
    monkeypatch.setenv("TOKEN", "hunter3-very-secret")
    (tmp_path / "ops.py").write_text(
        "from petal import Context, operator\n@operator\ndef leak(*, token: str, context: Context) -> int:\n"
        "    context.log.info('it is %s', token)\n    return 1\n"
    )
    (tmp_path / "p.yaml").write_text(
        "plugins: [./ops.py]\nnodes:\n  - {id: leak, type: Leak, params: {token: '${secret:env/TOKEN}'}}\n"
    )
    assert petal("run", "p.yaml").err.startswith("leak: it is ***\n")


def test_logs_are_not_shown_twice(petal, tmp_path):
    """Where a pipeline's own code sends all records to stderr, Petal adds none."""
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    (tmp_path / "talk.py").write_text(
        LOGS + "import logging, sys\nlogging.getLogger().addHandler(logging.StreamHandler(sys.stderr))\n"
    )
    try:
        assert petal("run", "talk.py").err.count("read 3 rows of x") == 1
    finally:
        root.handlers[:] = before[1]
    assert logging.getLogger("petal.node").level == logging.NOTSET


def test_a_parameter_of_a_node_is_no_parameter_of_the_pipeline(petal, etl):
    """--param with the name of a node's parameter says how to set that one."""
    for command in ("run", "plan"):
        ran = petal(command, "etl.py", "--param", "count=3 4")
        assert ran.code == 2
        assert ran.err.endswith("hint: node `numbers` has one of that name: --set 'numbers.count=3 4'\n")
    assert "there is no name before the `=`" in petal("run", "etl.py", "--param", "=3").err


def test_a_folder_is_no_pipeline(petal, tmp_path):
    """A folder, and a name without an ending that is not there, are called what they are."""
    (tmp_path / "folder").mkdir()
    assert petal("run", "folder").err.startswith("error: `folder` is a folder\n")
    assert petal("run", "nothing").err.startswith("error: there is no file `nothing`\n")


def test_python_without_operators(petal, tmp_path):
    """A Python file without operators is told what belongs in it."""
    (tmp_path / "helper.py").write_text("X = 1\n")
    ran = petal("run", "helper.py")
    assert ran.code == 3
    assert "the file defines no operator and no pipeline" in ran.err
    assert "hint: decorate a function with `@operator`, or make a `Pipeline`" in ran.err


def test_plugins_that_are_written_otherwise(petal, tmp_path):
    """A file named as a module, or by its absolute path, is told how to be named."""
    (tmp_path / "plug").mkdir()
    file = tmp_path / "plug/mine.py"
    file.write_text("from petal import operator\n@operator\ndef a() -> int:\n    return 1\n")
    for plugin in ("plug.mine", str(file)):
        (tmp_path / "p.yaml").write_text(f"plugins: [{plugin}]\nnodes: [{{id: a, type: A}}]\n")
        ran = petal("validate", "p.yaml")
        assert ran.code == 3
        assert "`./plug/mine.py`" in ran.out


@pytest.mark.parametrize(("home", "code"), [("", 2), (".", 4)])
def test_a_project_is_not_taken_for_the_folder_of_state(petal, chain, monkeypatch, home, code):
    """`--home ''` and `--home .` are refused, also as $PETAL_HOME, and leave the project as it was."""
    before = sorted(chain.iterdir())
    ran = petal("run", "chain.yaml", "--home", home)
    assert ran.code == code
    assert "/.petal" in ran.err
    assert sorted(chain.iterdir()) == before
    if home:
        monkeypatch.setenv("PETAL_HOME", home)
        assert petal("run", "chain.yaml").code == code
        assert sorted(chain.iterdir()) == before


SAID = """
from petal import operator

@operator
def said(*, text: str = "a") -> int:
    return len(text)
"""


def test_a_byte_that_is_no_text_is_taken_like_any_other(petal, tmp_path):
    """What Python makes of such a byte in an argument is recorded, and is part of a cache key."""
    (tmp_path / "said.py").write_text(SAID)
    (tmp_path / "s.yaml").write_text(
        "plugins: [./said.py]\nnodes:\n  - { id: said, type: said, cache: { version: '1' } }\n"
    )
    for cached, value in ((False, "a\x01\udcff"), (True, "a\x01\udcff"), (False, "a\x01\udcfe")):
        ran = petal("run", "s.yaml", "--set", f"said.text={value}", "--json", "-q")
        assert (ran.code, ran.data["status"]) == (0, "succeeded")
        assert ran.data["nodes"]["said"]["cached"] is cached
