"""Runs `kithkin` in this process and reads what it said, for tests that are transcripts."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from apps.cli.main import main
from sync.service.api import Profiles
from tests.apps.cli.fake_service import FakeProfiles


@dataclass
class Said:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> str:
        return str(self.lines[-1]["error"]["code"])


@dataclass
class Desk:
    """One person's machine: a profile folder, a passphrase file, standard input."""

    folder: Path
    patch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]
    profiles: Profiles = field(default_factory=FakeProfiles)

    def run(self, *words: str, stdin: bytes = b"", json_lines: bool = True) -> Said:
        self.patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        self.capture.readouterr()
        code = main(["--json", *words] if json_lines else list(words), self.profiles)
        out, err = self.capture.readouterr()
        return Said(code, out, err)

    def shown(self, *words: str, stdin: bytes = b"") -> Said:
        return self.run(*words, stdin=stdin, json_lines=False)
