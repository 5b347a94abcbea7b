"""`petal doctor`: what a pipeline's own session has is what is probed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_plugins import Site

BACKEND = """
from petal import hookimpl, operator
from petal.testing import FakeBackend

@operator
def one() -> int:
    return 1

class Brings:
    @hookimpl
    def petal_backends(self):
        return [FakeBackend(name="nearby")]

    @hookimpl
    def petal_validate(self, spec):
        from petal import Diagnostic, Severity
        return [Diagnostic("x-owner", Severity.ERROR, "no owner")] if spec.name != "mine" else []
"""
OF_YAML = """
from petal import register_plugin
register_plugin(Brings)
"""
OF_PYTHON = """
from petal import Pipeline, Session, node
session = Session()
session.register(Brings)
pipeline = Pipeline.of(node(one, id="one", policies={"execution": "nearby"}), session=session, name="mine")
"""
YAML = "name: mine\nplugins: [./operators.py]\nnodes: [{id: one, type: One, execution: nearby}]\n"


def facts(site: Site, *args: str) -> tuple[int, dict[str, dict[str, str]]]:
    """Run `petal doctor`, and return its exit code and what it says, by name."""
    ran = site.petal("doctor", "--json", *args)
    assert ran.stdout, ran.stderr
    return ran.returncode, {fact["name"]: fact for fact in json.loads(ran.stdout)}


@pytest.mark.parametrize("form", ["x.yaml", "x.py"])
def test_backends_and_plugins_of_the_pipeline_are_probed(tmp_path: Path, form: str) -> None:
    """A backend that the file's plugins or its own session bring is probed; a rule for pipelines is none for probes."""
    site = Site(tmp_path)
    (tmp_path / "operators.py").write_text(BACKEND + OF_YAML)
    (tmp_path / "x.yaml").write_text(YAML)
    (tmp_path / "x.py").write_text(BACKEND + OF_PYTHON)
    code, found = facts(site, form)
    assert found["backend nearby (as of one)"]["state"] == "ok", found
    assert found[f"plugin {'./operators.py' if form == 'x.yaml' else 'Brings'}"]["state"] == "ok"
    assert code == 0


def test_each_place_is_probed_once_and_programs_are_not(tmp_path: Path) -> None:
    """Nodes with the same settings share a probe; a program that speaks plain JSON gets none."""
    site = Site(tmp_path)
    (tmp_path / "operators.py").write_text(BACKEND + OF_YAML)
    nodes = [f"  - {{id: n{i}, type: One, execution: nearby}}" for i in range(3)]
    nodes += ["  - {id: far, type: One, execution: {backend: nearby, label: far}}"]
    nodes += ["  - {id: program, type: Any, execution: {backend: nearby, protocol: json, command: [cat]}}"]
    (tmp_path / "x.yaml").write_text("\n".join(["name: mine", "plugins: [./operators.py]", "nodes:", *nodes]))
    code, found = facts(site, "x.yaml")
    states = {name: fact["state"] for name, fact in found.items() if name.startswith("backend")}
    assert states == {
        "backend local": "ok",
        "backend nearby (as of n0)": "ok",
        "backend nearby (as of far)": "ok",
        "backend nearby (as of program)": "ok",
    }
    assert code == 0


def test_without_a_file_only_what_is_installed_is_probed(tmp_path: Path) -> None:
    """The backends of no pipeline are probed where none is named, and one that does not work gives exit code 4."""
    site = Site(tmp_path)
    code, found = facts(site)
    probed = {name for name, fact in found.items() if name.startswith("backend") and fact["state"] != "off"}
    assert probed == {"backend local", "backend process"}
    assert code == 0
    site.install(
        "dead",
        """
        from petal import hookimpl
        from petal.errors import EnvironmentNotReady
        from petal.testing import FakeBackend

        class Dead(FakeBackend):
            def open(self, settings, folder):
                raise EnvironmentNotReady("nobody answers")

        @hookimpl
        def petal_backends():
            return [Dead(name="dead")]
        """,
    )
    code, found = facts(site)
    assert code == 4
    assert found["backend dead"]["detail"] == "nobody answers"


def test_a_backend_that_needs_settings_is_not_probed_without_a_file(tmp_path: Path) -> None:
    """What only a node's block can say is no fault of this machine: the backend is listed, with what it needs."""
    site = Site(tmp_path)
    site.install(
        "picky",
        """
        from msgspec import Struct
        from petal import hookimpl
        from petal.testing import FakeBackend

        class Settings(Struct):
            image: str
            cpus: int = 1

        class Picky(FakeBackend):
            settings = Settings

        @hookimpl
        def petal_backends():
            return [Picky(name="picky")]
        """,
    )
    code, found = facts(site)
    assert code == 0
    assert found["backend picky"]["state"] == "off"
    assert found["backend picky"]["detail"].startswith("needs `image`: `petal doctor FILE`")


PROGRAMS = """
from petal import EnvironmentNotReady, hookimpl, register_plugin
from petal.testing import FakeBackend

missing = EnvironmentNotReady("there is no such function", hint="deploy it")

@register_plugin
class Brings:
    @hookimpl
    def petal_backends(self):
        return [FakeBackend(name="there"), FakeBackend(name="gone", refuses=missing)]
"""


def test_a_program_that_answers_no_probe_is_looked_for(tmp_path: Path) -> None:
    """Its backend is opened, which says what is missing, and closed; the program is not run."""
    site = Site(tmp_path)
    (tmp_path / "operators.py").write_text(PROGRAMS)
    nodes = "".join(
        f"  - {{id: {name}, type: Own, inputs: {{}}, execution: {{backend: {name}, protocol: json}}}}\n"
        for name in ("there", "gone")
    )
    (tmp_path / "x.yaml").write_text(f"plugins: [./operators.py]\nnodes:\n{nodes}")
    code, found = facts(site, "x.yaml")
    assert found["backend there (as of there)"]["state"] == "ok", found
    assert "answers no probe" in found["backend there (as of there)"]["detail"]
    gone = found["backend gone (as of gone)"]
    assert (gone["state"], gone["detail"]) == ("broken", "there is no such function (deploy it)")
    assert code == 4


def probed(found: dict[str, dict[str, str]]) -> list[str]:
    """Return the backends that were looked at, without the one that is always here."""
    return [name for name in found if name.startswith("backend") and name != "backend local"]


def test_one_backend_of_the_pipeline_is_probed_alone(tmp_path: Path) -> None:
    """`--backend` leaves the others out; one on which no node runs is a mistake, and so are settings beside the nodes'."""
    site = Site(tmp_path)
    (tmp_path / "operators.py").write_text(PROGRAMS)
    nodes = "".join(
        f"  - {{id: {name}, type: Own, inputs: {{}}, execution: {{backend: {name}, protocol: json}}}}\n"
        for name in ("there", "gone")
    )
    (tmp_path / "x.yaml").write_text(f"plugins: [./operators.py]\nnodes:\n{nodes}")
    code, found = facts(site, "x.yaml", "--backend", "there")
    assert (code, probed(found)) == (0, ["backend there (as of there)"])
    for wrong, says in {
        "process": "no node of the pipeline runs on `process`",
        "there,a=b": "settings are those",
    }.items():
        ran = site.petal("doctor", "x.yaml", "--backend", wrong)
        assert ran.returncode == 2
        assert says in ran.stderr


@pytest.mark.parametrize(
    ("backend", "code", "says"),
    [
        ("process,workers=1", 0, "Python "),
        ("process,workers=x", 4, "setting `workers`"),
        ("nonesuch", 4, "there is no backend `nonesuch`"),
    ],
)
def test_one_backend_is_probed_with_settings_of_its_own(
    tmp_path: Path, backend: str, code: int, says: str
) -> None:
    """Without a file they follow its name, as with `petal run --backend`."""
    exit_code, found = facts(Site(tmp_path), "--backend", backend)
    name = f"backend {backend.partition(',')[0]}"
    assert (exit_code, probed(found)) == (code, [name])
    assert says in found[name]["detail"]
