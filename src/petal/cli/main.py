"""The command ``petal``: find the command, run it, and turn what goes wrong into a message and an exit code."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import sys
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from petal.cli.output import aside, err, out, visible
from petal.errors import PetalError, UsageError
from petal.spec.veil import veiling

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Command -> the module under ``petal.cli`` that holds it as ``command``, and its line in the help.
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "run": ("run", "Run a pipeline."),
    "validate": ("validate", "Find every mistake in pipelines, without running them."),
    "plan": ("plan", "Show what would run: nodes, stages, backends, policies."),
    "graph": ("graph", "Draw a pipeline."),
    "describe": ("describe", "Say what operators, backends and diagnostic codes there are."),
    "schema": ("schema", "Print the JSON Schema of pipeline files, for editors."),
    "convert": ("convert", "Convert a pipeline file between YAML, JSON and TOML."),
    "runs": ("runs", "List the runs that are recorded."),
    "show": ("show", "Show what a run did: nodes, attempts, errors."),
    "replay": ("replay", "Run one recorded node again, here."),
    "cache": ("cache", "List, explain, verify and clear cached outputs."),
    "plugins": ("plugins", "List the plugins and what each brings."),
    "worker": ("worker", "Do tasks that another Petal sends over stdin."),
    "doctor": ("doctor", "Check Python, plugins and backends, with a probe through each."),
    "new": ("new", "Write the files of a new project, operator or plugin."),
}
BUG: Final = 70
BROKEN_PIPE: Final = 141
#: Errors of a stream that takes no more; those of a file carry its name.
_UNWRITABLE: Final = {errno.EBADF, errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG}

_EPILOG: Final = """\b
Exit codes: 0 done, 1 the run failed, 2 usage, 3 the pipeline is invalid,
4 the environment is not ready, 70 a bug in Petal,
130 and 143 stopped by a signal, 141 nobody reads the output any more.

\b
Completion in your shell, for bash, zsh or fish:
  eval "$(_PETAL_COMPLETE=bash_source petal)"      # in ~/.bashrc
  eval "$(_PETAL_COMPLETE=zsh_source petal)"       # in ~/.zshrc
  _PETAL_COMPLETE=fish_source petal | source       # in config.fish
"""


class LazyGroup(click.Group):
    """Imports the module of a command when it is called; what is not in the table, a plugin may bring."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of Petal's own commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by its name; Petal's own come first."""
        if cmd_name in COMMANDS:
            module = import_module(f"petal.cli.{COMMANDS[cmd_name][0]}")
            found: click.Command = module.command
            return found
        brought: dict[str, click.Command | None] = ctx.meta.setdefault("petal.commands", {})
        if cmd_name not in brought:
            brought[cmd_name] = _plugin_command(cmd_name)
        return brought[cmd_name]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was typed.

        Raises:
            UsageError: There is none of that name.
        """
        name = args[0]
        if not ctx.resilient_parsing and not name.startswith("-") and self.get_command(ctx, name) is None:
            from petal.planning.findings import did_you_mean
            from petal.planning.places import PACKAGES, remedy_of

            hint = did_you_mean(name, COMMANDS) or "`petal --help` lists the commands"
            hint = remedy_of(name) if name in PACKAGES else hint
            raise UsageError(f"there is no command `{name}`", hint=hint, code="unknown-command")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands from the table, so that none is imported."""
        rows = [(name, summary) for name, (_, summary) in COMMANDS.items()]
        rows += [(str(c.name), c.get_short_help_str(80)) for c in _plugin_commands()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a reader that went away, as ``head`` does, ends it quietly.

        Raises:
            PetalError: A plugin's command failed; the fault is the plugin's and not Petal's.
        """
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise click.exceptions.Exit(BROKEN_PIPE) from None
        except (PetalError, click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            name = ctx.invoked_subcommand
            if name is None or name in COMMANDS or _is_unwritable(error):
                raise
            import traceback

            err(visible(traceback.format_exc().rstrip(), keep="\n"))
            raise PetalError(
                f"command `{name}` failed; it is no command of Petal's own but a plugin's",
                hint="`petal plugins` says which one; report it there, with the lines above",
                code="bad-plugin",
            ) from error


def _plugin_command(name: str) -> click.Command | None:
    """Return a command that a plugin brings.

    Raises:
        EnvironmentNotReady: Two plugins bring it, or the plugin of that name does not work or brings something else.
    """
    from petal.app.session import Session

    with aside():
        found = Session().plugins.find("command", name)
    if found is None or isinstance(found, click.Command):
        return found
    from petal.errors import EnvironmentNotReady

    raise EnvironmentNotReady(
        f"a plugin brings command `{name}` as {found!r}, which is no Click command",
        hint="`petal plugins` says which one; its petal_commands is to return click.Command objects",
        code="bad-plugin",
    )


def _plugin_commands() -> list[click.Command]:
    from petal.app.session import Session

    with aside():
        manager = Session().plugins
        manager.plugins()
        commands = manager.commands()
    return [c for c in commands if isinstance(c, click.Command) and c.name not in COMMANDS]


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from petal import __version__

        out(f"petal {__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
)
@click.pass_context
def petal(ctx: click.Context) -> None:
    """Say what an ETL pipeline does, and choose where each step runs without touching the step."""
    if ctx.invoked_subcommand is None:
        out(ctx.get_help())


def main() -> NoReturn:
    """Run the command line of this process and end the process."""
    # What is imported and built here is no garbage: looking at it less often saves a tenth of a short run.
    gc.set_threshold(50_000)
    # Polars' allocator holds on to what blocks of varying sizes leave behind, and to more of it the longer a run takes.
    # Those of 1 MiB and more go back to the system: a quarter less memory in a filter, and no more for a longer file.
    os.environ.setdefault("_RJEM_MALLOC_CONF", "oversize_threshold:1048576")
    _open_closed_streams()
    try:
        code = _flushed(invoke(sys.argv[1:]))
    except KeyboardInterrupt:  # a second one, while the first is told: it ends the process at once
        os._exit(130)
    if code in (129, 130, 143) and threading.active_count() > 1:
        os._exit(code)  # a thread that cannot be interrupted holds up no exit
    sys.exit(code)


def invoke(args: Sequence[str]) -> int:
    """Run one command line in this process.

    Args:
        args: What is typed after ``petal``.

    Returns:
        The exit code; whatever goes wrong has been shown on stderr.
    """
    with veiling():  # whatever a pipeline's own code prints
        return _invoke(args)


def _invoke(args: Sequence[str]) -> int:
    debug = "--debug" in args
    try:
        if os.name == "nt":
            raise _windows()
        result = petal.main(list(args), prog_name="petal", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.ClickException as error:
        return _usage(error)
    except (click.Abort, KeyboardInterrupt):
        err("stopped by SIGINT")
        return 130
    except PetalError as error:
        from petal.cli.failure import show_error

        return show_error(error, debug=debug)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BrokenPipeError:
        return BROKEN_PIPE
    except OSError as error:
        return _unwritten(error) if _is_unwritable(error) else _bug()
    except Exception:
        return _bug()
    except BaseException as error:
        if type(error).__name__ != "Interrupt":
            raise
        from petal.cli.failure import show_interrupt

        return show_interrupt(error)


def _usage(error: click.ClickException) -> int:
    err(f"error: {visible(error.format_message())}")
    ctx = getattr(error, "ctx", None)
    if ctx is not None:
        err(f"  hint: see `{ctx.command_path} --help`")
    return error.exit_code


def _bug() -> int:
    import traceback

    from petal import __version__

    err(visible(traceback.format_exc().rstrip(), keep="\n"))
    err(f"this is a bug in Petal ({__version__}): please report it with the lines above")
    return BUG


def _is_unwritable(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in _UNWRITABLE and error.filename is None


def _unwritten(error: OSError) -> int:
    """Say that stdout is full, closed or broken, and return the exit code."""
    from petal.errors import EnvironmentNotReady

    problem = "it is closed" if error.errno == errno.EBADF else error.strerror or str(error)
    err(f"error: cannot write to the standard output: {problem}")
    return EnvironmentNotReady.exit_code


def _open_closed_streams() -> None:
    """Put in the place of a standard stream that was closed one that fails when it is used.

    Otherwise the next file to be opened would get its descriptor, and data meant for the stream. What goes to stderr
    is dropped: nobody can be told.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is not None:
            continue
        # Opened the wrong way round; the lowest number that is free is the stream's own.
        number = os.open(os.devnull, os.O_RDONLY) if name == "stdout" else os.open(os.devnull, os.O_WRONLY)
        os.set_inheritable(number, True)
        mode = "r" if name == "stdin" else "w"
        setattr(sys, name, open(number, mode, encoding="utf-8", errors="backslashreplace"))  # noqa: SIM115


def _windows() -> PetalError:
    from petal.errors import EnvironmentNotReady

    return EnvironmentNotReady(
        "Petal does not run on Windows yet: it has not been tested there", hint="use WSL, Linux or macOS"
    )


def _flushed(code: int) -> int:
    """Flush both streams; where one takes no more, keep the interpreter from saying so at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            code = BROKEN_PIPE
        except OSError as error:
            code = _unwritten(error) if stream is sys.stdout and code == 0 else code
        except ValueError:  # a pipeline's code has closed it
            continue
        else:
            continue
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return code
