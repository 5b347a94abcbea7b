"""One task, bytes in and bytes out: what operators get, what comes back, and that whatever goes wrong is data (§5, S6)."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from decimal import Decimal

import polars as pl
import pytest

from petal.code.fingerprint import fingerprint
from petal.data.wire import Outgoing, unpack
from petal.worker.execute import Worker, execute
from petal.worker.request import PROTOCOL


def done(project, name, inputs=None, /, **params):
    return project.reply(name, execute(project.request(name, inputs, **params)))


def value(project, name, inputs=None, /, **params):
    reply = done(project, name, inputs, **params)
    assert reply.error is None, reply.error
    return reply.value


def test_importing_the_worker_is_cheap():
    """`import petal.worker.execute` imports no frame library, no command line, no YAML and no plugins."""
    script = (
        "import sys, petal.worker.execute, petal.worker.pooled, petal.worker.serve\n"
        "print([n for n in ('polars', 'pyarrow', 'pandas', 'click', 'yaml', 'structlog', 'pluggy', 'asyncio',"
        " 'petal.planning', 'petal.config', 'petal.execution', 'petal.app') if n in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout == "[]\n"


class TestCalling:
    """The operator gets what it would get locally, and what it gives comes back."""

    def test_parameters_and_defaults(self, project):
        """Parameters travel; those that are not given have their defaults."""
        assert value(project, "add", {"x": 2}, n=5) == 7
        assert value(project, "add", {"x": 2}) == 3

    def test_values_are_decoded_by_annotation(self, project):
        """A record with a date arrives as the class that the operator names, and comes back as one."""
        when = datetime.datetime(2026, 1, 31, tzinfo=datetime.UTC)
        found = value(project, "later", {"order": project.module.Order(1, when, "x")}, days=1)
        assert type(found).__name__ == "Order"
        assert found.when == when + datetime.timedelta(days=1)

    def test_variadic(self, project):
        """A variadic input gets its values in order, also none."""
        assert value(project, "total", {"parts": [1, 2, 3]}) == 6
        assert value(project, "total", {"parts": []}) == 0

    def test_streams(self, project):
        """Streams of items go in and come out, longer than one piece too."""
        assert value(project, "longest", {"lines": iter(["a", "ccc", "bb"])}) == "ccc"
        assert value(project, "numbers", count=200_000) == list(range(200_000))
        assert value(project, "doubled", {"rows": iter(range(150_000))})[-1] == 299_998
        assert value(project, "doubled", {"rows": iter([])}) == []

    def test_coroutines(self, project):
        """Coroutines are waited for, and async streams read and written."""
        assert value(project, "asleep", {"x": 1}) == 2
        assert value(project, "arriving", {"rows": iter(range(5))}) == [1, 2, 3, 4, 5]

    def test_frames(self, project):
        """Batches and whole frames arrive as the libraries' own."""
        found = value(project, "lengths", {"lines": iter([pl.Series(["a", "bb"]), pl.Series(["ccc"])])})
        assert [n for batch in found for n in batch] == [1, 2, 3]
        frame = pl.DataFrame({"k": ["a", "b", "a"], "v": [1, 2, 3]})
        assert value(project, "grouped", {"frame": frame}).to_dicts() == [
            {"k": "a", "v": 4},
            {"k": "b", "v": 2},
        ]

    def test_the_context_has_the_facts_of_the_request(self, project, monkeypatch):
        """Run, node, attempt, key, columns, deadline and secrets are there."""
        monkeypatch.setenv("PETAL_TEST_TOKEN", "open sesame")
        header = {"attempt": 3, "deadline": 60.0, "columns": ["a", "b"], "key": "k"}
        found = project.reply("facts", execute(project.changed("facts", header))).value
        assert 0 < found.pop("remaining") <= 60
        assert found == {
            "run": "20260101T000000Z-0123abcd",
            "node": "facts",
            "attempt": 3,
            "pipeline": "etl",
            "key": "k",
            "columns": ["a", "b"],
            "cancelled": False,
            "secret": "open sesame",
        }

    def test_an_import_inside_a_function_finds_the_project(self, project):
        """The pipeline's folder stays importable while the operator runs (S7.1)."""
        assert value(project, "late", {"x": 2}) == 42

    def test_says_who_did_it(self, project):
        """The reply says which process, host, Python and Petal did the task, and how long it took."""
        found = done(project, "add", {"x": 1})
        assert found.worker["pid"] == os.getpid()
        assert found.worker["python"] == ".".join(map(str, sys.version_info[:3]))
        assert found.petal == PROTOCOL
        assert found.seconds > 0
        assert found.files == []


class TestSecretsAndLogs:
    """Secrets are resolved here and never come back in clear; what is logged comes back."""

    def test_logs_come_back_redacted(self, project, monkeypatch):
        """Records of every logger at INFO and above come back in order, with secrets hidden."""
        monkeypatch.setenv("PETAL_TEST_TOKEN", "swordfish-1")
        found = done(project, "tells", {"x": 1}, token="${secret:env/PETAL_TEST_TOKEN}")
        assert found.value == len("swordfish-1")
        assert [record[:3] for record in found.logs] == [
            [20, "mine", "token is ***"],
            [30, "root", "plain"],
        ]
        assert found.logs[0][3] <= found.logs[1][3]

    def test_errors_come_back_redacted(self, project, monkeypatch):
        """A secret in an exception's text is hidden, in its traceback too; half characters can be sent; the logs before are kept."""
        monkeypatch.setenv("PETAL_TEST_TOKEN", "swordfish-2")
        data = execute(project.request("tells", {"x": -1}, token="${secret:env/PETAL_TEST_TOKEN}"))
        assert b"swordfish" not in data
        found = project.reply("tells", data)
        assert found.error["message"] == "no ***, half: \\ud800"
        assert len(found.logs) == 2

    def test_a_missing_secret_is_named(self, project, monkeypatch):
        """A secret that does not exist here is an error that says which."""
        monkeypatch.delenv("PETAL_TEST_TOKEN", raising=False)
        found = done(project, "tells", {"x": 1}, token="${secret:env/PETAL_TEST_TOKEN}")
        assert found.error["code"] == "missing-secret"
        assert "env/PETAL_TEST_TOKEN" in found.error["message"]

    def test_logs_are_bounded(self, project):
        """Of very many records the first thousand come back, and how many more there were."""
        found = done(project, "chatty", count=1500)
        assert len(found.logs) == 1001
        assert found.logs[999][2] == "line 999"
        assert found.logs[1000][2] == "500 more log records of this task were dropped"


class TestErrors:
    """Nothing raises: what went wrong is data, without a class to import."""

    def test_an_exception_of_the_user(self, project):
        """Type, bases, message and the traceback cut to the user's frames come back."""
        error = done(project, "fails", {"x": 1}).error
        assert (error["type"], error["kind"], error["message"]) == ("Fault", "user", "the line is dead")
        assert error["bases"] == ["ConnectionError", "OSError", "Exception", "BaseException"]
        assert error["code"] is None
        frames = [line for line in error["traceback"].splitlines() if line.lstrip().startswith("File ")]
        assert [f.rpartition(" ")[2] for f in frames] == ["fails", "inner"]

    def test_an_error_of_petals(self, project):
        """A PetalError keeps its code, hint, row and field, and is not called by its class."""
        error = done(project, "fails_as", how="row").error
        assert (error["type"], error["code"], error["hint"]) == ("", "bad-row", "correct it")
        assert (error["row"], error["field"]) == (7, "price")

    @pytest.mark.parametrize(
        ("how", "type", "kind"),
        [
            ("memory", "MemoryError", "out_of_memory"),
            ("exit", "SystemExit", "user"),
            ("interrupt", "KeyboardInterrupt", "user"),
            ("deep", "RecursionError", "user"),
            ("odd", "Odd", "user"),
        ],
    )
    def test_whatever_is_raised(self, project, how, type, kind):
        """Exits, interrupts, endless recursion and exceptions without a text are data as well, mid-stream too."""
        found = done(project, "fails_as", how=how)
        assert found.status == "error"
        assert found.output is None
        assert (found.error["type"], found.error["kind"]) == (type, kind)
        assert found.parts == []

    def test_an_input_that_does_not_fit(self, project):
        """An input of the wrong type is an error that names it, and the operator is not called."""
        request = project.changed("add", {"inputs": {"x": "three"}})
        error = project.reply("add", execute(request)).error
        assert error["code"] == "data"
        assert "input `x`" in error["message"]

    def test_an_output_that_does_not_fit(self, project):
        """An output that cannot cross is an error that says where in it, and which annotation to write (S6.1)."""
        error = done(project, "strange", {"x": 1}).error
        assert error["code"] == "data"
        assert "output" in error["message"]
        assert "[1].when" in error["message"]

    def test_a_stream_that_does_not_fit_is_closed(self, project):
        """A generator that gives a wrong row is closed, and nothing of its rows is sent."""
        found = done(project, "unfit")
        assert found.error["code"] == "data"
        assert found.parts == []
        assert [record[2] for record in found.logs] == ["ended"]

    @pytest.mark.parametrize(
        ("change", "code", "said"),
        [
            ({"petal": 2}, "wire", "the request speaks version 2 of the protocol"),
            ({"reference": None}, "wire", "$.reference"),
            ({"attempt": "first"}, "wire", "$.attempt"),
            ({"params": {"later": 1}}, "worker-lacks", "takes no `later`"),
            ({"inputs": {"y": 1}}, "worker-lacks", "takes no `y`"),
            (
                {"reference": {"module": "gone", "file": "/srv/gone.py", "qualname": "add"}},
                "worker-lacks",
                "the worker lacks the file /srv/gone.py",
            ),
            (
                {"reference": {"module": "json", "file": None, "qualname": "decoder"}},
                "not-an-operator",
                "is not an operator",
            ),
        ],
    )
    def test_a_request_that_cannot_be_done(self, project, change, code, said):
        """A request of another version, shape or code is refused with what is wrong with it."""
        error = project.reply("add", execute(project.changed("add", change, {"x": 1}))).error
        assert error["code"] == code
        assert said in error["message"]

    @pytest.mark.parametrize("data", [b"", b"PTL1", b"PTL1\x00\x00\x00\x05{}", b"GET / HTTP/1.1\r\n\r\n"])
    def test_bytes_that_are_no_request(self, data):
        """What is no message at all is answered too."""
        header = unpack(execute(data)).header
        assert (header["status"], header["error"]["code"]) == ("error", "wire")


class TestCode:
    """The fingerprint of the sender's code is compared with that of the code here."""

    def code(self, project, **change):
        found = fingerprint(project.module.helped)
        return {"digest": found.digest, "parts": found.parts | change}

    def reply(self, project, header):
        return project.reply("helped", execute(project.changed("helped", header, {"x": 1})))

    def test_the_same_code(self, project):
        """Equal code gives its digest and no skew."""
        code = self.code(project)
        found = self.reply(project, {"code": code, "strict": True})
        assert (found.value, found.code) == (11, code["digest"])
        assert not hasattr(found, "skew")

    def test_other_code_is_told(self, project):
        """A helper's helper that was edited in between is named, and the task is done."""
        code = self.code(project)
        (project.folder / "helper.py").write_text(
            (project.folder / "helper.py").read_text().replace("10", "20")
        )
        found = self.reply(project, {"code": code})
        assert found.value == 21
        assert found.skew == ["`helper:deeper`"]
        assert found.code != code["digest"]

    def test_other_code_is_refused_where_it_is_strict(self, project):
        """A strict request is refused by other code, before the operator is called."""
        code = self.code(project) | {"digest": "other", "parts": {}}
        found = self.reply(project, {"code": code, "strict": True})
        assert (found.status, found.error["code"]) == ("error", "code-skew")
        assert found.skew == ["the code of `Helped`"]

    def test_a_package_that_the_sender_lacks_is_no_skew(self, project):
        """A package that is installed only where the task runs is what remote execution is for."""
        code = self.code(project, **{"package torch": "absent"}) | {"digest": "other"}
        found = self.reply(project, {"code": code, "strict": True})
        assert found.value == 11


class TestKeeping:
    """A worker process keeps class operators of its run, as one per node and process (S1.3)."""

    def answers(self, project, worker, name, inputs, **header):
        replies = []
        for x in inputs:
            message = unpack(project.changed(name, header, {"x": x}))
            with worker.answer(message) as reply:
                replies.append(project.reply(name, reply.packed()))
        return replies

    @pytest.fixture
    def worker(self):
        worker = Worker()
        yield worker
        worker.close()

    def test_one_instance_for_a_node(self, project, worker):
        """The second task of a node goes to the instance of the first; another node has its own."""
        assert [r.value for r in self.answers(project, worker, "Counter", [1, 2])] == [[1, 1, 0], [2, 1, 0]]
        (other,) = self.answers(project, worker, "Counter", [1], operator_id="second")
        assert other.value == [1, 2, 0]
        (again,) = self.answers(project, worker, "Counter", [1])
        assert again.value == [3, 2, 0]

    def test_another_run_has_another_instance(self, project, worker):
        """Nothing of one run reaches the next."""
        self.answers(project, worker, "Counter", [1])
        assert self.answers(project, worker, "Counter", [1], run="other")[0].value == [1, 2, 0]

    def test_after_a_failure_there_is_a_new_one(self, project, worker):
        """An instance whose call failed serves no other."""
        found = self.answers(project, worker, "Counter", [1, -1, 1])
        assert [r.status for r in found] == ["ok", "error", "ok"]
        assert found[2].value == [1, 2, 0]

    def test_what_must_be_closed_is_closed_within_its_task(self, project, worker):
        """An operator with `close` is made and closed for each task."""
        assert [r.value for r in self.answers(project, worker, "Closed", [1, 2])] == [[1, 1, 0], [1, 2, 1]]

    def test_closing_that_fails_fails_the_task(self, project, worker):
        """An error of `close` is the task's error."""
        (found,) = self.answers(project, worker, "FailsToClose", [1])
        assert found.error["message"] == "the rest could not be written"

    def test_execute_keeps_nothing(self, project):
        """Without a worker process of its own, a task leaves nothing behind."""
        assert [value(project, "Counter", {"x": 1}) for _ in range(2)] == [[1, 1, 0], [1, 2, 0]]


def test_the_pools_handler(project, tmp_path, monkeypatch):
    """The pool's handler takes header and attachments, works in the sender's folder, and hands files over."""
    from petal.worker import pooled

    worker = Worker(shares_files=True, limits=None)
    monkeypatch.setattr(pooled, "_worker", worker)
    monkeypatch.chdir("/")
    with Outgoing() as message:
        header = project.header(message.spool, "write", {"text": "x"}, {"path": tmp_path / "out.txt"})
        message.write(header | {"cwd": str(tmp_path)})
        data, spool = pooled.handle(message.header, message.parts, str(tmp_path), lambda event: None)
    assert os.getcwd() == str(tmp_path)
    assert b'"status":"ok"' in data
    assert spool.sizes == []
    assert [p for p in os.listdir(tmp_path) if ".petal-20260101T000000Z-0123abcd-1-" in p]
    worker.close()


def test_many_value_types(project):
    """Values of the usual types come back as they went, through an operator that says nothing of its types."""
    for one in (None, True, 3, 2.5, "x", [1, [2]], {"a": [None]}):
        assert value(project, "untyped", {"x": one}) == one
    with pytest.raises(Exception, match="Decimal"):
        project.request("untyped", {"x": Decimal(1)})
