"""Load a pipeline, from a file of any format or from Python, as a part that planning can resolve."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from petal.app.fetching import beside, fetched
from petal.app.session import Session, absolute, clash_findings, project_of
from petal.authoring.pipeline import Authored, author
from petal.code.loader import beneath, load_file, operators_in
from petal.config.decode import decode
from petal.config.places import Places
from petal.config.syntax import Document, format_of, parse
from petal.errors import Location, PetalError, UsageError
from petal.interfaces.source import Part, Source
from petal.planning.findings import did_you_mean, listing
from petal.plugin.registry import Operator, Scope, Scopes
from petal.spec.diagnostic import Diagnostic, Severity
from petal.spec.pipeline import PipelineSpec
from petal.spec.url import URL, is_url


class FileSource:
    """Places in a pipeline file."""

    def __init__(self, document: Document, spec: PipelineSpec) -> None:
        self.file: str | None = document.file
        self._document = document
        self._places = Places(document, spec)

    def locate(self, path: tuple[str | int, ...], *, key: bool = False) -> Location | None:
        """Find a value, or its key, in the text."""
        line, column = self._places.locate(path, key=key)
        return Location(self._document.file, line, column)


class PythonSource:
    """Places in Python: where each node's operator is defined."""

    def __init__(self, authored: Authored, file: str | None = None) -> None:
        self.file = file
        self._authored = authored

    def locate(self, path: tuple[str | int, ...], *, key: bool = False) -> Location | None:  # noqa: ARG002
        """Find the operator of the node that a path leads to."""
        if len(path) > 1 and path[0] == "nodes":
            return self._authored.place(int(path[1]))
        return Location(self.file) if self.file else None


class LoadedPart:
    """A pipeline with its names and places (see :class:`petal.interfaces.source.Part`)."""

    def __init__(
        self,
        spec: PipelineSpec,
        source: Source,
        names: Scopes,
        folder: str,
        *,
        root: str,
        findings: list[Diagnostic] | None = None,
        implied: frozenset[str] = frozenset(),
        blind: bool = False,
        folders: tuple[str, ...] = (),
    ) -> None:
        self.spec = spec
        self.source = source
        self.names = names
        self.folder = folder
        self.root = root
        self.findings = findings or []
        self.implied = implied
        self.blind = blind
        self.folders = folders


class PartHolder:
    """What a pipeline is made of: the base of ``Pipeline``, by which a Python file's pipelines are recognised."""

    part: LoadedPart


class OwnScope:
    """The operators that a pipeline written in Python is made of (a :class:`petal.plugin.registry.Lookup`)."""

    def __init__(self, operators: dict[str, Operator]) -> None:
        self._operators = operators

    def find(self, name: str) -> Operator | None:
        """Return the operator of that name."""
        return self._operators.get(name)

    def origin(self, name: str) -> str | None:
        """Return where an operator came from."""
        found = self._operators.get(name)
        return None if found is None else found.origin

    def names(self) -> list[str]:
        """Return all names."""
        return list(self._operators)


class Parts:
    """Loads parts for one session, each file once.

    Attributes:
        folders: Folders whose Python must be importable while the pipeline runs.
        made: The pipeline that the Python file which was loaded last made itself.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._loaded: dict[str, LoadedPart] = {}
        self.folders: list[str] = []
        self.made: PartHolder | None = None

    def module(self, path: str, parent: Part) -> Part:
        """Load a module's file (a :class:`petal.interfaces.source.PartLoader`)."""
        root = parent.root
        if is_url(parent.folder):
            return self._fetched(beside(parent.folder, root, path), root)
        if is_url(path):
            raise PetalError(
                f"module file `{path}` is not on this machine, where the pipeline is",
                hint="download it beside the pipeline; or put both there, and run the pipeline by its URL",
                code="outside-project",
            )
        full = Path(parent.folder, path)
        if Path(path).is_absolute() and beneath(full, root):
            raise absolute(f"module file `{path}`", full, parent.folder)
        if not beneath(full, root):
            raise PetalError(
                f"module file `{path}` does not lie beneath the project",
                hint=f"move it beneath {root}; paths are relative to the file that names them",
                code="outside-project",
            )
        shown = os.path.join(os.path.dirname(parent.source.file or ""), path)
        return self.file(os.path.normpath(shown) if parent.source.file else str(full), root=root, real=full)

    def file(self, shown: str, *, root: str | None = None, real: Path | None = None) -> LoadedPart:
        """Load a pipeline file; ``shown`` is how the user named it.

        Raises:
            PetalError: It does not exist, cannot be read, or has no known format.
        """
        if is_url(shown):
            return self._fetched(URL(shown), None)
        path = Path(real if real is not None else shown)
        key = os.path.realpath(path)
        if key not in self._loaded:
            folder = str(path.parent)
            root = root or project_of(folder)
            if path.suffix == ".py":
                part = self._python(path, shown, folder, root)
            else:
                part = self._document(path, shown, folder, root)
            self.folders += part.folders
            self._loaded[key] = part
        return self._loaded[key]

    def _fetched(self, url: URL, root: str | None) -> LoadedPart:
        """Load a file that a URL names; all that it names in turn lies beneath its folder."""
        if url.suffix == ".py":
            raise UsageError(
                f"`{url}` is Python, and code is never fetched",
                hint="download it, and run it from this machine; or write the pipeline as YAML, JSON or TOML",
                code="needs-code",
            )
        if str(url) not in self._loaded:
            folder = str(url.parent)
            self._loaded[str(url)] = self._document(url, str(url), folder, root or folder)
        return self._loaded[str(url)]

    def _document(self, path: Path | URL, shown: str, folder: str, root: str) -> LoadedPart:
        format = format_of(path.name)
        if format is None:
            if isinstance(path, Path) and os.path.isdir(path):
                raise UsageError(
                    f"`{shown}` is a folder", hint="name the pipeline file inside it", code="unknown-format"
                )
            if isinstance(path, Path) and not path.suffix and not os.path.exists(path):
                read_file(path, shown)  # it says what is there
            raise UsageError(
                f"`{shown}` is no pipeline file: its ending is not one of .yaml, .yml, .json, .toml, .py",
                hint="rename it by what it holds",
                code="unknown-format",
            )
        data = fetched(path, self._session) if isinstance(path, URL) else read_file(path, shown)
        document = parse(data, shown, format)
        spec, findings = decode(document)
        source = FileSource(document, spec)
        if not spec.name:
            spec = replace(spec, name=path.name.removesuffix(path.suffix))

        def report(i: int, code: str, message: str, hint: str | None) -> None:
            place = source.locate(("plugins", i))
            line, column = (place.line, place.column) if place else (0, 0)
            if not is_url(folder):
                written = str(Path(folder, spec.plugins[i]))
                message = message.replace(written, os.path.normpath(written))
            findings.append(Diagnostic(code, Severity.ERROR, message, shown, line, column, hint))

        named, folders = self._session.named_scope(spec.plugins, folder, root, report)
        findings += _clashes(named, spec, source)
        names = self._session.scopes(Scope(), named)
        blind = bool(spec.plugins) and not self._session.load_code
        return LoadedPart(
            spec, source, names, folder, root=root, findings=findings, blind=blind, folders=tuple(folders)
        )

    def _python(self, path: Path, shown: str, folder: str, root: str) -> LoadedPart:
        if not self._session.load_code:
            raise PetalError(
                f"`{shown}` is Python, which --no-code does not import",
                hint="leave --no-code out",
                code="needs-code",
            )
        module = load_file(path)
        made = {id(v): (n, v) for n, v in vars(module).items() if isinstance(v, PartHolder)}
        if len(made) > 1:
            names = [n for n, _ in made.values()]
            raise UsageError(
                f"`{shown}` holds {len(made)} pipelines: {listing(names)}",
                hint=f"say which: `{shown}:{names[0]}`",
                code="which-pipeline",
            )
        for _, pipeline in made.values():
            self.made = pipeline
            self.folders.append(folder)
            return pipeline.part
        authored = author(operators_in(module), path.stem)
        part = self.authored(authored, folder, root=root, file=shown, module=module)
        if not authored.operators:
            part.findings.append(
                Diagnostic(
                    "empty-pipeline",
                    Severity.ERROR,
                    "the file defines no operator and no pipeline",
                    shown,
                    hint="decorate a function with `@operator`, or make a `Pipeline`",
                )
            )
        return part

    def authored(
        self,
        authored: Authored,
        folder: str,
        *,
        root: str | None = None,
        file: str | None = None,
        module: Any = None,
    ) -> LoadedPart:
        """Make a part of a pipeline written in Python."""
        named = Scope()
        if module is not None:
            self._session.take(module, f"./{Path(file or folder).name}", named)
        names = self._session.scopes(OwnScope(authored.operators), named)
        return LoadedPart(
            authored.spec,
            PythonSource(authored, file),
            names,
            folder,
            root=root or folder,
            implied=authored.implied,
            folders=(folder,) if file else (),
        )


def _clashes(named: Scope, spec: PipelineSpec, source: FileSource) -> list[Diagnostic]:
    """Report clashing operators at the plugin that brought the second one."""
    brought = {f"./{Path(p).name}" if p.endswith(".py") else p: i for i, p in enumerate(spec.plugins)}
    placed = []
    for clash, finding in zip(named.clashes, clash_findings(named, source.file), strict=True):
        index = brought.get(clash.second)
        at = source.locate(("plugins", index) if index is not None else ("plugins",))
        placed.append(replace(finding, line=at.line, column=at.column) if at else finding)
    return placed


def read_file(path: Path, shown: str) -> bytes:
    """Return the bytes of a pipeline file, or say why there are none.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        others = [p.name for p in path.parent.iterdir()] if os.path.isdir(path.parent) else []
        raise UsageError(
            f"there is no file `{shown}`", hint=did_you_mean(path.name, others), code="no-such-file"
        ) from None
    except IsADirectoryError:
        raise UsageError(
            f"`{shown}` is a folder", hint="name the pipeline file inside it", code="no-such-file"
        ) from None
    except OSError as error:
        raise UsageError(f"cannot read `{shown}`: {error.strerror}", code="no-such-file") from None
