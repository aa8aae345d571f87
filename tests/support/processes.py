"""Profiles driven from outside: real `kithkin` processes, real UDP on loopback, JSON lines, the node's own socket.

A `Stage` owns every process it started and ends them all.  Waiting is always for something that is said (a line, an
event, a message), with a deadline; nothing sleeps to let time pass.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sync.service.api import KithkinError
from sync.service.models import Message
from sync.service.remote import SocketService, connect
from tests.support.signals import heed_interrupts

T = TypeVar("T")
KITHKIN = (sys.executable, "-m", "apps.cli")
HOST = "127.0.0.1"
DEADLINE = 90.0  # seconds; the machine is shared, so it says "never", not "slow"
LOOK_AGAIN = 1.0  # seconds after which a condition is looked at though no event came
PAGE = 1000
CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Said:
    """A command that has ended: its exit status, its JSON lines, and what stood beside them."""

    status: int
    lines: list[dict[str, Any]]
    out: bytes
    err: bytes

    @property
    def last(self) -> dict[str, Any]:
        return self.lines[-1]

    @property
    def code(self) -> str | None:
        """The stable code of the refusal, None where there was none."""
        error = self.last.get("error") if self.lines else None
        return error["code"] if error is not None else None


class Dialogue:
    """A command under way: lines come one by one, lines may be typed into it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            said = await self.process.stdout.readline()
        if not said:
            raise EOFError(f"the command ended with {await self.process.wait()} and said nothing more")
        value: dict[str, Any] = json.loads(said)
        return value

    def type(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode() + b"\n")

    async def end(self) -> int:
        async with asyncio.timeout(DEADLINE):
            return await self.process.wait()


@dataclass
class Profile:
    """One profile folder and, while it runs, its node.  machine: words before every command, that run it elsewhere."""

    folder: Path
    environment: dict[str, str]
    name: str = ""
    machine: tuple[str, ...] = ()
    events: list[dict[str, Any]] = field(default_factory=list)
    ready: dict[str, Any] = field(default_factory=dict)
    process: asyncio.subprocess.Process | None = None
    _service: SocketService | None = None
    _reader: asyncio.Task[None] | None = None

    # -- commands

    async def spawn(
        self, *words: str, environment: Mapping[str, str] | None = None, dies: str = ""
    ) -> asyncio.subprocess.Process:
        """dies: at which step the process is killed (`tests.apps.dying`)."""
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *self.machine,
            *((sys.executable, "-m", "tests.apps.dying", dies) if dies else KITHKIN),
            "--json",
            *words,
            env={**self.environment, **(environment or {})},
            cwd=CHECKOUT,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            limit=2**24,
            preexec_fn=heed_interrupts,
        )

    async def cli(
        self, *words: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None, dies: str = ""
    ) -> Said:
        """One command in a process of its own, to its end."""
        process = await self.spawn(*words, environment=environment, dies=dies)
        try:
            async with asyncio.timeout(DEADLINE):
                out, err = await process.communicate(stdin)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return Said(process.returncode, [json.loads(line) for line in out.splitlines()], out, err)

    async def ask(self, *words: str, stdin: bytes = b"") -> dict[str, Any]:
        """The last line of a command that is expected to succeed."""
        said = await self.cli(*words, stdin=stdin)
        assert said.status == 0, f"{words}: {said.lines} {said.err.decode()}"
        return said.last

    @contextlib.asynccontextmanager
    async def dialogue(self, *words: str) -> AsyncIterator[Dialogue]:
        process = await self.spawn(*words)
        drain = asyncio.create_task(_swallow(process.stderr))
        try:
            yield Dialogue(process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            await drain
            process._transport.close()  # type: ignore[attr-defined]

    # -- the node

    @property
    def node(self) -> SocketService:
        assert self._service is not None, f"the node of {self.name} is not running"
        return self._service

    async def run(
        self, *words: str, host: str = HOST, environment: Mapping[str, str] | None = None, dies: str = ""
    ) -> Profile:
        """Starts the node; returns once it accepts peers and commands."""
        self.process = await self.spawn("run", "--host", host, *words, environment=environment, dies=dies)
        self.events = []
        dialogue = Dialogue(self.process)
        try:
            self.ready = await dialogue.line()
            assert self.ready.get("ready") is True, self.ready
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            _, err = await self.process.communicate()
            self.process = None
            sys.stderr.write(err.decode(errors="replace"))
            raise
        self._reader = asyncio.create_task(self._listen(self.process))
        service = await connect(self.folder)
        assert service is not None, "a ready node has its socket"
        self._service = service
        return self

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Asks the node to end; its exit status."""
        return await self._end(number)

    async def fell(self) -> None:
        """Waits until the node was killed at the step that it was started for."""
        assert self.process is not None
        async with asyncio.timeout(DEADLINE):
            status = await self.process.wait()
        await self.kill()
        assert status == -signal.SIGKILL, status

    async def kill(self) -> None:
        """Ends the node as a power cut would end its process."""
        await self._end(signal.SIGKILL)

    async def _end(self, number: signal.Signals) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        if self._service is not None:
            await self._service.close()
            self._service = None
        async with asyncio.timeout(DEADLINE):
            status = await process.wait()
        if self._reader is not None:
            await self._reader
            self._reader = None
        process._transport.close()  # type: ignore[attr-defined]
        return status

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        noise = asyncio.create_task(_collect(process.stderr))
        while line := await process.stdout.readline():
            self.events.append(json.loads(line))
        self.noise = await noise

    noise: bytes = b""  # what the last node wrote to standard error, once it has ended

    # -- waiting

    async def until(self, look: Callable[[], Awaitable[T]], good: Callable[[T], bool], what: str) -> T:
        """Looks again at every event of the node until what is seen is good."""
        stream = self.node.events()
        value = await look()
        following: asyncio.Task[Any] | None = None
        loop, rested = asyncio.get_running_loop(), 0.0
        try:
            async with asyncio.timeout(DEADLINE):
                while not good(value):
                    if following is None:
                        following = asyncio.ensure_future(anext(stream))
                    done, _ = await asyncio.wait({following}, timeout=LOOK_AGAIN)
                    if done:
                        following.result()
                        following = None
                    if done and loop.time() < rested:
                        continue  # a flood of events is looked at as one
                    started = loop.time()
                    value = await look()
                    rested = loop.time() + min(2 * (loop.time() - started), LOOK_AGAIN)
        except TimeoutError:
            raise AssertionError(f"{self.name}: never saw {what}; last seen: {value!r:.2000}") from None
        finally:
            if following is not None:
                following.cancel()
                with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                    await following
            await stream.aclose()  # type: ignore[attr-defined]
        return value

    async def messages(self, chat: str) -> list[Message]:
        """All of a chat, oldest first."""
        return await all_messages(self.node, chat)

    async def texts(self, chat: str) -> list[str]:
        return [message.text for message in await self.messages(chat)]

    async def holds(self, chat: str, count: int) -> list[Message]:
        """Waits until so many messages stand in a chat."""
        return await self.until(lambda: self.seen(chat), lambda seen: len(seen) >= count, f"{count} messages")

    async def seen(self, chat: str) -> list[Message]:
        """As `messages`; nothing of a chat that this device has not heard of yet."""
        try:
            return await self.messages(chat)
        except KithkinError:
            return []

    async def delivered(self) -> None:
        """Waits until every message of this device was opened everywhere."""
        await self.until(self.node.outbox, lambda box: not box.pending, "an empty outbox")


async def all_messages(service: Any, chat: str) -> list[Message]:
    found: list[Message] = []
    before: str | None = None
    while True:
        page = await service.read(chat, limit=PAGE, before=before)
        found[:0] = page.messages
        if not page.more or not page.messages:
            return found
        before = page.messages[0].id


class Stage:
    """Where profiles live: `async with Stage(folder) as stage`.  Whatever still runs at the end is killed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.secret = root / "passphrase"
        self.profiles: dict[str, Profile] = {}

    async def __aenter__(self) -> Stage:
        self.root.mkdir(exist_ok=True)
        self.secret.write_text("correct horse\n")
        return self

    async def __aexit__(self, *_: object) -> None:
        for profile in self.profiles.values():
            await profile.kill()

    def profile(self, name: str) -> Profile:
        """A folder that may hold nothing yet."""
        if name not in self.profiles:
            folder = self.root / name
            environment = {
                **os.environ,
                "KITHKIN_PROFILE": str(folder),
                "KITHKIN_PASSPHRASE_FILE": str(self.secret),
                "KITHKIN_BOOTSTRAP": "",
                "KITHKIN_BACKUP_PASSPHRASE_FILE": str(self.secret),
                "KITHKIN_MOVED": "same",  # profiles that were made once are copied for each test
                "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
                "TZ": "UTC",
            }
            self.profiles[name] = Profile(folder, environment, name)
        return self.profiles[name]

    async def init(self, name: str) -> Profile:
        profile = self.profile(name)
        await profile.ask("init", "--name", name.capitalize())
        return profile

    async def link(self, name: str, by: Profile, *words: str) -> Profile:
        """A further device, let in by a running one: the text, the digits, both ends of the dialogue."""
        profile = self.profile(name)
        async with profile.dialogue("link", "--name", name, "--host", HOST) as new:
            payload = (await new.line())["payload"]
            async with by.dialogue("device", "approve", payload, "--yes", *words) as approve:
                new.type((await approve.line())["code"])
                linked, approved = await new.line(), await approve.line()
                assert linked.get("linked") is True and approved.get("approved") is True, (linked, approved)
                assert linked["device"] == approved["device"]
                assert (await new.end(), await approve.end()) == (0, 0)
        return profile

    async def befriend(self, one: Profile, other: Profile) -> str:
        """An invite of `one` accepted by `other`, both running; the direct chat."""
        invite = await one.node.contact_invite()
        return (await other.node.contact_accept(invite.invite, wait=DEADLINE)).chat

    async def group(self, maker: Profile, title: str, *members: Profile) -> str:
        """A group that all have joined; everyone runs."""
        contacts = [contact.id for contact in (await maker.node.contacts()).contacts]
        chat = (await maker.node.chat_new(title, contacts)).chat
        for member in members:
            await member.until(
                member.node.chats,
                lambda seen: any(c.id == chat and c.state == "invited" for c in seen.chats),
                "an offer",
            )
            await member.node.chat_join(chat)
            await writable(member, chat)
        return chat


async def writable(profile: Profile, chat: str) -> None:
    """Waits until this device is let into a chat: until it counts itself among the members that are active."""

    async def standing() -> tuple[bool, str]:
        me = profile.ready["identity"]
        if not any(c.id == chat and c.state == "active" for c in (await profile.node.chats()).chats):
            return False, "not active"
        try:
            members = (await profile.node.chat_members(chat)).members
        except Exception as error:
            return False, str(error)
        return any(m.id == me and m.state == "active" for m in members), str(members)

    await profile.until(standing, lambda seen: seen[0], "itself in the chat")


@dataclass
class Trio:
    """A phone and a desktop of Ada, a friend, their direct chat and a group of all; nobody runs."""

    stage: Stage
    phone: Profile
    desktop: Profile
    friend: Profile
    direct: str
    group: str

    @property
    def all(self) -> tuple[Profile, Profile, Profile]:
        return self.phone, self.desktop, self.friend


async def make_trio(stage: Stage) -> Trio:
    phone, friend = await stage.init("phone"), await stage.init("friend")
    await asyncio.gather(phone.run(), friend.run())
    desktop = await stage.link("desktop", phone)
    await desktop.run()
    direct = await stage.befriend(phone, friend)
    group = await stage.group(phone, "Trip", friend)
    for one in (phone, desktop):
        for chat in (direct, group):
            await writable(one, chat)
    for number, one in enumerate((phone, desktop, friend)):
        await one.node.send(direct, f"first {number}")
        await one.node.send(group, f"first {number}")
    for one in (phone, desktop, friend):
        await one.holds(direct, 3)
        await one.holds(group, 3)
    for one in (phone, desktop, friend):
        await one.delivered()
    await asyncio.gather(phone.stop(), desktop.stop(), friend.stop())
    return Trio(stage, phone, desktop, friend, direct, group)


_made: dict[Path, tuple[str, str]] = {}


@contextlib.asynccontextmanager
async def trio(base: Path, root: Path) -> AsyncIterator[Trio]:
    """A trio of one's own below `root`: made once below `base`, which nobody ever runs again, and copied."""
    if base not in _made:
        async with Stage(base) as first:
            made = await make_trio(first)
            _made[base] = (made.direct, made.group)
    direct, group = _made[base]
    shutil.copytree(base, root, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.sock"))
    async with Stage(root) as stage:
        phone, desktop, friend = (stage.profile(name) for name in ("phone", "desktop", "friend"))
        yield Trio(stage, phone, desktop, friend, direct, group)


async def _swallow(stream: asyncio.StreamReader | None) -> None:
    await _collect(stream)


async def _collect(stream: asyncio.StreamReader | None) -> bytes:
    kept = b""
    while stream is not None and (data := await stream.read(65_536)):
        kept = (kept + data)[-65_536:]
    return kept
