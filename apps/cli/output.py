"""What a command says: one JSON object a line for programs, aligned text for people."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from apps.cli.record import Record
from apps.cli.streams import OutputLost, is_terminal, write_aside, write_out
from sync.service.api import KithkinError

if TYPE_CHECKING:
    from apps.cli.record import Said


class Output:
    """Lines go to standard output at once; people's errors go to standard error.

    `failed`: the command did its work and found something wrong, so that it ends with 1 though no error was said.
    """

    def __init__(self, *, json_lines: bool) -> None:
        self.json = json_lines
        self.failed = False
        self._lost: OutputLost | None = None
        self.colour = not json_lines and is_terminal(sys.stdout) and not os.environ.get("NO_COLOR")

    def line(self, value: Said) -> None:
        if self.json:
            self.text(value.model_dump_json())
            return
        from apps.cli.human import render  # late: programs need none of it

        if text := render(value, colour=self.colour):
            self.text(text)

    def text(self, text: str) -> None:
        """Raises OutputLost, as everything that goes to standard output."""
        if self._lost is not None:
            raise self._lost
        try:
            write_out(text + "\n")
        except OutputLost as lost:
            self._lost = lost
            raise

    def note(self, text: str) -> None:
        """A word for people, never in the way of a program."""
        if self.json:
            write_aside(text + "\n")
        else:
            self.text(text)

    def failure(self, error: KithkinError) -> None:
        from apps.cli.hints import hint_of
        from apps.cli.safe import one_line

        message = one_line(error.message)
        if self.json:
            self.line(Record(error={"code": error.code, "message": message}))
            return
        if error.code == "usage":  # the sentences of the parser begin with the program and the command
            message = message.removeprefix("kithkin: ").removeprefix("kithkin ")
        write_aside(f"kithkin: {message}\n")
        if hint := hint_of(error.code, message, interactive=is_terminal(sys.stdin)):
            write_aside(f"  next: {hint}\n")

    def help(self, text: str) -> None:
        self.text(json.dumps({"help": text}, ensure_ascii=False) if self.json else text.rstrip())
