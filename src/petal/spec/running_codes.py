"""The codes of what goes wrong while a pipeline runs; :mod:`petal.spec.codes` has them all."""

from __future__ import annotations

from typing import Final

from petal.spec.code import error as _error

#: What ends a command or a run (``errors.py`` draws the tree).
RUNNING: Final = {
    "error": _error("Something failed.", "The message says what.", "Do what the hint says."),
    "usage": _error(
        "An argument of a command or of a function is wrong.",
        "Nothing was started.",
        "See `petal COMMAND --help`.",
    ),
    "unknown-command": _error(
        "There is no such command.",
        "Neither Petal nor a plugin brings it.",
        "Correct the name; `petal --help` lists all.",
    ),
    "unknown-name": _error(
        "There is nothing of that name to describe.",
        "Operators, plugins and codes can be described.",
        "Correct the name.",
    ),
    "exists": _error(
        "The file to be written is there already.",
        "A command does not replace a file that it did not make.",
        "Remove it, or write to another.",
    ),
    "bad-override": _error(
        "A value that is given instead of running a node does not fit what the node returns.",
        "Its consumers would fail on it.",
        "Give a value of the type that the message names.",
    ),
    "invalid-pipeline": _error(
        "The pipeline has mistakes.",
        "Nothing was run.",
        "Correct what the findings name; `petal validate` shows all.",
    ),
    "environment": _error(
        "Something that Petal needs on this machine is missing or cannot be used.",
        "Nothing was run.",
        "Do what the hint says; `petal doctor` checks the rest.",
    ),
    "missing-secret": _error(
        "A secret that a parameter refers to is not there.",
        "Secrets are looked up by the process that uses them, when it uses them.",
        "Set it where the reference says.",
    ),
    "node-failed": _error(
        "A node did not succeed.",
        "Its own code, its data or its backend failed; what is downstream was skipped.",
        "The message names the cause; correct it and run again.",
    ),
    "data": _error(
        "A value does not fit what a node takes.",
        "Values are checked where a type is declared.",
        "Correct the data, or the annotation.",
    ),
    "bad-row": _error(
        "A row of a file or stream is wrong.",
        "The message names its number and field.",
        "Correct the row, or the reader's parameters.",
    ),
    "stream-consumed": _error(
        "A stream was iterated a second time.",
        "A stream is read once, whoever feeds it.",
        "Annotate the input `list[T]` to have all of it at hand.",
    ),
    "output": _error(
        "A file could not be written or published.",
        "The target is as it was before the run.",
        "Check the folder, its permissions and the space that is left.",
    ),
    "not-kept": _error(
        "An output that was not kept is read.",
        "A run keeps the outputs of its targets; others are freed after their last consumer.",
        "Name the node as a target: `run(targets=[...])`.",
    ),
    "remote": _error(
        "A node's code failed in another process.",
        "The message and the traceback are those of that process.",
        "Correct what the traceback shows.",
    ),
    "task-lost": _error(
        "A task that was sent to another process ended without a reply.",
        "What it did is not known.",
        "The message says what is known; run it again if a second execution does no harm.",
    ),
    "worker-died": _error(
        "The process that ran a node ended before the node did.",
        "It was killed, ran out of memory, or its code ended the process.",
        "The message names the signal or the exit code; give it less data at a time (`batch`), or more memory.",
    ),
    "worker-lacks": _error(
        "A worker does not have what a task needs: a file, a module, a name in it, or an argument of the operator.",
        "Its code or its packages are not those of the process that sent the task.",
        "Bring the worker up to date; the message says what it lacks.",
    ),
    "code-skew": _error(
        "A worker has other code than the process that sent the task.",
        "The fingerprints differ, and the task asked for the same code (`strict`).",
        "Bring the worker up to date, or let the task pass without `strict`.",
    ),
    "unguarded-run": _error(
        "A script runs its pipeline while a worker process imports it.",
        "The worker looks for the operators in it, and would start the run again.",
        "Put the call of `run` beneath `if __name__ == '__main__':`.",
    ),
    "timeout": _error(
        "A node took longer than its `timeout`, or a run than its `run_timeout`.",
        "It was stopped; nothing of it was published.",
        "Give it more time, or less to do.",
    ),
    "wire": _error(
        "A message between processes cannot be read or written.",
        "It is damaged, too large or too deep, of another version, or a value has no annotation to read it back by.",
        "The message says which; annotate the value, or send less at once.",
    ),
    "signature": _error(
        "A message between processes is not signed as it must be.",
        "It was changed on its way, is too old, or was made with another key.",
        "Check that both sides have the same keys and the same time.",
    ),
    "interrupted": _error(
        "A signal or a time limit stopped the run.",
        "What had not been published is not there.",
        "Run it again.",
    ),
}
