"""Sets a scene of profiles for the benchmarks: processes that play them, and the ready-made folders to start from."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[1]


class Player:
    """A process that plays one profile (`actor.py`)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.actor", str(folder)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, do: str, **given: Any) -> None:
        """Sends one order; `answer` waits for what comes of it."""
        if self._process.stdin is None:
            raise ValueError("the process has no input")
        self._process.stdin.write(json.dumps({"do": do, **given}) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            raise RuntimeError(f"the player of {self.folder.name} ended")
        value: dict[str, Any] = json.loads(line)
        return value

    def do(self, do: str, **given: Any) -> dict[str, Any]:
        self.start(do, **given)
        return self.answer()

    def call(self, method: str, **given: Any) -> dict[str, Any]:
        return self.do("call", method=method, **given)

    def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(20)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()


def make_friends(folder: Path, names: list[str]) -> str:
    """Profiles of people who all know the first one and are in one group with it; the group's id.

    Everybody is online while it is made and has said hello to all, so that later each finds each.
    """
    players = [Player(folder / name) for name in names]
    try:
        for player, name in zip(players, names, strict=True):
            player.do("create", who=name)
            player.do("open", online=True)
        first, others = players[0], players[1:]
        contacts = []
        for other in others:
            invite = first.call("contact_invite")["invite"]
            other.call("contact_accept", text=invite)
        contacts = [c["id"] for c in first.call("contacts")["contacts"]]
        group = first.call("chat_new", title="Bench", contacts=contacts)["chat"]
        for other in others:
            other.do("until_listed", chat=group)
            other.call("chat_join", chat=group)
        for player in players:
            player.do("until_members", chat=group, count=len(names))
            player.do("until_peers", count=len(names) - 1)
        for player in players:
            player.do("close")
        return str(group)
    finally:
        for player in players:
            player.close()


def copy_scene(source: Path) -> Path:
    """A fresh copy of the profiles, in a folder of its own."""
    os.environ["KITHKIN_MOVED"] = "same"  # the copy is the same device: nobody runs the first one
    target = Path(tempfile.mkdtemp(prefix="kithkin-bench-"))
    shutil.copytree(source, target, dirs_exist_ok=True)
    return target
