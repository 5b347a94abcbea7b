"""A session: the plugins and settings that pipelines are loaded with. There is no global one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from petal.app.builtin import BuiltIn
from petal.code.loader import beneath, load_file, load_module, operators_in, project_root
from petal.errors import EnvironmentNotReady, PetalError
from petal.interfaces.backend import Backend, BackendSession
from petal.plugin.manager import PluginManager
from petal.plugin.registry import Lookup, Scope, Scopes
from petal.spec.diagnostic import Diagnostic, Severity
from petal.spec.url import is_url

if TYPE_CHECKING:
    from petal.app.opening import Opener
    from petal.data.filesystems import Opener as FileSystemOpener
    from petal.data.shared_cache import SharedCache
    from petal.data.signing import Keyring


#: The store where outputs are cached for other machines too, whatever the pipeline's file says.
CACHE_VARIABLE = "PETAL_CACHE"


class Session:
    """Holds what pipelines share: the plugin manager, loaded Python files, whether to load any.

    Args:
        plugins: Installed plugins to take part, by name (``-p NAME``); ``no:NAME`` keeps one out.
        load_code: Whether the Python files of pipelines are imported; without, their operators are unknown (S7.3).
        environment: What ``${env:…}`` is looked up in; by default the process's environment.
    """

    def __init__(
        self,
        *,
        plugins: Iterable[str] = (),
        load_code: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.environment: Mapping[str, str] = os.environ if environment is None else environment
        self.load_code = load_code
        self.plugins = PluginManager(BuiltIn())
        self._logged = 0
        self._asked = tuple(plugins)
        wanted = (*self.environment.get("PETAL_PLUGINS", "").split(","), *self._asked)
        self._take_part(name.strip() for name in wanted)

    def _take_part(self, names: Iterable[str]) -> None:
        """Load plugins by name, and leave out those marked ``no:``; of two mentions of one the later holds."""
        wanted = {name.removeprefix("no:"): not name.startswith("no:") for name in names if name}
        for name, is_on in wanted.items():
            if not is_on:
                self.plugins.disable(name)
        for name, is_on in wanted.items():
            if is_on and not self.plugins.load(name) and name not in self.plugins.installed():
                self.plugins.warn(f"plugin `{name}` is to take part, but is not installed")

    def join(self, other: Session) -> None:
        """Let the plugins that another session was asked for, and those registered with it, take part in this one."""
        self._take_part(other._asked)
        self.plugins.share(other.plugins)

    def log_warnings(self) -> None:
        """Write to the standard library's log what plugins were left out, each once, where no command line shows it."""
        new, self._logged = self.plugins.warnings[self._logged :], len(self.plugins.warnings)
        if new:
            from petal.metadata.logs import log_warning

            for text in new:
                log_warning(text)

    def register(self, plugin: object, name: str | None = None) -> None:
        """Add a plugin: a module, class or instance of hook implementations."""
        self.plugins.register(plugin, name)

    def backend(self, name: str) -> Backend | None:
        """Return a backend by its name, loading plugins to find it; None for ``local``, which is the engine's own."""
        found: Backend | None = None if name == "local" else self.plugins.find("backend", name)
        return found

    @property
    def is_sealed(self) -> bool:
        """Whether ``$PETAL_KEYRING`` names a keyring."""
        return bool(os.environ.get("PETAL_KEYRING"))

    def keyring(self) -> Keyring | None:
        """Return the keys that messages to backends are sealed with, None where ``$PETAL_KEYRING`` names none.

        Raises:
            EnvironmentNotReady: They cannot be read.
        """
        if "PETAL_KEYRING" not in os.environ:  # the usual case, which imports nothing
            return None
        from petal.data.sealed import keyring

        return keyring(self._resolve)

    def _resolve(self, reference: str) -> str:
        scheme, _, name = reference.partition("/")
        found = self.resolve(scheme, name)
        if found is None:
            raise EnvironmentNotReady(
                f"no plugin resolves `{reference}`", hint="install the plugin that brings this resolver"
            )
        return found

    def resolve(self, scheme: str, name: str) -> str | None:
        """Return what a plugin resolves a reference to, None where none has the scheme."""
        resolver = self.plugins.find("resolver", scheme)
        return None if resolver is None else str(resolver(name))

    def filesystem(self, scheme: str) -> FileSystemOpener | None:
        """Return what opens URLs of a scheme, loading plugins to find it; None where none brings it."""
        found: FileSystemOpener | None = self.plugins.find("filesystem", scheme)
        return found

    def shared_cache(self, url: str | None, warn: Callable[[str], None]) -> SharedCache | None:
        """Return the cache that other machines use as well, None where there is none; nothing is contacted yet.

        Args:
            url: What the pipeline's file names (``cache_io``). ``$PETAL_CACHE`` wins, and says ``off`` for none.
            warn: Told when it cannot be used, and of what is not signed as it must be.

        Raises:
            UsageError: It is no URL of a store.
            EnvironmentNotReady: No plugin brings such stores.
        """
        found = self.environment.get(CACHE_VARIABLE, "").strip() or url
        if not found or found == "off":
            return None
        from petal.data.shared_cache import SharedCache
        from petal.data.stores import opener_of

        open_store = opener_of(found, self.plugins)
        return SharedCache(found, lambda: open_store(found), self.keyring, warn)

    def has_codecs(self) -> bool:
        """Whether plugins that something names bring codecs."""
        return bool(self.plugins.named("codec"))

    def opener(self) -> Opener:
        """Return what opens backends for one run."""
        from petal.app.opening import Opener

        return Opener(self)

    def open_backend(self, name: str, settings: Mapping[str, Any], folder: str | None) -> BackendSession:
        """Open a backend for one run.

        Raises:
            EnvironmentNotReady: There is none of that name, or it cannot be reached.
        """
        import msgspec

        from petal.data.stores import storing
        from petal.running.secrets import reveal
        from petal.spec.redaction import redact

        backend = self.backend(name)
        if backend is None:
            raise EnvironmentNotReady(
                f"there is no backend `{name}`", hint="`petal plugins` lists what is installed"
            )
        try:
            made = msgspec.convert(reveal(dict(settings)), backend.settings)
            with storing(self.plugins):
                return backend.open(made, folder)
        except PetalError as error:  # who catches it may show it without Petal
            error.message, error.hint = redact(error.message), redact(error.hint) if error.hint else None
            raise
        except Exception as error:  # what a plugin raises is not known, nor whether a secret is a good value
            raise EnvironmentNotReady(
                redact(f"backend `{name}` cannot be opened: {type(error).__name__}: {error}"),
                hint="`petal doctor` tries every backend; its plugin should say what is missing",
            ) from error

    def scopes(self, own: Lookup, named: Scope) -> Scopes:
        """Chain the scopes in which a pipeline's operator names are looked up (S2.5)."""
        return self.plugins.scopes_for(own, named)

    def named_scope(
        self, plugins: tuple[str, ...], folder: str, root: str, report: Any
    ) -> tuple[Scope, list[str]]:
        """Load what a pipeline's ``plugins:`` names.

        Args:
            plugins: The entries, as written.
            folder: The folder of the file that says so.
            root: The project's root: Python files lie beneath it.
            report: Called with position, code, message and hint of each that cannot be loaded.

        Returns:
            The operators found, and the Python folders that must be importable when they run.
        """
        scope = Scope()
        folders: list[str] = []
        for i, entry in enumerate(plugins):
            try:
                folders += self._load_entry(entry, folder, root, scope)
            except PetalError as error:
                report(i, error.code, _one_line(error), error.hint)
        return scope, folders

    def _load_entry(self, entry: str, folder: str, root: str, scope: Scope) -> list[str]:
        if entry.endswith(".py") or entry.startswith((".", "/")) or os.sep in entry:
            if is_url(folder) or is_url(entry):
                raise PetalError(
                    f"plugin file `{entry}` would have to be fetched, and code never is",
                    hint="install it as a package where the pipeline is run, and name that; or run the pipeline from a "
                    "folder of that machine",
                    code="needs-code",
                )
            path = Path(folder, entry)
            if Path(entry).is_absolute() and beneath(path, root):
                raise absolute(f"plugin file `{entry}`", path, folder)
            if not beneath(path, root):
                raise PetalError(
                    f"plugin file `{entry}` does not lie beneath the project",
                    hint=f"move it beneath {root}, or install it as a package",
                    code="outside-project",
                )
            if self.load_code:
                self.take(load_file(path), f"./{path.name}", scope)
            return [str(path.parent)]
        if entry in self.plugins.installed():
            if not self.plugins.load(entry):
                info = next((p for p in self.plugins.plugins() if p.name == entry), None)
                raise PetalError(
                    f"plugin `{entry}` is {info.state if info else 'broken'}: {info.reason if info else ''}".rstrip(
                        ": "
                    ),
                    hint="`petal plugins` shows every plugin and its state",
                    code="broken-plugin",
                )
            scope.extend(self.plugins.operators_of(entry))
            return []
        if self.load_code:
            self.take(_imported(entry, folder), entry, scope)
        return []

    def take(self, module: Any, origin: str, scope: Scope) -> None:
        """Register a module: its hook implementations with the manager, its operators in a scope."""
        scope.extend(self.plugins.register_module(module, origin, operators_in(module)))


def _imported(name: str, folder: str) -> ModuleType:
    """Import a module by its dotted name; where there is none but a file of that path, say how to name the file."""
    try:
        return load_module(name)
    except PetalError as error:
        file = f"./{name.replace('.', '/')}.py"
        if error.code == "python-missing" and os.path.isfile(os.path.join(folder, file)):
            error.hint = f"name the file: `{file}`"
        raise


def absolute(what: str, path: Path, folder: str) -> PetalError:
    """Return the error of an absolute path to a file that lies beneath the project."""
    relative = os.path.relpath(path.resolve(), Path(folder).resolve())
    written = relative if relative.startswith(os.pardir) else f"./{relative}"
    return PetalError(
        f"{what} is an absolute path, which holds on this machine alone",
        hint=f"write it relative to the file: `{written}`",
        code="outside-project",
    )


def _one_line(error: PetalError) -> str:
    place = f"{error.location}: " if error.location is not None else ""
    return f"{place}{error.message}"


def project_of(folder: str) -> str:
    """Return the root of the project that a folder belongs to (S7.3)."""
    return str(project_root(Path(folder)))


def clash_findings(scope: Scope, file: str | None) -> list[Diagnostic]:
    """Report every name that two operators of one scope share (S2.5)."""
    return [
        Diagnostic(
            "operator-clash",
            Severity.ERROR,
            f"two operators are called `{name}`: one from {first}, one from {second}",
            file,
            hint="rename one: @operator(name=...)",
        )
        for name, first, second in scope.clashes
    ]
