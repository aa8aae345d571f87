"""Backing this device up from a window, and making a profile out of a backup before one is open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from apps.viewmodels.firstrun import MIN_PASSPHRASE, LaunchOptions, Opened, new_passphrase
from apps.viewmodels.model import ViewModel
from sync.service.api import KithkinError, Service
from sync.service.plural import counted

FILE = "kithkin-backup"


def chosen(path: str) -> Path:
    """The file that a person named; a folder stands for a file of the usual name in it.  Raises `not_found`."""
    text = path.strip().removeprefix("file://")
    if not text:
        raise KithkinError("not_found", "Name the file of the backup.")
    try:
        found = Path(text).expanduser().absolute()
        return found / FILE if found.is_dir() else found
    except (OSError, RuntimeError, ValueError):
        raise KithkinError("not_found", "That is no path of a file.") from None


@dataclass(frozen=True, slots=True)
class BackUpState:
    """`done`: what was written, as a sentence.  `megabytes`: read so far."""

    busy: bool = False
    problem: str = ""
    done: str = ""
    megabytes: int = 0


class BackUp(ViewModel[BackUpState]):
    """`create` with a file and its passphrase; `progress` while it is written."""

    def __init__(self, service: Service) -> None:
        super().__init__(BackUpState())
        self._service = service

    def reset(self) -> None:
        """Forgets what was said of the last one; one that is being written goes on."""
        if not self.state.busy:
            self._become(problem="", done="", megabytes=0)

    def progress(self, done: int) -> None:
        """So many bytes were read."""
        if self.state.busy:
            self._become(megabytes=done // 1_000_000)

    async def create(self, path: str, passphrase: str, again: str) -> None:
        """Writes a backup, or what is new into the one that is there."""
        if self.state.busy:
            return
        self._become(done="", megabytes=0)
        with self._working():
            file = chosen(path)
            if not file.exists():
                if len(passphrase) < MIN_PASSPHRASE:
                    sentence = f"Choose a passphrase of at least {MIN_PASSPHRASE} characters for the backup."
                    raise KithkinError("no_passphrase", sentence)
                if passphrase != again:
                    raise KithkinError("no_passphrase", "The passphrases do not match.")
            made = await self._service.backup(file, passphrase)
            size = max(1, round(made.bytes / 1e6))
            self._become(done=f"{counted(made.messages, 'message')} in a backup of {size} MB: {file.name}")


@dataclass(frozen=True, slots=True)
class RestoreState:
    """`asks_passphrase`: for the new profile.  `damaged`: a part does not open, and the rest may be restored."""

    asks_passphrase: bool
    busy: bool = False
    problem: str = ""
    megabytes: int = 0
    damaged: bool = False


class Restore(ViewModel[RestoreState]):
    """`restore` with a file, its passphrase, and one for this device; then the profile is opened."""

    def __init__(self, options: LaunchOptions, opened: Opened, said: Callable[[Callable[[], None]], object]) -> None:
        """said: runs a function in the loop of the view-models, from any thread."""
        super().__init__(RestoreState(asks_passphrase=options.passphrase is None))
        self._options = options
        self._opened = opened
        self._said = said

    async def restore(self, path: str, secret: str, passphrase: str, again: str) -> None:
        """Checks the whole file, then makes the profile.  After `damaged` it takes what still opens."""
        if self.state.busy:
            return
        salvage, mine = self.state.damaged, None
        self._become(megabytes=0, damaged=False)
        restored = False
        with self._working():
            options, file = self._options, chosen(path)
            mine = new_passphrase(options, passphrase, again)
            try:
                await options.profiles.restore_backup(
                    options.folder, mine, file, secret, salvage=salvage, progress=self._progress
                )
            except KithkinError as refusal:
                self._become(damaged=refusal.code == "backup_damaged" and not salvage)
                raise
            restored = True
        if restored:
            await self._opened(mine)

    def _progress(self, done: int, total: int) -> None:
        self._said(lambda: self._become(megabytes=done // 1_000_000))
