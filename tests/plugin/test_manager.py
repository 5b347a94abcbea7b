"""Plugins: registered, installed, broken, disabled; and hooks that fail by themselves (S10, F70, F71)."""

import functools
import importlib.metadata
import subprocess
import sys
import textwrap
import types

import pytest

from petal import hookimpl, operator, register_plugin
from petal.errors import DefinitionError, PetalError, UsageError
from petal.plugin.manager import PluginManager
from petal.plugin.markers import registered_in
from petal.plugin.observers import finish
from petal.plugin.registry import Scope
from petal.spec.diagnostic import Diagnostic, Severity
from petal.spec.event import Event
from petal.spec.pipeline import PipelineSpec

EVENT = Event("run", 0.0)


@operator
def upper(lines: list[str]) -> list[str]:
    return lines


class Named:
    def __init__(self, name):
        self.name = name


class Builtin:
    @hookimpl
    def petal_operators(self):
        return {"TextWrap": "textwrap:dedent"}

    @hookimpl
    def petal_backends(self):
        return [Named("local")]


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a fake distribution: its metadata and one module, first on sys.path; it hides those really installed."""
    monkeypatch.delenv("PETAL_DISABLE_PLUGIN_AUTOLOAD", raising=False)
    only_here = functools.partial(importlib.metadata.distributions, path=[str(tmp_path)])
    monkeypatch.setattr("importlib.metadata.distributions", only_here)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def make(
        name: str, code: str, *, version: str = "1.2", plugin: str | None = None, target: str = ""
    ) -> None:
        module = f"fake_{name.replace('-', '_')}"
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(code))
        info = tmp_path / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        point = plugin or name.removeprefix("petal-")
        (info / "entry_points.txt").write_text(f"[petal]\n{point} = {module}{target}\n")

    yield make
    for name in set(sys.modules) - before:
        if name.startswith("fake_"):
            del sys.modules[name]


def operator_code(name: str) -> str:
    return f"from petal import operator\n@operator\ndef {name}(x: int) -> int: return x\n"


def emit(manager: PluginManager, *events: Event) -> None:
    """Tell the observers of one run of events, and wait for them."""
    observers = manager.observers()
    for event in events:
        for observer in observers:
            observer.emit(event)
    finish(observers)


def states(manager: PluginManager) -> dict[str, str]:
    return {info.name: info.state for info in manager.plugins()}


class TestMarkers:
    def test_pluggys_markers_agree(self):
        """Petal's marker sets exactly what pluggy's own sets."""
        import pluggy

        ours = hookimpl(tryfirst=True, specname="petal_event")(lambda: None)
        theirs = pluggy.HookimplMarker("petal")(tryfirst=True, specname="petal_event")(lambda: None)
        assert ours.petal_impl == theirs.petal_impl

    def test_register_plugin_finds_own_classes_and_objects(self):
        """Marked classes defined in the module and marked objects are found; imported classes are not."""

        class Mine:
            @hookimpl
            def petal_event(self, event): ...

        class Theirs(Mine): ...

        module = types.ModuleType("m_x")
        Mine.__module__ = "m_x"
        module.Mine, module.Again, module.Theirs = register_plugin(Mine), Mine, register_plugin(Theirs)
        module.obj = register_plugin(Mine())
        assert registered_in(module) == [Mine, module.obj]

    def test_refuses_what_has_no_hook(self):
        """A mark that would do nothing is refused with the remedy."""
        with pytest.raises(DefinitionError, match=r"petal\.hookimpl"):
            register_plugin(type("Empty", (), {}))


class TestBuiltin:
    def test_needs_no_pluggy(self):
        """Built-in operators and backends are reached without importing pluggy or reading entry points."""
        code = """
            import sys
            from petal.plugin.manager import PluginManager
            from petal.plugin.markers import hookimpl
            from petal.plugin.registry import Scope
            class Builtin:
                @hookimpl
                def petal_operators(self): return {"Dedent": "textwrap:dedent"}
                @hookimpl
                def petal_backends(self): return []
            manager = PluginManager(Builtin())
            assert manager.scopes_for(Scope(), Scope()).find("dedent").origin == "built-in"
            assert manager.backends() == {} and manager.find
            print(sorted({"pluggy", "importlib.metadata"} & set(sys.modules)))
        """
        run = [sys.executable, "-c", textwrap.dedent(code)]
        assert subprocess.run(run, capture_output=True, text=True, check=True).stdout == "[]\n"

    def test_hooks(self):
        """The built-in plugin goes through the same hooks as any."""
        manager = PluginManager(Builtin())
        assert list(manager.backends()) == ["local"]
        assert manager.find("backend", "local").name == "local"
        assert manager.plugins()[0].brings == ["TextWrap", "petal_backends", "petal_operators"]


class TestRegister:
    def test_class_object_and_module(self):
        """A class is instantiated; what it brings is found after the pipeline's own and before the built-ins."""

        class Mine:
            @hookimpl
            def petal_operators(self):
                return [upper]

        manager = PluginManager(Builtin())
        manager.register(Mine)
        manager.register(Mine)
        assert manager.scopes_for(Scope(), Scope()).find("upper").origin == "Mine"
        with pytest.raises(UsageError, match="`Mine`"):
            manager.register(Named("x"), "Mine")

    @pytest.mark.parametrize(
        ("hook", "args", "says"),
        [("petal_evnt", "event", "did you mean `petal_event`"), ("petal_event", "evnt", "evnt")],
    )
    def test_refuses_a_wrong_hook(self, hook, args, says):
        """A hook that does not exist, or with other arguments, is refused when it is registered."""
        scope = {}
        exec(f"def {hook}(self, {args}): ...", scope)
        with pytest.raises(DefinitionError, match=says):
            PluginManager().register(type("Wrong", (), {hook: hookimpl(scope[hook])}))

    def test_module_of_a_pipeline(self):
        """A file's operators come back as its scope; its hooks are active; loading it anew replaces it."""
        heard = []
        manager = PluginManager()
        for n in (1, 2):
            module = types.ModuleType("own_x")

            def petal_event(event, n=n):
                heard.append(n)

            module.petal_event = hookimpl(petal_event)
            scope = manager.register_module(module, "./own.py", [upper])
            assert scope.names() == ["Upper"]
            emit(manager, EVENT)
        assert heard == [1, 2]
        assert manager.scopes_for(Scope(), Scope()).find("Upper") is None


class TestInstalled:
    def test_only_what_is_asked_is_loaded(self, install):
        """The plugin of the operator's name is asked first, and then no other is imported (S10.1)."""
        install("petal-alpha", "1/0")
        install("petal-regex-filter", operator_code("regex_filter"))
        manager = PluginManager()
        assert manager.installed()[:1] == ["alpha"]
        assert "fake_petal_regex_filter" not in sys.modules
        found = manager.scopes_for(Scope(), Scope()).find("RegexFilter")
        assert found.origin == "petal-regex-filter 1.2"
        assert manager.warnings == []

    def test_a_name_nobody_has(self, install):
        """An unknown operator is None, and what was loaded for it serves the did-you-mean."""
        install("petal-alpha", operator_code("tokenize"))
        scopes = PluginManager().scopes_for(Scope(), Scope())
        assert scopes.find("Tokenise") is None
        assert scopes.close_matches("Tokenise") == ["Tokenize"]

    @pytest.mark.parametrize(
        ("code", "reason"),
        [
            ("import nothing_zz", "ModuleNotFoundError: No module named 'nothing_zz'"),
            ("import sys; sys.exit(3)", "SystemExit: 3"),
            ("class Stop(BaseException): pass\nraise Stop('no')", "Stop: no"),
            ("from petal import hookimpl\n@hookimpl\ndef petal_operators(): return 3", "returned 3"),
            ("from petal import hookimpl\n@hookimpl\ndef petal_events(): ...", "no hook of Petal"),
            ("def (", "SyntaxError"),
        ],
    )
    def test_broken(self, install, code, reason):
        """A plugin that fails to load is named with its distribution and left out; the others work (F70)."""
        install("petal-bad", code)
        install("petal-good", operator_code("tokenize"))
        manager = PluginManager()
        assert manager.operator("Tokenize") is not None
        (warning,) = manager.warnings
        assert "plugin `bad` of petal-bad 1.2" in warning
        assert reason in warning
        assert states(manager) == {"bad": "broken", "good": "on"}
        assert manager.load("bad") is False
        assert reason in manager.info("bad").reason
        assert len(manager.warnings) == 1

    def test_interrupt_passes(self, install):
        """Ctrl-C while a plugin loads stops Petal, not the plugin."""
        install("petal-slow", "raise KeyboardInterrupt")
        with pytest.raises(KeyboardInterrupt):
            PluginManager().operator("X")

    def test_prints_go_to_stderr(self, install, capsys):
        """What a plugin prints while it loads does not mix with data (F70)."""
        install(
            "petal-loud",
            "print('hello')\nfrom petal import hookimpl\n@hookimpl\ndef petal_backends():\n print('again')\n return []",
        )
        manager = PluginManager()
        manager.load("loud")
        manager.backends()
        assert capsys.readouterr() == ("", "hello\nagain\n")

    def test_two_distributions_one_operator(self, install):
        """Two plugins with one operator name are an error naming both, which naming one resolves (F71)."""
        install("petal-a", operator_code("tokenize"))
        install("petal-b", operator_code("tokenize"), version="2.0")
        manager = PluginManager()
        with pytest.raises(PetalError, match=r"petal-a 1\.2 and plugin `b` of petal-b 2\.0") as caught:
            manager.operator("Tokenize")
        assert caught.value.code == "operator-clash"
        assert manager.load("b")
        chain = manager.scopes_for(Scope(), manager.operators_of("b"))
        assert chain.find("Tokenize").origin == "petal-b 2.0"

    def test_builtins_are_not_overridden(self, install):
        """An installed plugin does not take a built-in's name (F71)."""
        install("petal-a", operator_code("text_wrap"))
        manager = PluginManager(Builtin())
        assert manager.scopes_for(Scope(), Scope()).find("TextWrap").origin == "built-in"

    def test_autoload_off(self, install, monkeypatch):
        """With PETAL_DISABLE_PLUGIN_AUTOLOAD only a plugin that is named is loaded."""
        install("petal-a", operator_code("tokenize"))
        install("petal-b", operator_code("untokenize"))
        monkeypatch.setenv("PETAL_DISABLE_PLUGIN_AUTOLOAD", "1")
        manager = PluginManager()
        assert manager.operator("Tokenize") is None
        assert manager.load("a")
        assert manager.operator("Tokenize") is not None
        assert states(manager) == {"a": "on", "b": "off"}
        assert "fake_petal_b" not in sys.modules

    def test_disable(self, install):
        """A disabled plugin is not loaded, whatever names it; one that is loaded goes."""
        install("petal-a", operator_code("tokenize"))
        install("petal-b", operator_code("untokenize"))
        manager = PluginManager()
        manager.disable("a")
        assert manager.load("b")
        manager.disable("b")
        assert not manager.load("a")
        assert manager.operator("Tokenize") is None
        assert manager.operator("Untokenize") is None
        assert states(manager) == {"a": "off", "b": "off"}

    def test_class_and_operator_entry_points(self, install):
        """An entry point may name a class of hooks, or a single operator."""
        code = """
            from petal import hookimpl, operator
            @operator
            def tokenize(x: int) -> int: return x
            class Plugin:
                @hookimpl
                def petal_operators(self): return [tokenize]
        """
        install("petal-a", code, target=":Plugin")
        install("petal-b", operator_code("untokenize"), target=":untokenize")
        manager = PluginManager()
        assert manager.operator("Tokenize").origin == "petal-a 1.2"
        assert manager.operator("Untokenize").origin == "petal-b 1.2"

    @pytest.mark.usefixtures("install")
    def test_unknown(self):
        """A plugin that is not installed does not load."""
        assert not PluginManager().load("nothing")


class TestHooks:
    CODE = """
        from petal import hookimpl
        heard = []
        class B: name = "moon"
        @hookimpl
        def petal_backends(): return [B]
        @hookimpl
        def petal_resolvers(): return {"vault": len}
        @hookimpl
        def petal_event(event): heard.append(event)
    """

    def test_find_loads_for_a_name(self, install):
        """A backend that nobody has is looked for in installed plugins, which do not observe for that (S10.1)."""
        install("petal-moon", self.CODE)
        manager = PluginManager(Builtin())
        assert list(manager.backends()) == ["local"]
        assert manager.find("backend", "moon").name == "moon"
        assert manager.find("backend", "sun") is None
        assert manager.resolvers() == {"vault": len}
        emit(manager, EVENT)
        assert sys.modules["fake_petal_moon"].heard == []
        manager.load("moon")
        emit(manager, EVENT)
        assert sys.modules["fake_petal_moon"].heard == [EVENT]

    def test_two_backends_of_one_name(self, install):
        """Two plugins with one backend's name are an error when it is asked for."""
        install("petal-a", self.CODE)
        install("petal-b", self.CODE)
        with pytest.raises(PetalError, match=r"plugin `a` of petal-a 1\.2 and plugin `b`") as caught:
            PluginManager().find("backend", "moon")
        assert caught.value.code == "plugin-clash"

    def test_failing_observer(self):
        """An observer that raises is told no more, with one warning, and others go on."""
        heard = []

        def observer(name, fails):
            def petal_event(self, event):
                heard.append(name)
                if fails:
                    raise SystemExit("disk full")

            return type(name, (), {"petal_event": hookimpl(petal_event)})

        manager = PluginManager()
        manager.register(observer("Good", False))
        manager.register(observer("Bad", True))
        for _ in range(3):
            emit(manager, EVENT, EVENT)
        assert sorted(heard) == ["Bad"] + ["Good"] * 6
        (warning,) = manager.warnings
        assert "plugin `Bad`: petal_event failed and is switched off: SystemExit: disk full" in warning

    def test_validate(self):
        """Findings of all validators come together; one that fails is left out with a warning."""
        finding = Diagnostic("x-rule", Severity.ERROR, "no")

        class Good:
            @hookimpl
            def petal_validate(self, spec):
                assert spec == PipelineSpec()
                yield finding

        class Bad:
            @hookimpl
            def petal_validate(self):
                raise ValueError("oops")

        manager = PluginManager()
        manager.register(Good)
        manager.register(Bad)
        assert manager.validate(PipelineSpec()) == [finding]
        assert manager.validate(PipelineSpec()) == [finding]
        assert len(manager.warnings) == 1

    def test_wrappers_and_order(self):
        """`tryfirst`, `trylast` and wrappers work as pluggy's."""
        heard = []

        class Last:
            @hookimpl(trylast=True)
            def petal_event(self):
                heard.append("last")

        class First:
            @hookimpl(tryfirst=True)
            def petal_event(self):
                heard.append("first")

        class Around:
            @hookimpl(wrapper=True)
            def petal_event(self):
                heard.append("(")
                result = yield
                heard.append(")")
                return result

        manager = PluginManager()
        for plugin in (Around, Last, First):
            manager.register(plugin)
        for observer in (observers := manager.observers()):
            observer.emit(EVENT)
            finish([observer])
        assert len(observers) == 2
        assert heard == ["(", "first", ")", "(", "last", ")"]

    def test_commands_and_clashing_offers(self):
        """Commands come by name; a second of one name is left out with a warning."""

        def plugin(name):
            return type(name, (), {"petal_commands": staticmethod(hookimpl(lambda: [Named("lint")]))})

        manager = PluginManager()
        manager.register(plugin("One"))
        manager.register(plugin("Two"))
        assert [c.name for c in manager.commands()] == ["lint"]
        assert manager.adapters() == ()
        assert manager.codecs() == manager.stores() == {}
        assert len(manager.warnings) == 1
