"""The app from start to end: which stage is shown, and the one opened service.

starting -> welcome -> create | link -> home
         -> locked -> home
         -> stopped (a sentence; may be tried again)
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from apps.viewmodels.firstrun import Create, Link, Place, Unlock
from apps.viewmodels.model import ViewModel
from apps.viewmodels.session import Session
from sync.service.api import KithkinError, Service
from sync.service.remote import connect
from sync.service.socket import ServiceServer

LOOK = "window.json"
NODE_STOPPED = "The node of this profile has stopped."


class Stage(StrEnum):
    STARTING = "starting"
    WELCOME = "welcome"
    CREATE = "create"
    LINK = "link"
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
    def __init__(self, place: Place) -> None:
        super().__init__(AppState(dark=read_look(place.folder)))
        self._place = place
        self._stack = contextlib.AsyncExitStack()
        self._starting = False
        self.create = Create(place, self._made)
        self.link = Link(place, self._made)
        self.unlock = Unlock(self.open)

    @property
    def place(self) -> Place:
        return self._place

    async def start(self) -> None:
        """Opens what is there: by a running node, by the passphrase given, or by the keyring; else asks."""
        if self._starting:
            return
        self._starting = True
        self._become(stage=Stage.STARTING, problem="")
        try:
            await self.open(self._place.given)
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
        """From the welcome to creating or linking, and back."""
        if self.state.stage in (Stage.WELCOME, Stage.CREATE, Stage.LINK) and not self.create.state.words:
            self.link.cancel()
            self._become(stage=stage)

    async def open(self, passphrase: str | None) -> None:
        """Raises KithkinError where the profile cannot be opened."""
        await self._end_session()
        folder = self._place.folder
        async with contextlib.AsyncExitStack() as stack:
            service: Service
            # A node that runs on this profile already is used, not fought.
            node = await connect(folder)
            if node is not None:
                service = await stack.enter_async_context(node)
            else:
                opening = self._place.profiles.open_service(folder, passphrase, network=self._place.network)
                service = await stack.enter_async_context(opening)
                # So that commands and a second window work on this profile while this window has it.
                await stack.enter_async_context(ServiceServer(service, folder))
            session = Session(service, self._lost)
            await session.start()
            stack.push_async_callback(session.stop)
            self._stack = stack.pop_all()
        self._become(stage=Stage.HOME, session=session, dark=read_look(folder))

    async def _made(self, passphrase: str | None) -> None:
        """Opens a profile that was just made."""
        try:
            await self.open(passphrase)
        except KithkinError as refusal:
            self._become(stage=Stage.STOPPED, problem=refusal.message)

    def _lost(self, problem: str) -> None:
        """The service ended by itself."""
        self._become(stage=Stage.STOPPED, problem=problem or NODE_STOPPED, session=None)

    async def close(self) -> None:
        """Everything is stored when this returns."""
        self.link.cancel()
        await self._end_session()

    async def _end_session(self) -> None:
        stack, self._stack = self._stack, contextlib.AsyncExitStack()
        await stack.aclose()

    def set_dark(self, dark: bool) -> None:
        self._become(dark=dark)
        if self.state.session is not None:
            write_look(self._place.folder, dark)


def read_look(folder: Path) -> bool:
    """Whether this window is dark.  A file beside the store: it tells nobody anything."""
    try:
        told = json.loads((folder / LOOK).read_text()[:1000])
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and told.get("dark") is True


def write_look(folder: Path, dark: bool) -> None:
    with contextlib.suppress(OSError):
        (folder / LOOK).write_text(json.dumps({"dark": dark}))
