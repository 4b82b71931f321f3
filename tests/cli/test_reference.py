from collections.abc import Iterator

import click
import pytest
from slice import ROOT

from kiban.cli import commands
from kiban.cli.reference import reference


def all_commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from all_commands(child, f"{path} {name}")


EVERY = dict(all_commands(commands, "kiban"))


def test_the_page_of_the_commands_is_their_help() -> None:
    assert (ROOT / "docs/commands.md").read_text() == reference(commands, "kiban"), "run `make docs`"


@pytest.mark.parametrize("path", [path for path in EVERY if path != "kiban"])
def test_every_command_shows_an_example_of_itself(path: str) -> None:
    examples = (EVERY[path].help or "").partition("Examples:")[2]
    assert f"{path} " in examples or f"{path}\n" in f"{examples}\n"


@pytest.mark.parametrize("path", EVERY)
def test_every_option_says_what_it_does(path: str) -> None:
    for parameter in EVERY[path].params:
        assert not isinstance(parameter, click.Option) or parameter.help, parameter.name
