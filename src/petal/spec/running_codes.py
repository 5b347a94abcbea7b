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
    "target-busy": _error(
        "Another run is writing the same file.",
        "Both would publish it, and which came last would be left to chance.",
        "Wait until the run that the message names has ended, or stop it.",
    ),
    "home": _error(
        "The folder where Petal keeps its state (`.petal/`) cannot be used.",
        "It cannot be written, or others than you could change what is in it. Nothing was run.",
        "Name another with `--home` or $PETAL_HOME, or correct its owner and mode.",
    ),
    "no-home": _error(
        "There is no folder of state (`.petal/`) here or above.",
        "It is made beside a pipeline's file when that is run; there is nothing to read yet.",
        "Go to the pipeline's folder, or name the folder with `--home` or $PETAL_HOME.",
    ),
    "journal": _error(
        "The record of a run cannot be written or read.",
        "Without it nobody could tell later what the run did, so no further node was started.",
        "Free some space on that disk or name another folder with `--home`; then `petal run --resume`.",
    ),
    "resume": _error(
        "A run cannot go on where it was stopped.",
        "It still lives, has ended well, or is not known well enough.",
        "The message says which; run the pipeline afresh.",
    ),
    "resume-changed": _error(
        "The pipeline is not what it was when the run was stopped.",
        "Its code, its configuration or what is asked of it has changed, so old and new results would be mixed.",
        "Undo the change, run afresh, or give `--force`: what has changed, and all behind it, runs again.",
    ),
    "resume-unknown": _error(
        "A node that must not run twice (`effects: once`) keeps a run from being resumed.",
        "Nobody knows whether it did its work, or its output is needed and was not stored.",
        "Look what it has done, then give `--rerun NODE` or `--assume-done NODE`.",
    ),
    "replay": _error(
        "A recorded node cannot be run again, or not without being told so.",
        "It, or what it needs, has effects: it must not run twice, or it writes files.",
        "Give `--force` where a second execution does no harm.",
    ),
    "unknown-run": _error(
        "There is no run of that id, or more than one begins so.",
        "Runs are kept in `.petal/runs` beside the pipeline, until they are pruned.",
        "`petal runs` lists them; give more of the id, or `last`.",
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
    "no-time": _error(
        "A task reached its worker when the worker's own time was over.",
        "A function in a cloud ends at a time of its own; what has no time left is not begun.",
        "Give the function more time, or less to do at once.",
    ),
    "message-too-large": _error(
        "A message has more bytes than its transport carries.",
        "Requests and replies of some backends have a limit, such as the 6 MB of AWS Lambda.",
        "Send less at a time (`batch`), or name a store for large messages (`claims`) where the backend has that setting.",
    ),
    "claim-store": _error(
        "The store where large messages lie cannot be used.",
        "A message was too large for its transport, and could not be put there, or read from there.",
        "The message says why; see that both sides may read and write there.",
    ),
    "payload-corrupt": _error(
        "What lies in the store for large messages is not what was put there.",
        "Its size or its digest is another, also when it was asked for again.",
        "Run the node again; if it stays, look for what changes bytes on their way.",
    ),
    "claim-expired": _error(
        "A large message is gone from the store where it lay.",
        "It was deleted before the task that it belongs to was done; the message says how old it was.",
        "Run the node again; let a lifecycle rule delete after a day at the earliest.",
    ),
    "claim-elsewhere": _error(
        "A message says that it lies where nothing is read.",
        "Each side reads large messages from the one place that it was told of, and of its own run alone.",
        "Name the same place as `claims` on the `execution` block and as $PETAL_CLAIMS where tasks run.",
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
