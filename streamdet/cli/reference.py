"""The reference of all commands as Markdown: ``python -m streamdet.cli.reference``.

docs/commands.md is the output of this module.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import typer
import typer.main

from streamdet.cli.errors import EXIT_CODE_MEANINGS
from streamdet.cli.main import app

_HEAD = """\
# Commands

This page is generated: `python -m streamdet.cli.reference > docs/commands.md`. The same text is
shown by `streamdet COMMAND --help`. "Extra media" and the like stand for optional dependencies,
which `pip install 'streamdet[media]'` installs."""
_SHARED = """\
## Shared options

These options have the same meaning in all commands that list them."""


class OptionRow(NamedTuple):
    """A row of a table: an option or argument with its value, its default and its help."""

    name: str
    default: str
    help: str


def render_reference() -> str:
    """The whole page."""
    commands = dict(list_commands())
    rows = {name: [_option_row(p) for p in command.params] for name, command in commands.items()}
    counts = Counter(row for command_rows in rows.values() for row in command_rows)
    shared = [row for row, count in counts.items() if count > 1]
    links = [f"[{name}](#streamdet-{name.replace(' ', '-')})" for name in commands]
    exit_codes = [(f"`{code}`", meaning) for code, meaning in EXIT_CODE_MEANINGS.items()]
    parts = [
        _HEAD,
        f"Commands: {', '.join(links)}.",
        "## Exit codes",
        "Results go to stdout. Messages and progress go to stderr; an error is one line.",
        _render_table(("Code", "Meaning"), exit_codes),
        _SHARED,
        _render_table(("Option", "Default", "Description"), shared),
        *(_render_command(name, command, rows[name], shared) for name, command in commands.items()),
    ]
    return "\n\n".join(parts) + "\n"


def list_commands(group: Any = None, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(name, Click command) of every command. The name of a subcommand is "events list"."""
    group = group or typer.main.get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from list_commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def _render_command(name: str, command: Any, rows: list[OptionRow], shared: list[OptionRow]) -> str:
    arguments = [_argument_name(p) for p in command.params if not _is_option(p)]
    has_options = len(arguments) < len(command.params)
    usage = ["streamdet", name, *arguments, *(["[OPTIONS]"] if has_options else [])]
    parts = [f"## streamdet {name}", f"    {' '.join(usage)}"]
    parts += [_render_paragraph(text) for text in command.help.split("\n\n")]
    if own := [row for row in rows if row not in shared]:
        parts.append(_render_table(("Option", "Default", "Description"), own))
    if names := [row.name.split()[0].strip("`") for row in rows if row in shared]:
        listed = ", ".join(f"`{option}`" for option in names)
        parts.append(f"[Shared options](#shared-options): {listed}.")
    return "\n\n".join(parts)


def _render_paragraph(text: str) -> str:
    """The text, or a code block where it starts with ``\\b``, Click's mark for unwrapped text."""
    if not text.startswith("\b\n"):
        return text
    lines = text.removeprefix("\b\n").splitlines()
    return "\n".join(f"    {line.removeprefix('  ')}" for line in lines)


def _option_row(param: Any) -> OptionRow:
    if not _is_option(param):
        name = f"`{_argument_name(param)}`"
    else:
        flags = " / ".join((*param.opts, *param.secondary_opts))
        name = f"`{flags}`" if param.is_flag else f"`{flags} {param.metavar or _choices(param)}`"
    return OptionRow(name, _render_default(param), param.help or "")


def _is_option(param: Any) -> bool:
    return param.opts[0].startswith("-")


def _argument_name(param: Any) -> str:
    name = f"{param.metavar}{'...' if param.nargs == -1 else ''}"
    return name if param.required else f"[{name}]"


def _choices(param: Any) -> str:
    """``a|b``, as the help shows the values of an enumeration."""
    context = typer.Context(typer.main.get_command(app))
    return param.get_help_record(context)[0].split()[-1].strip("<>[]")


def _render_default(param: Any) -> str:
    if isinstance(param.show_default, str):
        return param.show_default
    if param.required:
        return "required"
    if param.default is None or param.default is False:
        return ""
    return str(getattr(param.default, "value", param.default))


def _render_table(head: tuple[str, ...], rows: list[Any]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"|{'|'.join(_escape(cell) for cell in line)}|" for line in lines)


def _escape(cell: str) -> str:
    escaped = cell.replace("|", "\\|")
    return escaped if cell.startswith("`") else escaped.replace("<", "&lt;")


if __name__ == "__main__":
    sys.stdout.write(render_reference())
