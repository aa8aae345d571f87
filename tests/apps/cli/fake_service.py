"""A `Service` that keeps everything in memory: real enough to run the command line and the socket against it.

It has one chat ("self"), one contact ("contact_bob") and the checks of texts that the engine has.  A call that is not
written here is made from the protocol: it answers with what it was given.  `FakeProfiles` has the profiles of one test.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any, Self

from identity.safety_number import safety_number
from sync.service import models as m
from sync.service.api import INVITE_SECONDS, WAIT_SECONDS, Approval, KithkinError, Linking, Network, Service
from sync.service.calls import CALLS, Call
from sync.service.text import check_emoji, check_name, check_query, check_text

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
PHRASE = " ".join(f"word{at}" for at in range(24))
WORDS = " ".join(["abandon"] * 23 + ["art"])  # good ones
PAIR, INVITE, CODE = "kithkin:pair/AAAA", "kithkin:invite/BBBB", "123456"


class FakeApproval:
    def __init__(self, service: FakeService) -> None:
        self._service = service

    @property
    def grant(self) -> m.AccessGrant:
        return m.AccessGrant(grants=["It reads all your chats."], history="all", expires=AT)

    async def confirm(self) -> m.Digits:
        return m.Digits(code=CODE)

    async def done(self) -> m.Approved:
        self._service.names["device_new"] = "desktop"
        return m.Approved(device="device_new")


class FakeLinking:
    """Three tries at the digits, as pairing has them."""

    payload = PAIR

    def __init__(self) -> None:
        self._left = 3
        self._end: asyncio.Future[m.Linked] = asyncio.get_running_loop().create_future()

    async def submit(self, code: str) -> m.Wrong | None:
        if code == CODE:
            self._end.set_result(m.Linked(identity="id_ada", device="device_desk"))
            return None
        self._left -= 1
        if not self._left:
            raise KithkinError("wrong_code", "Three times wrong.")
        return m.Wrong(left=self._left)

    async def done(self) -> m.Linked:
        return await self._end


def _answer(call: Call) -> Callable[..., Any]:
    """A method that answers with the call's model, made of the arguments of the same names."""

    async def method(self: Service, /, *args: Any, **kwargs: Any) -> Any:
        given = call.arguments(args, kwargs)
        model: type[m.Line] = getattr(m, call.answer)
        return model(**{name: given[name] for name in model.model_fields if name in given})

    return wraps(call.method)(method)


class FakeService(Service):
    def __init__(self, network: Network | None = None) -> None:
        self.network = network
        self.messages: list[m.Message] = []
        self.names = {"device_phone": "phone", "contact_bob": "Bob", "self": "Notes", "profile": "Ada", "about": ""}
        self.queues: list[asyncio.Queue[m.Event | None]] = []
        self.cancelled: list[str] = []
        self.waiting = 0

    @classmethod
    def new(cls, network: Network | None = None) -> Self:
        """For type checkers, to which calls that are made below look abstract."""
        return cls(network)

    def say(self, event: m.Event) -> None:
        for queue in self.queues:
            queue.put_nowait(event)

    def end_events(self) -> None:
        for queue in self.queues:
            queue.put_nowait(None)

    def _chat(self, chat: str) -> None:
        if chat != "self":
            raise KithkinError("not_found", f"There is no chat {chat}.")

    def _find(self, chat: str, message: str) -> int:
        self._chat(chat)
        for at, one in enumerate(self.messages):
            if one.id == message:
                return at
        raise KithkinError("not_found", f"There is no message {message}.")

    def _change(self, chat: str, message: str, **values: object) -> m.MessageRef:
        at = self._find(chat, message)
        self.messages[at] = self.messages[at].model_copy(update=values)
        return m.MessageRef(id=message)

    # ---- the node
    async def ready(self) -> m.Ready:
        if self.network is None:
            raise KithkinError("not_allowed", "No network here.")
        return m.Ready(identity="id_ada", device="device_phone", address=f"127.0.0.1:{self.network.port or 4000}")

    def events(self) -> AsyncIterator[m.Event]:
        queue: asyncio.Queue[m.Event | None] = asyncio.Queue()
        self.queues.append(queue)

        async def stream() -> AsyncIterator[m.Event]:
            while (event := await queue.get()) is not None:
                yield event

        return stream()

    async def status(self) -> m.Status:
        peer = m.Peer(device="device_desk", identity="id_ada", name="desk", address="127.0.0.1:4001")
        return m.Status(
            identity="id_ada",
            device="device_phone",
            online=self.network is not None,
            peers=[peer],
            dht=m.Dht(),
            pending=len(self.messages),
            feeds=1 + self.waiting,
            entries=len(self.messages),
        )

    async def stats(self) -> m.Stats:
        person = m.PersonMonth(identity="id_ada", name="Ada", month="2026-11", messages=len(self.messages))
        return m.Stats(messages=[person], storage=[m.ChatStorage(chat="self", title="Notes", messages=1, bytes=2048)])

    async def doctor(self, *, repair: bool = False) -> m.Checks:
        return m.Checks(checks=[m.Check(name="store", ok=repair, detail="one page is damaged")])

    async def passphrase(self, new: str | None = None, *, keyring: bool | None = None) -> m.Changed:
        if keyring:
            raise KithkinError("no_passphrase", "There is no keyring.")
        return m.Changed()

    # ---- devices
    async def devices(self) -> m.Devices:
        ids = [name for name in self.names if name.startswith("device_")]
        return m.Devices(
            devices=[
                m.Device(
                    id=one, name=self.names[one], this=one == "device_phone", added=AT, last_seen=None, state="active"
                )
                for one in ids
            ]
        )

    async def device_rename(self, device: str, name: str) -> m.DeviceRef:
        self.names[device] = check_name(name)
        return m.DeviceRef(device=device)

    async def device_revocation(self, device: str) -> m.Revocation:
        return m.Revocation(device=device, name="phone", spaces=3, effects=["It is shut out.", "It keeps what it has."])

    async def device_keep(self, phrase: str, devices: list[str]) -> m.Kept:
        if phrase != WORDS:
            raise KithkinError("phrase_invalid", "These are good words, but of another identity than this profile's.")
        if any(device not in ("device_desk", "desk") for device in devices):
            raise KithkinError("not_found", "There is no such device here.")
        return m.Kept(kept=["device_desk"] if devices else [], out=["device_old"])

    async def device_revoke(self, device: str) -> m.Revoked:
        return m.Revoked(revoked=device, spaces=3, told=["desk"], waiting=["Bob"])

    @contextlib.asynccontextmanager
    async def device_approve(
        self, text: str, *, history: m.History = "all", wait: float = WAIT_SECONDS
    ) -> AsyncIterator[Approval]:
        if text.startswith("kithkin:invite/"):
            raise KithkinError("not_a_pair_code", "This is an invite from a person, not a device's code.")
        if text != PAIR:
            raise KithkinError("payload_damaged", "The text is damaged.")
        try:
            yield FakeApproval(self)
        finally:
            self.cancelled.append("approval over")

    # ---- people
    async def profile(self) -> m.PublicProfile:
        return m.PublicProfile(identity="id_ada", name=self.names["profile"], about=self.names["about"])

    async def profile_set(self, *, name: str | None = None, about: str | None = None) -> m.PublicProfile:
        if name is not None:
            self.names["profile"] = check_name(name)
        if about is not None:
            self.names["about"] = check_name(about, empty=True)
        return await self.profile()

    async def contacts(self) -> m.Contacts:
        bob = m.Contact(id="contact_bob", name=self.names["contact_bob"], state="active", verified=False, blocked=False)
        return m.Contacts(contacts=[bob])

    async def contact_invite(self, *, expires: float = INVITE_SECONDS) -> m.Invite:
        return m.Invite(invite=INVITE, expires=AT + timedelta(seconds=expires))

    async def contact_accept(self, text: str, *, wait: float = WAIT_SECONDS) -> m.Accepted:
        if text.startswith("kithkin:pair/"):
            raise KithkinError("not_an_invite", "This is a new device's code, not an invite.")
        if text != INVITE:
            raise KithkinError("payload_damaged", "The text is damaged.")
        if self.network is None:
            raise KithkinError("timeout", "Nobody answered.")
        return m.Accepted(contact="contact_bob", chat="self")

    async def contact_rename(self, contact: str, name: str) -> m.ContactRef:
        self.names[contact] = check_name(name)
        return m.ContactRef(contact=contact)

    async def contact_verify(self, contact: str, *, confirm: bool = False) -> m.Safety:
        return m.Safety(safety_number=safety_number(bytes(32), b"\1" * 32), verified=confirm)

    # ---- chats
    async def chats(self) -> m.Chats:
        unread = len(self.messages)
        notes = m.Chat(
            id="self", title=self.names["self"], kind="self", state="active", members=1, unread=unread, last=None
        )
        return m.Chats(chats=[notes])

    async def chat_new(self, title: str, contacts: Sequence[str] = ()) -> m.ChatRef:
        return m.ChatRef(chat="+".join([check_name(title), *contacts]))

    async def chat_rename(self, chat: str, title: str) -> m.ChatRef:
        self._chat(chat)
        self.names[chat] = check_name(title)
        return m.ChatRef(chat=chat)

    async def chat_members(self, chat: str) -> m.Members:
        self._chat(chat)
        return m.Members(members=[m.Member(id="member_ada", name="Ada", role="creator", state="active")])

    async def chat_set(self, chat: str, key: str, value: str) -> m.ChatRef:
        return m.ChatRef(chat=f"{chat} {key}={value}")

    # ---- messages
    async def send(self, chat: str, text: str, *, reply: str | None = None) -> m.Sent:
        self._chat(chat)
        at = AT + timedelta(minutes=len(self.messages))
        message = m.Message(
            id=f"msg_{len(self.messages)}",
            author="id_ada",
            author_name=self.names["profile"],
            device="device_phone",
            text=check_text(text),
            at=at,
            state="queued",
            reply_to=reply,
        )
        self.messages.append(message)
        self.say(m.MessageEvent(chat=chat, message=message))
        return m.Sent(id=message.id, state="queued")

    async def read(
        self, chat: str, *, limit: int = 50, before: str | None = None, after: str | None = None, wait: float = 0.0
    ) -> m.Messages:
        self._chat(chat)
        if wait:
            self.waiting += 1
            try:
                await asyncio.Event().wait()  # nothing ever comes: cancelled, or cut off with the connection
            except asyncio.CancelledError:
                self.cancelled.append("read")
                raise
        return m.Messages(messages=self.messages[-limit:], more=len(self.messages) > limit)

    async def message(self, id: str, *, chat: str | None = None) -> m.Message:
        return self.messages[self._find(chat or "self", id)]

    async def mark(self, chat: str, *, upto: str | None = None) -> m.ReadUpto:
        return m.ReadUpto(read_upto=upto)

    async def edit(self, chat: str, message: str, text: str) -> m.MessageRef:
        return self._change(chat, message, text=check_text(text), edited=True)

    async def delete(self, chat: str, message: str, *, everyone: bool = False) -> m.MessageRef:
        return self._change(chat, message, text="", deleted=True)

    async def react(self, chat: str, message: str, emoji: str) -> m.MessageRef:
        return self._change(chat, message, reactions={check_emoji(emoji): ["id_ada"]})

    async def cancel(self, chat: str, message: str) -> m.MessageRef:
        raise KithkinError("not_allowed", "Another device has it already.")

    async def search(
        self,
        query: str,
        *,
        chat: str | None = None,
        author: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        sort: m.Sort = "time",
        limit: int = 20,
    ) -> m.Hits:
        word = check_query(query).casefold()
        found = [
            m.Hit(id=one.id, chat="self", author=one.author, text=one.text, snippet=one.text, at=one.at, score=1.0)
            for one in reversed(self.messages)
            if word in one.text.casefold().split()
            and (since is None or one.at >= since)
            and (until is None or one.at <= until)
        ]
        return m.Hits(hits=found[:limit], total=len(found), took_ms=0.5)

    async def outbox(self) -> m.Outbox:
        return m.Outbox(
            pending=[m.Pending(id=one.id, chat="self", state="queued", delivered=0, devices=1) for one in self.messages]
        )

    # ---- files
    async def import_messages(self, chat: str, path: Path, *, skip_bad: bool = False) -> m.Imported:
        assert path.is_absolute()
        for line in path.read_text("utf-8").splitlines():
            await self.send(chat, json.loads(line)["text"])
        return m.Imported(imported=len(self.messages), skipped=0)

    async def export(
        self, chat: str, path: Path, *, format: m.ExportFormat = "jsonl", force: bool = False
    ) -> m.Exported:
        assert path.is_absolute()
        if path.exists() and not force:
            raise KithkinError("file_exists", f"{path.name} is there already.")
        path.write_text("".join(json.dumps({"text": one.text}) + "\n" for one in self.messages), "utf-8")
        return m.Exported(exported=len(self.messages))

    async def backup(self, path: Path, passphrase: str) -> m.BackedUp:
        assert path.is_absolute() and passphrase
        return m.BackedUp(ok=True, messages=len(self.messages), bytes=2048, written=1024)

    async def forge_transcript(self, chat: str, path: Path, out: Path, *, force: bool = False) -> m.Forged:
        return m.Forged(forged=len(self.messages))


for call in CALLS.values():
    if call.name not in vars(FakeService):
        setattr(FakeService, call.name, _answer(call))


class FakeProfiles:
    """`Profiles` by folder, all with the passphrase "secret".  `networks`: those that services were opened with."""

    def __init__(self) -> None:
        self.services: dict[Path, FakeService] = {}
        self.networks: list[Network | None] = []

    async def create_profile(self, folder: Path, passphrase: str | None, *, name: str) -> m.Created:
        if folder in self.services:
            raise KithkinError("profile_exists", "There is a profile already.")
        if passphrase is None:
            raise KithkinError("no_passphrase", "No passphrase and no keyring.")
        folder.mkdir(parents=True)
        self.services[folder] = FakeService.new()
        self.services[folder].names["profile"] = check_name(name)
        return m.Created(identity="id_ada", device="device_phone", phrase=PHRASE)

    async def recover_profile(self, folder: Path, passphrase: str | None, phrase: str, *, name: str) -> m.Recovered:
        made = await self.create_profile(folder, passphrase, name=name)
        return m.Recovered(identity=made.identity, device=made.device)

    async def erase_profile(self, folder: Path) -> m.ProfileErased:
        if self.services.pop(folder, None) is None:
            raise KithkinError("profile_not_found", "There is no profile.")
        folder.rmdir()
        return m.ProfileErased()

    @contextlib.asynccontextmanager
    async def link_profile(
        self,
        folder: Path,
        passphrase: str | None,
        *,
        name: str | None = None,
        network: Network | None = None,
        wait: float = WAIT_SECONDS,
    ) -> AsyncIterator[Linking]:
        if folder in self.services:
            raise KithkinError("profile_exists", "There is a profile already.")
        yield FakeLinking()

    @contextlib.asynccontextmanager
    async def open_service(
        self, folder: Path, passphrase: str | None, *, network: Network | None = None
    ) -> AsyncIterator[Service]:
        if folder not in self.services:
            raise KithkinError("profile_not_found", "There is no profile.")
        if passphrase is None:
            raise KithkinError("no_passphrase", "No passphrase and no keyring.")
        if passphrase != "secret":
            raise KithkinError("wrong_passphrase", "The passphrase is wrong.")
        self.networks.append(network)
        self.services[folder].network = network
        yield self.services[folder]

    async def verify_backup(
        self, path: Path, passphrase: str, *, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> m.BackedUp:
        assert path.is_absolute() and passphrase == "backup"
        progress(2048, 2048)
        return m.BackedUp(ok=True, messages=3, bytes=2048)

    async def restore_backup(
        self,
        folder: Path,
        passphrase: str | None,
        path: Path,
        secret: str,
        *,
        salvage: bool = False,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> m.Restored:
        assert path.is_absolute() and secret == "backup"
        await self.create_profile(folder, passphrase, name="Ada")
        return m.Restored(ok=True, identity="id_ada", device="device_new", lost="7 rows" if salvage else "")
