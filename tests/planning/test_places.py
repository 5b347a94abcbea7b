"""Where nodes may run: backends, their settings and what they fail over to, checked before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from petal import Pipeline, Plan, Session
from petal.errors import DefinitionError, EnvironmentNotReady
from petal.planning.request import Request, placed
from petal.spec.policy import Execution
from petal.testing import FakeBackend
from tests.planning.wiring import write


def pipeline(folder: Path, execution: str, top: str = "", **environment: str) -> Pipeline:
    session = Session(environment=environment)
    for name in ("a", "b"):
        session.register(FakeBackend(name), name=name)
    text = f"plugins: [./ops.py]\n{top}nodes:\n  - {{ id: n, type: One, execution: {execution} }}\n"
    return Pipeline.from_file(write(folder, "p.yaml", text), session=session)


def execution_of(plan: Plan) -> Execution:
    policies = plan.nodes[0].policies
    assert policies is not None
    return policies.execution


def asked(made: Pipeline, **backends: str) -> Execution:
    plan, _ = made.checked(Request(backends=backends, environment=made.session.environment, folder="."))
    return execution_of(plan)


# -- mistakes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("execution", "code", "text", "hint"),
    [
        ("{ backend: a, failover: [{ backend: b, lable: x }] }", "unknown-key", "backend `b` (of `n`)", "`label`"),
        ("{ backend: a, failover: [{ backend: b, label: 5 }] }", "bad-value", "setting `label`", None),
        ("{ backend: a, failover: [local, a] }", "bad-policy", "that it had there before", "`retry`"),
        ("{ backend: a, failover: [b, { backend: b }] }", "bad-policy", "fails over to `b`", None),
        ("{ backend: a, failover: [{ backend: local, label: x }] }", "unknown-key", "backend `local`", None),
        ("{ backend: a, failover: [{ backend: process, command: x }] }", "unknown-key", "`process`", None),
        ("{ backend: a, failover: [nowhere] }", "unknown-backend", "no backend `nowhere`", "petal-nowhere"),
        ("{ backend: a, failover: [proces] }", "unknown-backend", "no backend `proces`", "`process`"),
        ("{ backend: a, failover: [ray] }", "not-yet", "`ray` (for `n`)", "petal-ray"),
        ("{ backend: a, failover: [{ backend: b, unsigned: true }] }", "bad-policy", "`unsigned`", None),
        ("{ backend: a, failover: [{ backend: process, protocol: json }] }", "wrong-protocol", "json", None),
        ("{ backend: a, label: '${params.nope}' }", "unknown-reference", "`nope`", None),
        ("{ backend: a, label: '${env:NOPE}' }", "unset-variable", "`NOPE`", None),
        ("{ backend: process, workers: '${env:MANY}' }", "bad-value", "setting `workers`", None),
    ],
)  # fmt: skip
def test_a_mistake_is_found_at_each_place(
    tmp_path: Path, execution: str, code: str, text: str, hint: str | None
) -> None:
    """Each place is checked as a backend is: its name, its settings, its protocol; the finding stands in its entry."""
    (finding,) = pipeline(tmp_path, execution, MANY="many").validate()
    assert (finding.code, finding.severity, finding.line) == (code, "error", 3)
    assert text in finding.message
    assert (hint or "") in (finding.hint or "")
    assert finding.column > 30


@pytest.mark.parametrize(
    ("name", "settings", "package"),
    [("docker", "image: x", "petal-docker"), ("aws_lambda", "function_name: f", "petal-lambda")],
)
def test_a_backend_that_is_not_installed_names_its_package(
    name: str, settings: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`docker` without `petal-docker` is a mistake that says what to install, as backend and in `failover`."""
    monkeypatch.setattr("petal.plugin.catalog.discover", list)
    found = pipeline(tmp_path, f"{{ backend: {name}, {settings}, failover: [local] }}").validate()
    found += pipeline(tmp_path, f"{{ backend: a, failover: [{{ backend: {name}, {settings} }}] }}").validate()
    assert [(f.code, f.message, f.hint) for f in found] == [
        (
            "unknown-backend",
            f"backend `{name}` (for `n`) is not installed",
            f"`pip install {package}` brings it",
        )
    ] * 2


def test_a_plugin_that_is_broken_is_one_finding_among_others(tmp_path: Path) -> None:
    """A backend that cannot be loaded is told with its place, and all other mistakes beside it."""
    made = pipeline(tmp_path, "{ backend: a, failover: [b], lable: x }")

    def broken(name: str) -> Any:
        if name == "b":
            raise EnvironmentNotReady("plugin `b` is broken", hint="reinstall it", code="broken-plugin")
        return made.session.backend(name)

    from petal.planning.build import make_plan

    planned = make_plan(made.part, made._parts.module, Request(backend=broken, folder="."))
    assert sorted(f.code for f in planned.findings) == ["broken-plugin", "unknown-key"]


def test_a_required_setting_that_is_missing_is_named(tmp_path: Path) -> None:
    """A place without what its backend needs says which setting, and how a block is written."""
    from msgspec import Struct

    class Needs(Struct, frozen=True, forbid_unknown_fields=True):
        image: str

    class Strict(FakeBackend):
        settings = Needs  # type: ignore[assignment]

    made = pipeline(tmp_path, "{ backend: a, failover: [strict] }")
    made.session.register(Strict("strict"), name="strict")
    (finding,) = made.validate()
    assert (finding.code, finding.message) == (
        "missing-key",
        "backend `strict` (of `n`) needs the setting `image`",
    )
    assert finding.hint == "write a block: {backend: strict, image: ...}"


def test_a_mistake_of_defaults_is_told_once(tmp_path: Path) -> None:
    """What `defaults` say of a place is no mistake of each node."""
    write(tmp_path, "x.yaml", "")
    text = "plugins: [./ops.py]\ndefaults: { execution: { backend: process, failover: [nowhere] } }\nnodes:\n"
    text += "".join(f"  - {{ id: n{i}, type: One }}\n" for i in range(3))
    (finding,) = Pipeline.from_file(write(tmp_path, "p.yaml", text)).validate()
    assert (finding.code, finding.message) == ("unknown-backend", "there is no backend `nowhere`")


def test_a_program_and_an_operator_stand_in_for_each_other_where_both_are_there(tmp_path: Path) -> None:
    """What speaks plain JSON may fail over to the operator of that name, if the pipeline has one."""
    program = "{ backend: a, command: [cat], failover: [local] }"
    assert pipeline(tmp_path, program).validate() == []
    text = f"nodes:\n  - {{ id: n, type: Unheard, execution: {program} }}\n"
    session = Session()
    session.register(FakeBackend("a"), name="a")
    found = Pipeline.from_file(write(tmp_path, "q.yaml", text), session=session).validate()
    assert [f.code for f in found] == ["unknown-operator", "wrong-protocol"]
    assert "would need an operator `Unheard`" in found[1].message
    both = program.replace("[local]", "[{ backend: a, command: [tac] }]")
    fine = text.replace(program, both)
    assert Pipeline.from_file(write(tmp_path, "q.yaml", fine), session=session).validate() == []


@pytest.mark.parametrize(
    "failover", [[{"image": "x"}], [5], [""], [{"backend": "b", "failover": ["c"]}], [{"backend": 5}]]
)
def test_what_is_no_place_is_refused_in_python(failover: list[Any]) -> None:
    """`@remote` and `node(policies=...)` say at once that an entry names no backend."""
    from petal import node, remote

    def n() -> int:
        return 1

    with pytest.raises(DefinitionError, match="no place to fail over to"):
        remote("a", failover=failover)(n)
    with pytest.raises(DefinitionError, match="no place to fail over to"):
        node(n, policies={"execution": {"backend": "a", "failover": failover}})


# -- references ---------------------------------------------------------------------------------------------------


def test_references_in_settings_are_resolved_by_the_annotation(tmp_path: Path) -> None:
    """S8.3: `${params.x}` and `${env:X}` stand in the settings of every place; text becomes what the setting is."""
    text = (
        "{ backend: process, workers: '${env:MANY}', "
        "failover: [{ backend: a, label: 'nlp:${params.tag}' }, { backend: b, label: '${secret:env/KEY}' }] }"
    )
    made = pipeline(tmp_path, text, "params: { tag: v1 }\n", MANY="3")
    found = execution_of(made.plan())
    assert found.settings == {"workers": 3}
    assert [place.settings["label"] for place in found.failover] == ["nlp:v1", "${secret:env/KEY}"]
    plan, _ = made.checked(Request(params={"tag": "v2"}, environment={"MANY": "3"}, folder="."))
    assert execution_of(plan).failover[0].settings == {"label": "nlp:v2"}
    assert made.to_yaml().count("${") == 3


def test_text_that_is_a_default_becomes_what_the_setting_is(tmp_path: Path) -> None:
    """A setting given as text is a number from planning on, whatever its default is and however its field is called."""
    from msgspec import Struct, field

    class Counted(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
        number: int = field(default=2, name="cpus")

    class Strict(FakeBackend):
        settings = Counted  # type: ignore[assignment]

    made = pipeline(tmp_path, "{ backend: strict, cpus: '${env:CPUS}' }", CPUS="2")
    made.session.register(Strict("strict"), name="strict")
    assert execution_of(made.plan()).settings == {"cpus": 2}
    assert asked(made, n="strict,cpus=3").settings == {"cpus": 3}


# -- placement by the caller ----------------------------------------------------------------------------------------

PLACES = Execution(
    "a",
    (Execution("docker", (), {"image": "x", "cpus": 1}, unsigned=True), Execution("local")),
    {"region": "r"},
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a", PLACES),
        ("a,region=s", Execution("a", PLACES.failover, {"region": "s"})),
        ("docker", Execution("docker", (Execution("local"),), {"image": "x", "cpus": 1}, unsigned=True)),
        (
            "docker,image=y,env=A=1",
            Execution(
                "docker", (Execution("local"),), {"image": "y", "cpus": 1, "env": "A=1"}, unsigned=True
            ),
        ),
        ("local", Execution()),
        ("process", Execution("process")),
        ("process,workers=2", Execution("process", (), {"workers": "2"})),
    ],
)
def test_who_runs_a_pipeline_begins_with_any_of_its_places(text: str, found: Execution) -> None:
    """`--backend NODE=NAME`: what the author wrote of that place holds, with what comes behind it; another has nothing."""
    assert placed(PLACES, text) == found


def test_settings_of_the_command_line_are_text_read_by_their_annotation(tmp_path: Path) -> None:
    """`--backend n=process,workers=2` gives a number; a place of the file keeps its own settings."""
    made = pipeline(tmp_path, "{ backend: a, failover: [{ backend: b, label: spare }] }")
    assert asked(made, n="process,workers=2") == Execution("process", (), {"workers": 2})
    assert asked(made, n="b") == Execution("b", (), {"label": "spare"})
    assert asked(made, n="b,label=mine") == Execution("b", (), {"label": "mine"})
    assert asked(made, **{"": "local"}) == Execution()
