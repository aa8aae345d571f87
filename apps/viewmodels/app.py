"""The app from start to end: which stage is shown, and the opened service.

starting -> welcome -> create | link | restore | recover -> home
         -> locked -> home
         -> stopped (a sentence; may be tried again)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from apps.viewmodels.backup import Restore
from apps.viewmodels.firstrun import Create, LaunchOptions, Link, Recover, Unlock
from apps.viewmodels.model import ViewModel
from apps.viewmodels.session import Session
from sync.service.api import KithkinError, Service
from sync.service.remote import connect
from sync.service.socket import ServiceServer

APPEARANCE = "window.json"
NODE_STOPPED = "The background process of this profile has stopped."


class Stage(StrEnum):
    """What the window shows: one of the pages before a profile is open, or (`HOME`) the profile."""

    STARTING = "starting"
    WELCOME = "welcome"
    CREATE = "create"
    LINK = "link"
    RESTORE = "restore"
    RECOVER = "recover"
    LOCKED = "locked"
    HOME = "home"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class AppState:
    """`session` from HOME on.  `problem`: why it stopped."""

    stage: Stage = Stage.STARTING
    problem: str = ""
    dark: bool = False
    session: Session | None = None


class App(ViewModel[AppState]):
    """`start` once, `close` once."""

    def __init__(self, options: LaunchOptions) -> None:
        super().__init__(AppState(dark=read_appearance(options.folder)))
        self._options = options
        self._stack = contextlib.AsyncExitStack()
        self._starting = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self.create = Create(options, self._created)
        self.link = Link(options, self._created)
        self.restore = Restore(options, self._created, self._in_loop)
        self.recover = Recover(options, self._created)
        self.unlock = Unlock(self.open)

    @property
    def options(self) -> LaunchOptions:
        """What the app was started with."""
        return self._options

    async def start(self) -> None:
        """Opens the profile through a running node, or with a passphrase of the environment or the keyring, or asks."""
        if self._starting:
            return
        self._starting, self._loop = True, asyncio.get_running_loop()
        self._become(stage=Stage.STARTING, problem="")
        try:
            await self.open(self._options.passphrase)
        except KithkinError as refusal:
            match refusal.code:
                case "profile_not_found":
                    self._become(stage=Stage.WELCOME)
                case "no_passphrase":
                    self._become(stage=Stage.LOCKED)
                case _:
                    self._become(stage=Stage.STOPPED, problem=refusal.message)
        finally:
            self._starting = False

    def choose(self, stage: Stage) -> None:
        """Goes from the welcome page to creating or linking, and back; not while the recovery words are shown."""
        before = (Stage.WELCOME, Stage.CREATE, Stage.LINK, Stage.RESTORE, Stage.RECOVER)
        if self.state.stage in before and not self.create.state.words and not self.restore.state.busy:
            self.link.cancel()
            self._become(stage=stage)

    async def open(self, passphrase: str | None) -> None:
        """Opens the profile; None: with the passphrase of the keyring.  Raises KithkinError where it cannot."""
        await self._end_session()
        folder = self._options.folder
        async with contextlib.AsyncExitStack() as stack:
            service: Service
            # A node that already runs on this profile is used: a second one could not open it.
            node = await connect(folder)
            if node is not None:
                service = await stack.enter_async_context(node)
            else:
                opening = self._options.profiles.open_service(folder, passphrase, network=self._options.network)
                service = await stack.enter_async_context(opening)
                # So that commands and a second window work on this profile while this window has it.
                await stack.enter_async_context(ServiceServer(service, folder))
            session = Session(service, self._lost)
            await session.start()
            stack.push_async_callback(session.stop)
            self._stack = stack.pop_all()
        self._become(stage=Stage.HOME, session=session, dark=read_appearance(folder))

    async def _created(self, passphrase: str | None) -> None:
        """Opens a profile that was just created or linked."""
        try:
            await self.open(passphrase)
        except KithkinError as refusal:
            self._become(stage=Stage.STOPPED, problem=refusal.message)

    def _in_loop(self, act: Callable[[], None]) -> None:
        """Called from any thread while a profile is restored."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(act)

    def _lost(self, problem: str) -> None:
        """The service ended by itself."""
        self._become(stage=Stage.STOPPED, problem=problem or NODE_STOPPED, session=None)

    async def close(self) -> None:
        """Ends the session.  Everything is stored when this returns."""
        self.link.cancel()
        await self._end_session()

    async def _end_session(self) -> None:
        stack, self._stack = self._stack, contextlib.AsyncExitStack()
        await stack.aclose()

    async def erase(self) -> None:
        """Closes the profile and takes everything of it off this machine; then the window is as at the first start."""
        await self._end_session()
        self._become(stage=Stage.STARTING, session=None)
        try:
            await self._options.profiles.erase_profile(self._options.folder)
        except KithkinError as refusal:
            self._become(stage=Stage.STOPPED, problem=refusal.message)
        else:
            self._become(stage=Stage.WELCOME, problem="", dark=False)

    def set_dark(self, dark: bool) -> None:
        """Makes the window dark or light, and keeps that for the opened profile."""
        self._become(dark=dark)
        if self.state.session is not None:
            write_appearance(self._options.folder, dark)


def read_appearance(folder: Path) -> bool:
    """Whether the window of this profile is dark.  A plain file beside the store: it says nothing about anybody."""
    try:
        stored = json.loads((folder / APPEARANCE).read_text()[:1000])
    except (OSError, ValueError):
        return False
    return isinstance(stored, dict) and stored.get("dark") is True


def write_appearance(folder: Path, dark: bool) -> None:
    """Keeps it; a folder that cannot be written to is no reason to stop."""
    with contextlib.suppress(OSError):
        (folder / APPEARANCE).write_text(json.dumps({"dark": dark}))
