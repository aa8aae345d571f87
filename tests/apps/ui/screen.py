"""A display with one window, and what a person does with it: look, click, type, take pictures.

The keys and clicks are real (xdotool), the display is Xvfb, the window is a process of its own.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 90.0


@dataclass(frozen=True)
class Seen:
    kind: str
    said: str
    hint: str
    icon: str
    focus: bool
    x: int
    y: int
    width: int
    height: int


class Screen:
    def __init__(self, kind: str, size: tuple[int, int], profile: Path, folder: Path, log: Path) -> None:
        self.kind, self.size, self.profile = kind, size, profile
        self._door = folder / f"{kind}.door"
        self._log = log.open("a")
        self._server, number = _display(size)
        self._environment = {
            **{name: value for name, value in os.environ.items() if name != "KITHKIN_PASSPHRASE_FILE"},
            "DISPLAY": f":{number}",
            "KITHKIN_BOOTSTRAP": "",
            "TZ": "UTC",
        }
        self._window: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self._door.unlink(missing_ok=True)
        words = ["--profile", str(self.profile), self.kind, "--host", "127.0.0.1"]
        command = [sys.executable, "-m", "tests.apps.ui.window", str(self._door), *words]
        self._window = subprocess.Popen(
            command, env=self._environment, stdout=self._log, stderr=self._log, stdin=subprocess.DEVNULL, text=True
        )
        self.until(lambda: bool(self.look()))
        self._do("mousemove", "--sync", str(self.size[0] - 2), str(self.size[1] - 2))

    def stop(self) -> int:
        """Closes the window as a session manager does; the process's exit code."""
        window, self._window = self._window, None
        if window is None:
            return 0
        if window.poll() is None:
            window.terminate()
        return window.wait(60)

    def close(self) -> None:
        if self._window is not None and self._window.poll() is None:
            self._window.kill()
            self._window.wait()
        self._server.terminate()
        self._server.wait()
        self._log.close()
        self._log.close()

    # ---- looking

    def look(self) -> list[Seen]:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
                door.settimeout(30)
                door.connect(str(self._door))
                data = b"".join(iter(lambda: door.recv(1 << 16), b""))
        except OSError:
            return []
        return [Seen(**one) for one in json.loads(data or b"[]")]

    def find(self, said: str = "", *, kind: str = "", hint: str = "", icon: str = "") -> Seen | None:
        """The topmost widget with exactly that text, class, hint or icon; None where there is none."""
        for seen in reversed(self.look()):
            if (
                (not said or seen.said == said)
                and (not kind or seen.kind == kind)
                and (not hint or seen.hint == hint)
                and (not icon or seen.icon == icon)
            ):
                return seen
        return None

    def wait(self, said: str = "", *, kind: str = "", hint: str = "", icon: str = "") -> Seen:
        found: list[Seen] = []

        def there() -> bool:
            seen = self.find(said, kind=kind, hint=hint, icon=icon)
            if seen is not None:
                found.append(seen)
            return seen is not None

        self.until(there, f"{said or hint or icon or kind!r} on the {self.kind}")
        return found[0]

    def says(self, part: str) -> bool:
        return any(part in seen.said for seen in self.look())

    def until(self, holds: Callable[[], bool], what: str = "") -> None:
        end = time.monotonic() + PATIENCE
        while not holds():
            if self._window is not None and self._window.poll() is not None:
                raise AssertionError(f"the {self.kind} ended with {self._window.returncode}")
            if time.monotonic() > end:
                lines = sorted({seen.said or seen.hint or seen.icon for seen in self.look()})
                raise AssertionError(f"waited in vain for {what}; there is: {lines}")
            time.sleep(0.1)

    def picture(self, path: Path) -> Path:
        """What the display shows now."""
        # Imported here: it is installed with the `ui` extra.
        from PIL import ImageGrab

        with ImageGrab.grab(xdisplay=self._environment["DISPLAY"]) as picture:
            picture.convert("RGB").save(path)
        return path

    def still(self, path: Path) -> Path:
        """What the display shows once animations have ended; only the picture depends on it, so a blinking cursor ends
        the wait after some tries."""
        before = b""
        for _ in range(8):
            time.sleep(0.6)
            now = self.picture(path).read_bytes()
            if now == before:
                break
            before = now
        return path

    # ---- acting

    def _do(self, *words: str) -> None:
        subprocess.run(["xdotool", *words], check=True, env=self._environment, stdout=subprocess.DEVNULL)

    def click(self, said: str = "", *, kind: str = "", hint: str = "", icon: str = "", button: int = 1) -> None:
        seen, before = self.wait(said, kind=kind, hint=hint, icon=icon), None
        while seen != before:  # a new page may still be laid out
            time.sleep(0.1)
            seen, before = self.wait(said, kind=kind, hint=hint, icon=icon), seen
        self.click_on(seen, button)

    def click_on(self, seen: Seen, button: int = 1) -> None:
        self._do("mousemove", "--sync", str(seen.x), str(seen.y), "sleep", "0.15", "mousedown", str(button))
        self._do("sleep", "0.15", "mouseup", str(button))

    def fill(self, hint: str, text: str) -> None:
        """Clicks into a field and types; waits until the text is in it."""
        self.enter(hint)
        self.type(text)
        self.until(lambda: (seen := self.find(hint=hint)) is not None and seen.said == text, f"{text!r} in {hint!r}")

    def enter(self, hint: str) -> None:
        """Clicks into a field until it has the focus: a page that is laid out late lets a click pass."""

        def entered() -> bool:
            end = time.monotonic() + 3
            while time.monotonic() < end:
                if (seen := self.find(hint=hint)) is not None and seen.focus:
                    return True
                time.sleep(0.1)
            self.click(hint=hint)
            return False

        if not self.wait(hint=hint).focus:
            self.click(hint=hint)
        self.until(entered, f"the cursor in {hint!r}")

    def clear(self, hint: str) -> None:
        self.enter(hint)
        self.key("ctrl+a", "BackSpace")

    def type(self, text: str) -> None:
        self._do("type", "--delay", "25", text)

    def key(self, *keys: str) -> None:
        self._do("key", "--delay", "60", *keys)


def _display(size: tuple[int, int]) -> tuple[subprocess.Popen[bytes], int]:
    """Starts an Xvfb; (process, the display number that it chose)."""
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", f"{size[0]}x{size[1]}x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=(write,), stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as answer:
        number = answer.readline().strip()
    return server, int(number)
