"""Every code a finding can have, with what it means and what to do: the source of the reference's table."""

from __future__ import annotations

from typing import Final

from petal.spec.code import Code
from petal.spec.code import error as _error
from petal.spec.diagnostic import Severity
from petal.spec.running_codes import RUNNING

#: The text of a file (``config/syntax.py``).
_TEXT: Final = {
    "syntax": _error(
        "The file is not well-formed YAML, JSON or TOML.",
        "Nothing after the marked place can be understood.",
        "Correct the marked line; the cause is often the line above it.",
    ),
    "encoding": _error(
        "The file is not UTF-8 text.",
        "Pipeline files are UTF-8 in every format, so that they mean the same on every machine.",
        "Save the file as UTF-8.",
    ),
    "too-large": _error(
        "The file, a value in it, or what its aliases expand to, is larger or deeper than a pipeline needs.",
        "The limits keep a hostile or generated file from using up memory.",
        "Split the pipeline into modules, and keep data in data files.",
    ),
    "duplicate-key": _error(
        "A key is written twice in one mapping.",
        "Only one of the two values could hold, and most parsers drop the other one silently.",
        "Remove or rename one of the two; the message names both places.",
    ),
    "unsafe-tag": _error(
        "The file uses a YAML tag that is not allowed.",
        "Tags can make a loader build arbitrary objects; a pipeline file holds plain data only.",
        "Remove the tag and write the value as text, number, list or mapping.",
    ),
    "bad-key": _error(
        "The key of a mapping is not text.",
        "Keys are names, and JSON and TOML can write no other kind.",
        "Put the key in quotes.",
    ),
}

#: The shape of a pipeline (``config/decode.py``).
_SHAPE: Final = {
    "empty-pipeline": _error(
        "The pipeline has neither nodes nor modules.",
        "There is nothing that could run.",
        "Add a node under `nodes`, or a module under `modules`.",
    ),
    "unknown-key": _error(
        "A key is not one that Petal knows at this place.",
        "It would have no effect, and is most often a misspelling of one that has.",
        "Correct it to the key that the hint names, or remove it.",
    ),
    "wrong-type": _error(
        "A value is of another kind than its key takes.",
        "A list where a mapping is wanted, or text where a number is wanted, could only be guessed at.",
        "Write the kind of value that the message names.",
    ),
    "missing-key": _error(
        "A key that must be there is not.",
        "A node needs `id` and `type`, a module `id` and `path`, an execution block `backend`.",
        "Add the key.",
    ),
    "bad-value": _error(
        "A value is of the right kind but cannot be used.",
        "It is empty, does not have the declared type, fails a check of the operator, or holds a reference where none can stand.",
        "Write what the hint says.",
    ),
    "bad-id": _error(
        "An id or a name does not look like one.",
        "Ids are part of paths and of addresses such as `node.port`, so not every text fits.",
        "Rename it, and what refers to it.",
    ),
    "duplicate-id": _error(
        "Two nodes or modules have the same id.",
        "Nodes and modules share one set of names, so an edge could not say which of the two it means.",
        "Rename one of the two; the message names the first place.",
    ),
    "duplicate-name": _error(
        "A pipeline input or output is listed twice.",
        "Only one of the two could hold.",
        "Remove or rename one of the two; the message names the first place.",
    ),
    "bad-reference": _error(
        "A text that should name a node, a port or a module's output does not look like such a name.",
        "A node is named by its id, a port as `node.port`, and a module's output as `module.output`.",
        "Correct the name.",
    ),
    "bad-edge": _error(
        "An edge does not have two ends.",
        "An edge leads from one output to one input: `[from, to]` or `{from: ..., to: ...}`.",
        "Write both ends, and one edge per pair.",
    ),
    "duplicate-edge": _error(
        "The same edge is written twice.",
        "The second one adds nothing, or feeds an input a second time.",
        "Remove one of the two; the message names the first place.",
    ),
    "bad-policy": _error(
        "A policy has a value that cannot work.",
        "Attempts, sizes and durations are positive, and a policy is read before references are resolved.",
        "Write what the hint says.",
    ),
}

#: What the names of a pipeline mean, and how its nodes are tied together (``planning/``).
_WIRING: Final = {
    "cannot-cross": _error(
        "A node is to run in another process, and something of it cannot go there.",
        "A worker imports what it runs by its name, and reads values back by the types that annotations declare.",
        "Move the function to the top level of a file, or annotate what it takes and gives; or run the node here.",
    ),
    "uncacheable": _error(
        "A node is to be cached, but nothing would tell when its output is out of date.",
        "A sink must always run; a source may read what it does not name; code that holds a live object can change unseen.",
        "Do what the hint says: say what the node reads, give `version` or `ttl`, or remove `cache`.",
    ),
    "cannot-cache": _error(
        "A node is to be cached, and its output or what goes into it cannot be written as bytes.",
        "Values are written and read back by the types that annotations declare, never by pickle.",
        "Annotate it with a type that can be read back, such as a dataclass, TypedDict or frame; or remove `cache`.",
    ),
    "missing-file": Code(
        Severity.WARNING,
        "A node's cached output depends on a file that is not there.",
        "The path is misspelt, or relative to another folder: then an edit of the file that is meant goes unnoticed.",
        "Correct the path under `depends_on`, which is relative to the file that says it; or make the file.",
    ),
    "bad-batch": _error(
        "A node is to run in batches, but its work cannot be cut into calls whose rows are put together again.",
        "A sink, an operator that gives one value, or one that looks at all rows together would give another result.",
        "Put `batch` on a node that takes one stream and gives rows; name the stream with `over` where there are several.",
    ),
    "retries-once": Code(
        Severity.WARNING,
        "A node is tried again when it fails, and a second execution of it may do harm.",
        "It is declared `effects: once`, or returns nothing and does not say, and an attempt that failed may have done part of it.",
        "Write `effects: idempotent` or `pure` if a second execution does no harm, or `retry: false`.",
    ),
    "unknown-exception": Code(
        Severity.WARNING,
        "A name under `retry_on` or `abort_on` is neither an error kind nor a class of exception that is loaded here.",
        "No failure may ever have that name, and what was to be tried again would not be.",
        "Correct the name: a class is named without its module. It may stay if the operator imports it only when it runs.",
    ),
    "unknown-operator": _error(
        "No operator has the name that a node gives as its `type`.",
        "The name is looked up among the operators of the pipeline, of its `plugins`, of Petal and of installed plugins.",
        "Correct the name, or name the Python file or package that brings the operator under `plugins`.",
    ),
    "not-yet": _error(
        "The pipeline asks for something that this version of Petal cannot do.",
        "Ignoring it would promise a retry, a cache or a backend that is not there.",
        "Remove it, or use the version that the hint names.",
    ),
    "unknown-node": _error(
        "A name stands for no node and no module of this pipeline.",
        "Edges, `inputs`, `after`, `outputs`, targets and overrides name the nodes of the same file by their ids.",
        "Correct the id, or add the node.",
    ),
    "unknown-input": _error(
        "A node, module or pipeline has no input of that name.",
        "Inputs are the positional parameters of a function, and the names under `inputs` of a module's file.",
        "Use one of the names in the hint; what is a parameter belongs under `params`.",
    ),
    "unknown-port": _error(
        "A node or module has no output of that name.",
        "`node.port` needs an operator with several outputs, `module.output` an entry under `outputs` of its file.",
        "Use one of the names in the hint, or declare the output in the module's file.",
    ),
    "no-output": _error(
        "A node that returns nothing is used as the source of data.",
        "A sink ends its branch: nothing could flow along such an edge.",
        "For order alone write `after: [sink]` at the other node.",
    ),
    "unbound-input": _error(
        "Nothing feeds an input that has no default.",
        "Each input takes an entry under `inputs`, an edge, a node or pipeline input of its name, or its default.",
        "Bind it in one of these ways, or declare it as an input of the pipeline: `inputs: [name]`.",
    ),
    "bound-twice": _error(
        "Two things feed one input.",
        "Only one of them could be passed to the operator.",
        "Remove one, or join the streams with a ListMerger node.",
    ),
    "surplus-edge": _error(
        "An edge leads to a node or module that has no input left for it.",
        "Edges without a port fill the inputs in the order of the operator's signature.",
        "Remove the edge, name its port (`node.input`), or join the streams with a ListMerger node.",
    ),
    "cycle": _error(
        "Nodes wait for each other in a circle, which the message shows.",
        "Data flows one way: none of these nodes could ever start.",
        "Remove one of the edges that are shown.",
    ),
    "type-mismatch": _error(
        "What one end of an edge gives is certainly not what the other end takes.",
        "Element types are compared after the views are adapted; one value is never taken apart into rows.",
        "Put a node between the two that converts, or correct an annotation.",
    ),
    "kept-in-memory": Code(
        Severity.WARNING,
        "Rows of a stream may have to wait for a consumer, and cannot wait on disk.",
        "Branches of a stream that meet again wait for one another; what no codec takes exactly stays in memory "
        "meanwhile, however much it is.",
        "Let the operator give dicts, tuples or a declared record (dataclass, msgspec Struct, NamedTuple, TypedDict).",
    ),
    "duplicate-target": _error(
        "Two sinks of one run write the same file.",
        "The one that ends last would replace what the other wrote.",
        "Give each a file of its own, or merge the streams before one sink.",
    ),
    "implied-input": Code(
        Severity.WARNING,
        "An input of a pipeline written in Python is fed by no node, so it becomes an input of the pipeline.",
        "That is often meant, and sometimes a misspelt name.",
        "Give it with `run(inputs=...)` or `--input`, or correct the name to that of a node.",
    ),
    "missing-input": _error(
        "A pipeline is to run, but an input that must be given has no value.",
        "The input has no default, so a node would be called without it.",
        "Give it: `--input name=value`, or `run(inputs={...})`.",
    ),
}

#: The values of parameters, and how nodes are run (``planning/``).
_VALUES: Final = {
    "missing-param": _error(
        "A parameter without a default is not given.",
        "The operator could not be called without it.",
        "Write it under `params` of the node.",
    ),
    "unknown-param": _error(
        "An operator, module or pipeline has no parameter of that name.",
        "It would have no effect, and is most often a misspelling of one that has.",
        "Correct the name, or remove it; `petal describe OPERATOR` lists all.",
    ),
    "unknown-reference": _error(
        "A `${...}` reference means nothing.",
        "References are `${params.NAME}` to a parameter of the same file, `${env:NAME}` and `${secret:env/NAME}`.",
        "Correct it, or add the parameter under `params`; text that is meant as it stands is written `$${`.",
    ),
    "unset-variable": _error(
        "An environment variable that a reference names is not set.",
        "An empty value would only fail later, and less clearly.",
        "Set the variable before the run, or write the value.",
    ),
    "unknown-backend": _error(
        "No backend has that name.",
        "Petal and its plugins bring backends by name; the node could not be run anywhere.",
        "Correct the name, or install the plugin that brings the backend.",
    ),
    "unknown-scheme": _error(
        "No plugin opens URLs of that scheme.",
        "What a URL names is read and written by the plugin that brings its scheme, such as petal-aws for `s3://`.",
        "Install that plugin; or correct the URL. A file of this machine is named by its path alone.",
    ),
    "wrong-protocol": _error(
        "A node asks for a protocol that its backend does not speak.",
        "`petal` needs Petal where the node runs; `json` needs a backend that starts or calls programs of any kind.",
        "Leave `protocol` out, or name a backend that speaks it.",
    ),
    "needs-unsigned": _error(
        "A node speaks plain JSON, and there is a keyring (`$PETAL_KEYRING`).",
        "A program that knows nothing of Petal can verify no signature and make none; that must not happen unsaid.",
        "Write `unsigned: true` on the node's `execution` block, or let a worker of Petal do it (`protocol: petal`).",
    ),
    "unresolved-annotation": Code(
        Severity.WARNING,
        "An annotation of an operator cannot be resolved and counts as absent.",
        "Its values are not checked; the usual cause is a name that is imported under `TYPE_CHECKING` only.",
        "Import the name at run time.",
    ),
}

#: Files that a pipeline names, and the Python in them (``app/``, ``code/``, ``plugin/``).
_FILES: Final = {
    "no-such-file": _error(
        "A pipeline file is not there, or cannot be read.",
        "A module's path is relative to the file that names it.",
        "Correct the path.",
    ),
    "unknown-format": _error(
        "A file's ending is not one of those of pipeline files.",
        "The ending says which language the file is in: .yaml, .yml, .json, .toml or .py.",
        "Rename the file by what it holds.",
    ),
    "outside-project": _error(
        "A module or plugin file does not lie beneath the project.",
        "A pipeline may load files of its own project only: what is beneath the nearest `pyproject.toml`, else its folder.",
        "Move the file, or install it as a package.",
    ),
    "module-recursion": _error(
        "A module contains itself, directly or through others; the message shows the files.",
        "It could be opened without end.",
        "Move what both need into a file of its own.",
    ),
    "python-missing": _error(
        "A Python file, module or plugin that the pipeline names is not there.",
        "Its operators would be unknown.",
        "Correct the path or name, or install the package.",
    ),
    "python-unreadable": _error(
        "A Python file cannot be read.",
        "The permissions of the file or of a folder above it do not allow it.",
        "Change the permissions.",
    ),
    "python-syntax": _error(
        "A Python file has a syntax error.",
        "Python cannot read the file, so its operators are unknown.",
        "Correct the line that the message names.",
    ),
    "python-import": _error(
        "A Python file raised an exception while it was imported.",
        "Files that a pipeline names are imported to find their operators.",
        "Correct the line that the message names; code that does things belongs inside functions.",
    ),
    "needs-code": _error(
        "The pipeline is or names a Python file, and that may not be imported.",
        "`--no-code` imports nothing; and of a pipeline that is fetched by its URL text alone is fetched, never code.",
        "Leave `--no-code` out, if you trust the file. Install the code of a fetched pipeline as a package, or download both.",
    ),
    "which-pipeline": _error(
        "A Python file holds several pipelines.",
        "Petal would have to guess which one is meant.",
        "Name it: `file.py:name`.",
    ),
    "operator-clash": _error(
        "Two operators of one scope have the same name.",
        "Which of the two a node means would depend on who came first.",
        "Rename one with `@operator(name=...)`, or name the plugin that is meant.",
    ),
    "stdin-twice": _error(
        "Two nodes read stdin.",
        "Each would get a part of it, by chance.",
        "Read it with one node, and let both take it from there.",
    ),
    "shadowed-operator": Code(
        Severity.NOTE,
        "An operator of the pipeline's own hides another of the same name.",
        "The pipeline's own operators come first, so the other one cannot be reached here.",
        "Nothing, if that is meant; else rename it with `@operator(name=...)`.",
    ),
    "operator-broken": _error(
        "An operator is known, but its module cannot be imported.",
        "Something that it needs is missing, or its package is damaged.",
        "Install what the message names, or reinstall the package.",
    ),
    "broken-plugin": _error(
        "An installed plugin that the pipeline names is broken or switched off.",
        "What it brings would be missing.",
        "`petal plugins` shows the reason; reinstall or enable it.",
    ),
    "bad-plugin": _error(
        "A plugin implements a hook in a way that cannot be called, or returns what cannot be used.",
        "Its part would be left out silently.",
        "Correct the plugin; `petal.testing` has a suite that checks it.",
    ),
    "plugin-clash": _error(
        "Two plugins bring different things under one name.",
        "Which of the two is used would depend on who came first.",
        "Name the one that is meant under `plugins`, or uninstall one.",
    ),
    "unknown-plugin": _error(
        "No plugin of that name is installed.",
        "`-p` and `plugins` take the names of installed plugins.",
        "Correct the name, or install the package.",
    ),
}

#: Operators, decorators and ``node()`` in Python (``spec/signature.py``, ``authoring/``).
_PYTHON: Final = {
    "bad-definition": _error(
        "An operator, decorator or `node()` call cannot work.",
        "It is refused where it is written rather than in a run.",
        "Do what the hint says.",
    ),
    "bad-signature": _error(
        "The parameters of an operator cannot be inputs and parameters of a node.",
        "Positional parameters are inputs and keyword-only ones parameters, so that both can be checked before a run.",
        "Change the signature as the hint says.",
    ),
    "not-an-operator": _error(
        "An object is no operator.",
        "An operator is a function, or a class with a method `process`.",
        "Give one of these, or `node(...)`.",
    ),
    "decorated-twice": _error(
        "An operator has the same policy twice.",
        "Which of the two holds would depend on the order of the decorators.",
        "Remove one.",
    ),
    "bad-duration": _error(
        "A duration cannot be read, or is not positive.",
        "Durations are seconds, or text such as `30s`, `5m`, `1h30m` and `250ms`.",
        "Write one of these.",
    ),
}

#: Every code with its description; codes are stable.
CODES: Final[dict[str, Code]] = {
    **_TEXT,
    **_SHAPE,
    **_WIRING,
    **_VALUES,
    **_FILES,
    **_PYTHON,
    **RUNNING,
}
