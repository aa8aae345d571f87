"""Before a profile is open: creating one, linking one, unlocking one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from apps.viewmodels.model import ViewModel
from apps.viewmodels.pictures import modules
from apps.viewmodels.ports import DeviceKind, Profiles
from sync.service.api import KithkinError, Linking, Network
from sync.service.phrase import asked_back

Opened = Callable[[str | None], Awaitable[None]]
"""Called with the passphrase of a profile that is to be opened."""
MIN_PASSPHRASE = 8
LINK_SECONDS = 600.0
DIGITS = 6


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """What the app was started with.  folder: where the profile is or will be.  kind: of the device, if a profile is
    made.  passphrase: the one that the environment names, so that nobody is asked; None: somebody is."""

    profiles: Profiles
    folder: Path
    kind: DeviceKind
    network: Network
    passphrase: str | None


def new_passphrase(options: LaunchOptions, typed: str, again: str) -> str:
    """The passphrase for a new profile.  Raises KithkinError `no_passphrase` with what is wrong with what was typed."""
    if options.passphrase is not None:
        return options.passphrase
    if len(typed) < MIN_PASSPHRASE:
        raise KithkinError("no_passphrase", f"Choose a passphrase of at least {MIN_PASSPHRASE} characters.")
    if typed != again:
        raise KithkinError("no_passphrase", "The passphrases do not match.")
    return typed


@dataclass(frozen=True, slots=True)
class CreateState:
    """`words`: the 24 recovery words, from the profile's making until they were noted.  `asked`: the place of the one
    that is asked back now, 0 before."""

    asks_passphrase: bool
    busy: bool = False
    problem: str = ""
    words: tuple[str, ...] = ()
    asked: int = 0


class Create(ViewModel[CreateState]):
    """`create`, show `words`, `noted`, an `answer` for each word asked back; then the profile is opened."""

    def __init__(self, options: LaunchOptions, opened: Opened) -> None:
        super().__init__(CreateState(asks_passphrase=options.passphrase is None))
        self._options = options
        self._opened = opened
        self._passphrase: str | None = None
        self._places: list[int] = []

    async def create(self, name: str, passphrase: str, again: str) -> None:
        """Creates the profile; its recovery words are in the state until `noted`."""
        if self.state.busy or self.state.words:
            return
        with self._working():
            secret = new_passphrase(self._options, passphrase, again)
            options = self._options
            made = await options.profiles.create_profile(options.folder, secret, name=name, kind=options.kind)
            self._passphrase = secret
            self._become(words=tuple(made.phrase.split()))

    def noted(self) -> None:
        """The person wrote the words down: three of them are asked back."""
        if self.state.words and not self.state.busy and not self.state.asked:
            self._places = list(asked_back())
            self._become(asked=self._places.pop(0), problem="")

    def again(self) -> None:
        """Back to the words, which are shown as long as they were not answered."""
        self._become(asked=0, problem="")

    async def answer(self, word: str) -> None:
        """The word asked back.  After the third right one the words are forgotten here, and the profile opens."""
        words, asked = self.state.words, self.state.asked
        if not words or not asked or self.state.busy:
            return
        if word.strip().lower() != words[asked - 1]:
            self._become(problem=f"That is not word {asked}. Look at what you wrote down.")
            return
        if self._places:
            self._become(asked=self._places.pop(0), problem="")
            return
        secret, self._passphrase = self._passphrase, None
        self._become(words=(), asked=0, problem="")
        await self._opened(secret)


@dataclass(frozen=True, slots=True)
class RecoverState:
    """`problem` names the place of a word that is in no list."""

    asks_passphrase: bool
    busy: bool = False
    problem: str = ""


class Recover(ViewModel[RecoverState]):
    """`recover` from the 24 words; then the profile is opened, and its node looks for contacts and chats."""

    def __init__(self, options: LaunchOptions, opened: Opened) -> None:
        super().__init__(RecoverState(asks_passphrase=options.passphrase is None))
        self._options = options
        self._opened = opened

    async def recover(self, name: str, words: str, passphrase: str, again: str) -> None:
        """Makes a device of the identity of these words, and opens it."""
        if self.state.busy:
            return
        done = False
        with self._working():
            secret, options = new_passphrase(self._options, passphrase, again), self._options
            await options.profiles.recover_profile(options.folder, secret, words, name=name, kind=options.kind)
            done = True
        if done:
            await self._opened(secret)


@dataclass(frozen=True, slots=True)
class LinkState:
    """`text` and `code` (the modules of its QR) while waiting for a device that approves; `left` tries remain."""

    asks_passphrase: bool
    busy: bool = False
    problem: str = ""
    text: str = ""
    code: tuple[tuple[bool, ...], ...] = ()
    checking: bool = False
    left: int = 3
    expires: datetime | None = None


class Link(ViewModel[LinkState]):
    """`begin` shows a code, `submit` the digits that the other device shows; then the profile is opened."""

    def __init__(self, options: LaunchOptions, opened: Opened) -> None:
        super().__init__(LinkState(asks_passphrase=options.passphrase is None))
        self._options = options
        self._opened = opened
        self._linking: Linking | None = None
        self._waiting: asyncio.Task[None] | None = None

    async def begin(self, name: str, passphrase: str, again: str) -> None:
        """Shows the code and waits until this device is linked or the person cancels."""
        if self._waiting is not None:
            return
        try:
            secret = new_passphrase(self._options, passphrase, again)
        except KithkinError as refusal:
            self._become(problem=refusal.message)
            return
        self._waiting = asyncio.current_task()
        linked = False
        try:
            with self._working():
                options = self._options
                async with options.profiles.link_profile(
                    options.folder,
                    secret,
                    name=name or None,
                    kind=options.kind,
                    network=options.network,
                    wait=LINK_SECONDS,
                ) as linking:
                    self._linking = linking
                    self._become(text=linking.payload, code=modules(linking.payload), left=3, busy=False)
                    await linking.done()
                    linked = True
        finally:
            self._linking, self._waiting = None, None
            self._become(text="", code=(), checking=False)
        if linked:
            await self._opened(secret)

    async def submit(self, digits: str) -> None:
        """Tries the six digits; spaces between them are ignored."""
        linking, typed = self._linking, "".join(char for char in digits if char.isdigit())
        if linking is None or self.state.checking:
            return
        if len(typed) != DIGITS:
            self._become(problem="Type the six digits that your other device shows.")
            return
        self._become(checking=True, problem="")
        try:
            wrong = await linking.submit(typed)
        except KithkinError:
            return  # `done` raises it too, and ends the page
        finally:
            self._become(checking=False)
        if wrong is not None:
            tries = "one try" if wrong.left == 1 else f"{wrong.left} tries"
            self._become(left=wrong.left, problem=f"Wrong digits. You have {tries} left.")

    def cancel(self) -> None:
        """Ends linking; nothing of it stays."""
        if self._waiting is not None:
            self._waiting.cancel()
        self._become(problem="")


@dataclass(frozen=True, slots=True)
class UnlockState:
    """`problem`: why the profile did not open."""

    busy: bool = False
    problem: str = ""


class Unlock(ViewModel[UnlockState]):
    """`unlock` with a passphrase until it is right."""

    def __init__(self, opened: Opened) -> None:
        super().__init__(UnlockState())
        self._opened = opened

    async def unlock(self, passphrase: str) -> None:
        """Opens the profile, or says why it cannot be opened."""
        if self.state.busy:
            return
        with self._working():
            if not passphrase:
                raise KithkinError("no_passphrase", "Enter your passphrase.")
            await self._opened(passphrase)
