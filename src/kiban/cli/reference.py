"""Writing docs/commands.md, the help of every command, for `make docs`."""

from collections.abc import Iterator

import click

WIDTH = 100  # characters


def reference(commands: click.Command, name: str) -> str:
    """The help of a command and of its subcommands as Markdown."""
    parts = [
        "# Commands",
        f"The help of `{name}`, as `{name} COMMAND --help` prints it. `make docs` writes this page.",
    ]
    for words, text in _helps(commands, name, None):
        parts += [f"## {words}", f"```text\n{text}\n```"]
    return "\n\n".join(parts) + "\n"


def _helps(command: click.Command, name: str, parent: click.Context | None) -> Iterator[tuple[str, str]]:
    context = click.Context(command, parent, info_name=name, terminal_width=WIDTH, max_content_width=WIDTH)
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for word in command.list_commands(context):
            yield from _helps(command.commands[word], word, context)
