"""Plugins as packages beside a command line in a process of its own: broken, slow, clashing, observing (S10, F70, F71)."""

from __future__ import annotations

import json
import subprocess
import textwrap
import time
from pathlib import Path

import pytest

from tests.cli.conftest import CHAIN, ENVIRONMENT, PETAL

#: What each of them does when it is imported, and the reason that people are told.
BROKEN = {
    "import-error": ("import nothing_zz", "ModuleNotFoundError: No module named 'nothing_zz'"),
    "sleeper": ("import time\ntime.sleep(600)", "it took more than 1 s to load"),
    "exiter": ("import sys\nprint('bye')\nsys.exit(3)", "SystemExit: 3"),
    "base": ("class Stop(BaseException): pass\nraise Stop('no')", "Stop: no"),
    "misspelt": (
        "from petal import hookimpl\n@hookimpl\ndef petal_evnt(event): ...",
        "`petal_evnt`, which is no hook of Petal",
    ),
    "swallower": (
        "import time\nwhile True:\n    try: time.sleep(600)\n    except Exception: pass",
        "it took more than 1 s to load",
    ),
}
OPERATOR = """
    from petal import operator
    @operator
    def {name}(lines: list[str]) -> list[str]:
        return [line + {mark!r} for line in lines]
"""
USES = """\
nodes:
  - {{id: reader, type: FileReader, params: {{file_path: input.txt}}}}
  - {{id: mine, type: {type}}}
  - {{id: writer, type: FileWriter, params: {{file_path: '-'}}}}
edges: [[reader, mine], [mine, writer]]
{more}
"""


class Site:
    """A folder of installed packages, and a command line that sees it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.packages = folder / "site"
        self.packages.mkdir()
        (folder / "input.txt").write_text("ERROR one\nfine\n")
        (folder / "chain.yaml").write_text(CHAIN.replace("output.txt", "'-'"))

    def install(self, name: str, code: str, *, distribution: str = "", target: str = "") -> Path:
        """Lay a distribution and its module down; return the folder of its metadata."""
        distribution = distribution or f"petal-{name}"
        module = distribution.replace("-", "_")
        (self.packages / f"{module}.py").write_text(textwrap.dedent(code))
        info = self.packages / f"{module}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[petal]\n{name} = {module}{target}\n")
        return info

    def install_broken(self) -> None:
        """Install all that is broken, and one that prints."""
        for name, (code, _) in BROKEN.items():
            self.install(name, code)
        self.install("loud", "import os, sys\nprint('hello')\nsys.stdout.flush()\nos.write(1, b'again')")

    def petal(self, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command line."""
        path = f"{self.packages}:{ENVIRONMENT['PYTHONPATH']}"
        return subprocess.run(
            [*PETAL, *args],
            cwd=self.folder,
            env={**ENVIRONMENT, "PYTHONPATH": path, "PETAL_PLUGIN_TIMEOUT": "1", **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def pipeline(self, type: str, more: str = "") -> str:
        """Write a pipeline that uses an operator."""
        (self.folder / "uses.yaml").write_text(USES.format(type=type, more=more))
        return "uses.yaml"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_pipeline_that_needs_none_of_them_runs(site: Site) -> None:
    """With broken, slow and printing plugins installed, a pipeline of built-ins runs, and stdout holds its data."""
    site.install_broken()
    ran = site.petal("run", "chain.yaml")
    assert (ran.returncode, ran.stdout) == (0, "ERROR one\n"), ran.stderr
    assert "broken" not in ran.stderr


@pytest.mark.slow
def test_a_pipeline_that_needs_a_good_one_runs(site: Site) -> None:
    """An operator of another plugin is found among the broken ones, each of which is a warning with its package."""
    site.install_broken()
    site.install("good", OPERATOR.format(name="shout", mark="!"))
    ran = site.petal("run", site.pipeline("Shout"))
    assert (ran.returncode, ran.stdout) == (0, "ERROR one!\nfine!\n"), ran.stderr
    for name, (_, reason) in BROKEN.items():
        assert f"plugin `{name}` of petal-{name} 1.2 is broken and left out" in ran.stderr
        assert reason in ran.stderr


@pytest.mark.slow
def test_the_list_names_each_and_its_reason(site: Site) -> None:
    """``petal plugins`` shows all of them with package, version, state and reason; stdout is the list alone."""
    site.install_broken()
    site.install("good", OPERATOR.format(name="shout", mark="!"))
    ran = site.petal("plugins", "--json")
    found = {info["name"]: info for info in json.loads(ran.stdout)}
    for name, (_, reason) in BROKEN.items():
        assert (found[name]["state"], found[name]["version"]) == ("broken", "1.2")
        assert reason in found[name]["reason"]
    assert found["good"]["brings"] == ["Shout"]
    assert found["loud"]["state"] == "on"
    assert "hello" in ran.stderr
    assert "again" in ran.stderr


def test_the_list_says_what_each_brings(site: Site) -> None:
    """The names of operators, backends and commands are listed, and a hook that fails is named with its reason."""
    code = """
        import click
        from petal import hookimpl, operator
        @operator
        def shout(lines: list[str]) -> list[str]: return lines
        class Moon: name = "moon"
        @hookimpl
        def petal_backends(): return [Moon()]
        @hookimpl
        def petal_commands(): return [click.Command("tally")]
        @hookimpl
        def petal_resolvers(): raise SystemExit("no vault")
        @hookimpl
        def petal_event(event): ...
    """
    site.install("many", code)
    text = site.petal("plugins").stdout
    assert "petal_resolvers failed and is switched off: SystemExit: no vault" in text
    brings = ("operators: Shout", "backends: moon", "commands: tally", "hooks: petal_event, petal_resolvers")
    for line in brings:
        assert f"    {line}\n" in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ({"METADATA": b""}, None),
        ({"METADATA": None}, None),
        ({"METADATA": b"Name: x\xff\nVersion: \xfe"}, None),
        ({"METADATA": b"Metadata-Version: 2.1\nName: petal-bad\nVersion: not a version\n"}, None),
        ({"entry_points.txt": b"[petal]\nnothing here\n"}, "cannot be read"),
        ({"entry_points.txt": b"[petal]\nbad = petal_bad\xff\n"}, "cannot be read"),
        ({"entry_points.txt": b"[petal]\nbad = petal bad!\n"}, "AttributeError"),
    ],
    ids=["empty", "missing", "bytes", "version", "no-equals", "not-utf8", "no-module"],
)
def test_damaged_metadata_hides_no_other_plugin(
    site: Site, damage: dict[str, bytes | None], reason: str | None
) -> None:
    """A distribution with unreadable metadata is named, works if it can, and the others are found all the same."""
    info = site.install("bad", OPERATOR.format(name="whisper", mark="."))
    site.install("good", OPERATOR.format(name="shout", mark="!"))
    for name, content in damage.items():
        if content is None:
            (info / name).unlink()
        else:
            (info / name).write_bytes(content)
    found = {p["name"]: p for p in json.loads(site.petal("plugins", "--json").stdout)}
    assert found["good"]["state"] == "on"
    assert found["bad"]["distribution"] == "petal-bad"
    assert found["bad"]["state"] == ("on" if reason is None else "broken")
    assert (reason or "") in found["bad"]["reason"]
    assert site.petal("run", site.pipeline("Shout")).stdout == "ERROR one!\nfine!\n"


class TestNeeded:
    def test_an_operator(self, site: Site) -> None:
        """The operator of a broken plugin of that name is an error that says so, with exit code 3."""
        site.install("shout", "import nothing_zz")
        ran = site.petal("run", site.pipeline("Shout"))
        assert ran.returncode == 3
        assert "error[broken-plugin]" in ran.stderr
        assert "plugin `shout` of petal-shout 1.2" in ran.stderr
        assert "No module named 'nothing_zz'" in ran.stderr

    def test_an_operator_of_a_plugin_with_another_name(self, site: Site) -> None:
        """Where any of the broken plugins may hold an operator, they are named beside the error."""
        site.install("bad", "import nothing_zz")
        ran = site.petal("run", site.pipeline("Shout"))
        assert ran.returncode == 3
        assert "there is no operator `Shout`" in ran.stderr
        assert "plugin `bad` of petal-bad 1.2 is broken and left out" in ran.stderr

    def test_one_that_the_pipeline_names(self, site: Site) -> None:
        """A broken plugin under ``plugins:`` is an error at that entry, with exit code 3."""
        site.install("bad", "import sys; sys.exit(3)")
        ran = site.petal("run", site.pipeline("NoOpTransformer", "plugins: [bad]"))
        assert ran.returncode == 3
        assert "plugin `bad` is broken: SystemExit: 3" in ran.stderr

    def test_a_backend(self, site: Site) -> None:
        """The backend of a broken plugin of that name is an error that says so."""
        site.install("moon", "import nothing_zz")
        ran = site.petal("run", "chain.yaml", "--backend", "filter=moon")
        assert ran.returncode in (3, 4)
        assert "plugin `moon` of petal-moon 1.2" in ran.stderr
        assert "Traceback" not in ran.stderr

    def test_a_command(self, site: Site) -> None:
        """The command of a broken plugin of that name is an error that says so, with exit code 4."""
        site.install("lint", "import nothing_zz")
        ran = site.petal("lint")
        assert ran.returncode == 4
        assert "there is no command `lint`; plugin `lint` of petal-lint 1.2 may bring it" in ran.stderr

    @pytest.mark.slow
    def test_a_slow_one_is_waited_for(self, site: Site) -> None:
        """A plugin that something names may take longer than the limit; stderr says what is waited for."""
        site.install(
            "slow", "import time\ntime.sleep(2)" + textwrap.dedent(OPERATOR.format(name="shout", mark="!"))
        )
        pipeline = site.pipeline("Shout")
        assert site.petal("run", pipeline).returncode == 3
        ran = site.petal("run", pipeline, "-p", "slow")
        assert (ran.returncode, ran.stdout) == (0, "ERROR one!\nfine!\n")
        assert "still waiting for plugin `slow` after 1 s" in ran.stderr


class TestClashes:
    def test_operators(self, site: Site) -> None:
        """Two packages with one operator are an error that names both; naming one resolves it."""
        site.install("one", OPERATOR.format(name="shout", mark="1"))
        site.install("two", OPERATOR.format(name="shout", mark="2"))
        ran = site.petal("run", site.pipeline("Shout"))
        assert ran.returncode == 3
        assert "plugin `one` of petal-one 1.2 and plugin `two` of petal-two 1.2" in ran.stderr
        by_option = site.petal("run", site.pipeline("Shout"), "-p", "two")
        assert by_option.stdout == "ERROR one2\nfine2\n", by_option.stderr
        assert site.petal("run", site.pipeline("Shout"), PETAL_PLUGINS="two").stdout == "ERROR one2\nfine2\n"
        by_pipeline = site.petal("run", site.pipeline("Shout", "plugins: [two]"))
        assert by_pipeline.stdout == "ERROR one2\nfine2\n", by_pipeline.stderr
        assert site.petal("run", site.pipeline("Shout"), "-p", "no:one").stdout == "ERROR one2\nfine2\n"

    def test_commands(self, site: Site) -> None:
        """Two packages with one command are an error that names both, with exit code 4."""
        for name in ("one", "two"):
            site.install(name, COMMAND.format(command="lint"))
        ran = site.petal("lint")
        assert ran.returncode == 4
        assert "plugin `one` of petal-one 1.2 and plugin `two` of petal-two 1.2" in ran.stderr

    def test_two_packages_with_one_plugin_name(self, site: Site) -> None:
        """Two packages may share an entry point's name; what both bring is an error with both packages."""
        site.install("same", OPERATOR.format(name="shout", mark="1"), distribution="petal-one")
        site.install("same", OPERATOR.format(name="shout", mark="2"), distribution="petal-two")
        ran = site.petal("run", site.pipeline("Shout"))
        assert ran.returncode == 3
        assert "petal-one 1.2 and plugin `same` of petal-two 1.2" in ran.stderr


class TestSwitches:
    def test_environment(self, site: Site) -> None:
        """$PETAL_PLUGINS lets plugins take part or keeps them out; the command line overrides it."""
        site.install("one", OPERATOR.format(name="shout", mark="1"))
        off = site.petal("run", site.pipeline("Shout"), PETAL_PLUGINS="no:one")
        assert off.returncode == 3
        assert site.petal("run", site.pipeline("Shout"), "-p", "one", PETAL_PLUGINS="no:one").returncode == 0
        unknown = site.petal("run", "chain.yaml", PETAL_PLUGINS="nothing")
        assert unknown.returncode == 0
        assert "plugin `nothing` is to take part, but is not installed" in unknown.stderr

    def test_no_autoload(self, site: Site) -> None:
        """Without autoload a needed plugin is an error that says how to switch it on, and nothing else is imported."""
        site.install("shout", OPERATOR.format(name="shout", mark="1"))
        site.install("loud", "print('hello')")
        off = site.petal("run", site.pipeline("Shout"), PETAL_DISABLE_PLUGIN_AUTOLOAD="1")
        assert off.returncode == 3
        assert "`-p shout` switches it on" in off.stderr
        assert "hello" not in off.stderr
        on = site.petal("run", site.pipeline("Shout"), "-p", "shout", PETAL_DISABLE_PLUGIN_AUTOLOAD="1")
        assert on.returncode == 0


OBSERVER = """
    import time
    from pathlib import Path
    from petal import hookimpl
    @hookimpl
    def petal_event(event):
        {body}
"""


class TestObservers:
    @pytest.mark.parametrize(
        ("body", "warning"),
        [
            (
                "raise SystemExit('disk full')",
                "petal_event failed and is switched off: SystemExit: disk full",
            ),
            ("time.sleep(600)", "petal_event was still busy 2 s after the end of the run"),
            pytest.param(
                "while True: pass",
                "petal_event was still busy 2 s after the end of the run",
                marks=pytest.mark.slow,
            ),
            pytest.param(
                "time.sleep(0.9)",
                "petal_event was still busy 2 s after the end of the run and missed",
                marks=pytest.mark.slow,
            ),
        ],
        ids=["raises", "hangs", "spins", "slow"],
    )
    def test_cannot_break_or_stall_a_run(self, site: Site, body: str, warning: str) -> None:
        """Whatever an observer does, the run succeeds, ends, and says what the observer missed."""
        site.install("watch", OBSERVER.format(body=body))
        begin = time.monotonic()
        ran = site.petal("run", "chain.yaml", "-p", "watch")
        assert time.monotonic() - begin < 30
        assert (ran.returncode, ran.stdout) == (0, "ERROR one\n"), ran.stderr
        assert f"plugin `watch` of petal-watch 1.2: {warning}" in ran.stderr
        assert ran.stderr.count("plugin `watch`") == 1

    def test_what_one_prints_goes_to_stderr(self, site: Site) -> None:
        """stdout holds the run's data alone, what nodes print included; prints of observers go to stderr."""
        site.install(
            "watch", OBSERVER.format(body="print('told of ' + type(event).__name__ + chr(10), end='')")
        )
        (site.folder / "operators.py").write_text(
            "from petal import operator\n@operator\ndef mine(lines: list[str]) -> list[str]:\n"
            "    print('from a node')\n    return lines\n"
        )
        (site.folder / "x.yaml").write_text(USES.format(type="Mine", more="plugins: [./operators.py]"))
        ran = site.petal("run", "x.yaml", "-p", "watch")
        assert (ran.returncode, ran.stdout) == (0, "from a node\nERROR one\nfine\n"), ran.stderr
        assert ran.stderr.count("told of NodeFinished\n") == 3

    @pytest.mark.slow
    def test_a_good_one_is_told_everything(self, site: Site) -> None:
        """An observer that keeps up is told every event in order, also beside one that hangs."""
        body = "with Path('told.txt').open('a') as file: print(type(event).__name__, file=file)"
        site.install("good", OBSERVER.format(body=body))
        site.install("hangs", OBSERVER.format(body="time.sleep(600)"))
        assert site.petal("run", "chain.yaml", "-p", "good", "-p", "hangs").returncode == 0
        told = (site.folder / "told.txt").read_text().split()
        assert told[0] == "RunStarted"
        assert told[-1] == "RunFinished"
        assert told.count("NodeFinished") == 3

    @pytest.mark.parametrize("which", ["x.py", "x.py:pipeline"])
    def test_a_pipeline_with_a_session_of_its_own(self, site: Site, which: str) -> None:
        """-p and the plugins of the session that a Python file makes both take part, however the pipeline is named."""
        site.install("watch", OBSERVER.format(body="Path('told.txt').touch()"))
        (site.folder / "x.py").write_text(
            "from pathlib import Path\nfrom petal import Pipeline, Session, hookimpl, operator\n"
            "class Own:\n    @hookimpl\n    def petal_event(self, event):\n        Path('own.txt').touch()\n"
            "@operator\ndef one() -> int:\n    return 1\n"
            "session = Session()\nsession.register(Own)\npipeline = Pipeline.of(one, session=session)\n"
        )
        ran = site.petal("run", which, "-p", "watch")
        assert ran.returncode == 0, ran.stderr
        assert (site.folder / "told.txt").exists()
        assert (site.folder / "own.txt").exists()

    def test_is_not_told_unless_something_names_it(self, site: Site) -> None:
        """An installed observer that nothing names hears nothing."""
        site.install("watch", OBSERVER.format(body="Path('told.txt').touch()"))
        assert site.petal("run", "chain.yaml").returncode == 0
        assert not (site.folder / "told.txt").exists()


VALIDATOR = """
    import time
    from petal import Diagnostic, Severity, hookimpl
    @hookimpl
    def petal_validate(spec):
        {body}
"""


class TestValidators:
    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            ("raise SystemExit('no')", "SystemExit: no"),
            pytest.param("time.sleep(600)", "TooSlow: it took more than 1 s", marks=pytest.mark.slow),
            ("return ['oops']", "not a petal.Diagnostic"),
            ("return 'oops'", "not a list of findings"),
            ("yield Diagnostic('x', 'nonsense', 'm')", "Invalid enum value"),
        ],
    )
    def test_one_that_fails_is_a_warning(self, site: Site, body: str, reason: str) -> None:
        """A validator that raises, hangs or returns nonsense keeps no pipeline from running."""
        site.install("rules", VALIDATOR.format(body=body))
        ran = site.petal("run", "chain.yaml", "-p", "rules")
        assert (ran.returncode, ran.stdout) == (0, "ERROR one\n"), ran.stderr
        assert "plugin `rules` of petal-rules 1.2: petal_validate failed and is switched off" in ran.stderr
        assert reason in ran.stderr

    def test_its_findings_count(self, site: Site) -> None:
        """A validator's error, its severity written as text or not, keeps the pipeline from running."""
        for severity in ("Severity.ERROR", "'error'"):
            site.install(
                f"rules-{len(severity)}",
                VALIDATOR.format(body=f"return [Diagnostic('x-owner', {severity}, 'no owner')]"),
            )
            ran = site.petal("run", "chain.yaml", "-p", f"rules-{len(severity)}")
            assert ran.returncode == 3
            assert "error[x-owner]: no owner" in ran.stderr


COMMAND = """
    import click
    from petal import hookimpl
    @click.command("{command}", short_help="Count to a number.")
    @click.argument("number", type=int, default=3)
    def command(number):
        click.echo("plugin " + str(list(range(number))))
        return number
    @hookimpl
    def petal_commands():
        return [command]
"""


class TestCommands:
    def test_is_added(self, site: Site) -> None:
        """A plugin's command is listed in the help, takes arguments, writes to stdout and gives the exit code."""
        site.install("counting", COMMAND.format(command="tally"))
        assert "tally" in site.petal("--help").stdout
        assert "Count to a number" in site.petal("--help").stdout
        ran = site.petal("tally", "2")
        assert (ran.returncode, ran.stdout) == (2, "plugin [0, 1]\n"), ran.stderr
        assert "[NUMBER]" in site.petal("tally", "--help").stdout

    def test_never_replaces_one_of_petals(self, site: Site) -> None:
        """A plugin's command with the name of one of Petal's is never run."""
        site.install("plugins", COMMAND.format(command="plugins"))
        ran = site.petal("plugins")
        assert ran.returncode == 0
        assert "plugin [" not in ran.stdout
        assert site.petal("--help").stdout.count("\n  plugins ") == 1

    def test_its_failure_is_its_own(self, site: Site) -> None:
        """A plugin's command that raises is no bug of Petal, and what is no command is said to be none."""
        site.install("crash", COMMAND.format(command="crash").replace("return number", "1 / 0"))
        ran = site.petal("crash")
        assert ran.returncode == 1
        assert "ZeroDivisionError" in ran.stderr
        assert "it is no command of Petal's own but a plugin's" in ran.stderr
        assert "bug in Petal" not in ran.stderr
        site.install(
            "odd", "from petal import hookimpl\n@hookimpl\ndef petal_commands(): return {'odd': print}"
        )
        ran = site.petal("odd")
        assert ran.returncode == 4
        assert "which is no Click command" in ran.stderr

    @pytest.mark.slow
    def test_loading_prints_nothing_to_stdout(self, site: Site) -> None:
        """What other plugins print while the command is looked for goes to stderr."""
        site.install_broken()
        site.install("counting", COMMAND.format(command="tally"))
        ran = site.petal("tally", "1")
        assert ran.stdout == "plugin [0]\n"
