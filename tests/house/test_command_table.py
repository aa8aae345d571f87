"""Section "Command line" of `docs/protocol.md` names every command, option, answer and error code that there is."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import get_args

import pytest

from apps.cli import parser
from apps.cli.command import Later
from sync.service import models
from tests.house.names import ROOT

SECTION = (ROOT / "docs" / "protocol.md").read_text("utf-8").split(". Command line\n", 1)[1].split("\n## ", 1)[0]
EVERYWHERE = {"--help", "--profile", "--json", "--version"}
NOT_YET_OPTIONS = {"--picture", "--file"}
EVENTS = set(get_args(get_args(models.Event)[0]))


def commands(top: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """("device approve", its parser) of every command."""
    below = [action for action in top._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield " ".join(path), top
    for name, one in below[0].choices.items() if below else ():
        yield from commands(one, (*path, name))


def options(command: argparse.ArgumentParser) -> set[str]:
    """The long options of a command that are its own."""
    return {name for action in command._actions for name in action.option_strings if name.startswith("--")} - EVERYWHERE


def shown() -> dict[str, set[str]]:
    """The options of every command in the first column of the table, and of every one that is not there yet."""
    table = [line.split(" | ")[0] for line in SECTION.splitlines() if line.startswith("| `")]
    later = SECTION.split("**Not yet.**", 1)[1].split("\n\n", 1)[0]
    found: dict[str, set[str]] = {}
    for span in re.findall(r"`([^`]+)`", "\n".join([*(row.replace(r" \|", "") for row in table), later])):
        words = re.match(r"[a-z][a-z -]*(?![a-z])", span.split(" [")[0].split(" --")[0])
        if words is not None and span != "not_available_yet":
            found.setdefault(words[0].strip(), set()).update(re.findall(r"--[a-z-]+", span))
    return found


COMMANDS = dict(commands(parser.build()))


def test_the_table_names_every_command_and_no_other() -> None:
    assert set(shown()) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_names_every_option_of_a_command(name: str) -> None:
    assert shown()[name] == options(COMMANDS[name])


def test_commands_that_are_not_there_yet_are_named_apart() -> None:
    later = SECTION.split("**Not yet.**", 1)[1].split("\n\n", 1)[0]
    for name, command in COMMANDS.items():
        named = re.search(rf"`{name}[ `]", later) is not None
        partly = bool(options(command) & NOT_YET_OPTIONS)
        assert named is (isinstance(command.get_default("command"), Later) or partly), name


def test_the_section_names_every_key_of_every_line() -> None:
    words = set(re.findall(r"[a-z_]+", SECTION))
    lines = [model for model in vars(models).values() if isinstance(model, type) and issubclass(model, models.Line)]
    missing = {(model.__name__, key) for model in lines for key in model.model_fields if key not in words}
    assert len(lines) > 50 and not missing


def test_the_section_names_every_event() -> None:
    part = SECTION.split("Events of `run`", 1)[1].split("\n\n", 1)[0]
    assert {model.model_fields["event"].default for model in EVENTS} <= set(re.findall(r"`([a-z]+)`", part))


def test_the_section_names_every_error_code() -> None:
    part = SECTION.split("### Codes", 1)[1].split("###", 1)[0]
    assert set(re.findall(r"[a-z_]+", part)) == models.CODES | {"foreign_package"}
