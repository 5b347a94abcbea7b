"""Tables of operators: names, clashes, lazy entries and the order of scopes (S2.5)."""

import sys
import types

import pytest

from petal import operator
from petal.errors import DefinitionError, EnvironmentNotReady
from petal.plugin.registry import Clash, Scope, Scopes, decorated_in


@operator
def regex_filter(lines: list[str], *, pattern: str) -> list[str]:
    return lines


@operator(name="grep-v")
def other(lines: list[str]) -> list[str]:
    return lines


@operator
class WordCount:
    def process(self, lines: list[str]) -> int:
        return len(lines)


def twin(name: str):
    def fn(x: int) -> int:
        return x

    fn.__name__ = fn.__qualname__ = name
    return fn


def scope_of(*targets, origin="./ops.py") -> Scope:
    scope = Scope()
    scope.add_all(list(targets), origin)
    return scope


class TestScope:
    def test_names(self):
        """A function is found by its CamelCase name and its own, a class by its own, a given name as it is."""
        scope = scope_of(regex_filter, WordCount, other)
        assert scope.names() == ["RegexFilter", "WordCount", "grep-v"]
        assert scope.find("RegexFilter") is scope.find("regex_filter")
        assert scope.find("RegexFilter").target is regex_filter
        assert scope.find("WordCount").origin == "./ops.py"
        assert scope.find("grep-v").spec.name == "grep-v"
        for absent in ("word_count", "other", "Other", "regexfilter", "Regex_Filter"):
            assert scope.find(absent) is None

    def test_clash(self):
        """A second object under one name is recorded with both origins, and the first holds; the same is fine."""
        scope = scope_of(regex_filter, regex_filter)
        assert scope.clashes == []
        scope.add(twin("regex_filter"), "./more.py")
        assert scope.clashes == [Clash("RegexFilter", "./ops.py", "./more.py")]
        assert scope.find("RegexFilter").target is regex_filter

    def test_lazy_text(self, monkeypatch):
        """A text is imported when its operator is found, not before."""
        scope = Scope()
        scope.add_all(
            {"RegexFilter": "lazy_ops_x:regex_filter", "Cut": "lazy_ops_x:Holder.inner"}, "built-in"
        )
        assert scope.names() == ["RegexFilter", "Cut"]
        assert scope.origin("regex_filter") == "built-in"
        module = types.ModuleType("lazy_ops_x")
        module.regex_filter = regex_filter
        module.Holder = type("Holder", (), {"inner": staticmethod(twin("inner"))})
        monkeypatch.setitem(sys.modules, "lazy_ops_x", module)
        assert scope.find("regex_filter").target is regex_filter
        assert scope.find("Cut").spec.name == "Cut"
        assert [o.spec.name for o in scope.all()] == ["RegexFilter", "Cut"]

    @pytest.mark.parametrize("text", ["no_such_module_x:f", "json:no_such"])
    def test_lazy_text_that_fails(self, text):
        """A text that cannot be imported is an error that names the operator, its origin and the text."""
        scope = Scope()
        scope.add(text, "petal-foo 1.2", "Foo")
        with pytest.raises(EnvironmentNotReady, match=r"`Foo` of petal-foo 1\.2") as caught:
            scope.find("Foo")
        assert caught.value.code == "operator-broken"

    def test_text_and_object_of_one_operator(self):
        """The text that names an object is the same operator as the object."""
        scope = scope_of(regex_filter)
        scope.add(f"{__name__}:regex_filter", "built-in", "RegexFilter")
        assert scope.clashes == []

    @pytest.mark.parametrize("target", [3, "no colon", None])
    def test_refuses(self, target):
        """What is no operator is refused."""
        with pytest.raises(DefinitionError, match="is not an operator"):
            scope_of(target)

    @pytest.mark.parametrize("found", [3, "text", None])
    def test_refuses_other_shapes(self, found):
        """What is neither a mapping nor a list is refused."""
        with pytest.raises(DefinitionError, match="petal_operators of x returned"):
            Scope().add_all(found, "x")

    def test_module(self):
        """A module in the list brings the operators that it or a module within it defines."""
        package = types.ModuleType("pack_x")
        package.regex_filter = regex_filter
        inner = twin("inner_one")
        inner.__module__ = "pack_x.inner"
        package.inner_one = operator(inner)
        assert decorated_in(package) == [inner]
        assert scope_of(package).names() == ["InnerOne"]

    def test_extend(self):
        """Merging keeps the first of two, and says so."""
        scope = scope_of(regex_filter)
        scope.extend(scope_of(twin("regex_filter"), WordCount, origin="./more.py"))
        assert scope.names() == ["RegexFilter", "WordCount"]
        assert len(scope.clashes) == 1


class TestScopes:
    def test_first_scope_wins(self):
        """The first scope that has a name gives its operator, and what it hides is told."""
        chain = Scopes([scope_of(regex_filter), Scope(), scope_of(twin("regex_filter"), origin="built-in")])
        assert chain.find("RegexFilter").target is regex_filter
        assert chain.shadowed("RegexFilter") == ["built-in"]
        assert chain.shadowed("Nothing") == []
        assert chain.find("Nothing") is None
        assert chain.clashes() == []

    def test_close_matches(self):
        """Misspelt names are matched over all scopes, in any spelling."""
        chain = Scopes([scope_of(regex_filter), scope_of(WordCount)])
        assert chain.names() == ["RegexFilter", "WordCount"]
        assert chain.close_matches("RegxFilter") == ["RegexFilter"]
        assert chain.close_matches("word_cuont") == ["WordCount"]
        assert chain.close_matches("zzz") == []
