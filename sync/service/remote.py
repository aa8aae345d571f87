"""The same `Service`, in another process: calls go over the profile's socket to the node that runs there."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from identity.errors import DecodeError, KithkinError
from sync.service import models
from sync.service.api import INVITE_SECONDS, WAIT_SECONDS, Approval
from sync.service.frames import MAX_REPLY, MAX_REQUEST, VERSION, Greeting, Reply, address, line_of, parse, read_line
from sync.service.text import check_query

Result = TypeVar("Result", bound=models.Line)
MAX_WAITING = 65_536
STOPPED = "The node stopped before it answered; look whether it was done."


@functools.cache
def event_adapter() -> TypeAdapter[models.Event]:
    return TypeAdapter(models.Event)


async def connect(folder: Path) -> SocketService | None:
    """The service of the node that runs on that profile, None where none runs."""
    try:
        with address(folder) as path:
            reader, writer = await asyncio.open_unix_connection(path, limit=MAX_REPLY)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        return None
    except OSError as error:
        raise KithkinError("profile_unreadable", f"The profile's socket cannot be used: {error.strerror}.") from error
    line = await read_line(reader)
    try:
        greeting = parse(Greeting, line or b"")
    except DecodeError:
        greeting = None
    if greeting is None or greeting.service != VERSION:
        writer.close()
        raise KithkinError("profile_in_use", "A node of another version runs on this profile; stop it first.")
    return SocketService(reader, writer)


class Call:
    """One request and the replies to it.  Leaving it early withdraws it."""

    def __init__(self, service: SocketService, number: int) -> None:
        self._service = service
        self._number = number
        self.replies: asyncio.Queue[Reply] = asyncio.Queue(MAX_WAITING)
        self.closed = False

    async def answer(self) -> dict[str, Any]:
        """The next item or the value, where there must be one.  Raises the server's KithkinError."""
        if (answer := await self.next()) is None:
            raise KithkinError("timeout", STOPPED)
        return answer

    async def next(self) -> dict[str, Any] | None:
        """As `answer`, but None at the end."""
        if self.closed:
            return None
        reply = await self.replies.get()
        if reply.item is not None:
            return reply.item
        self.closed = True
        self._service.forget(self._number)
        if reply.error is not None:
            raise KithkinError(reply.error.code, reply.error.message)
        return reply.value

    def input(self, word: str) -> None:
        self._service.write({"id": self._number, "input": word})

    def cancel(self) -> None:
        if not self.closed:
            self.closed = True
            self._service.forget(self._number)
            with contextlib.suppress(KithkinError):
                self._service.write({"id": self._number, "cancel": True})


class Events:
    """The stream of events, from the moment it was asked for."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def __aiter__(self) -> AsyncIterator[models.Event]:
        return self

    async def __anext__(self) -> models.Event:
        item = await self._call.next()
        if item is None:
            raise StopAsyncIteration
        return event_adapter().validate_python(item)

    async def aclose(self) -> None:
        self._call.cancel()


class SocketApproval:
    """`Approval` over the socket."""

    def __init__(self, call: Call, grant: models.Grant) -> None:
        self._call = call
        self._grant = grant

    @property
    def grant(self) -> models.Grant:
        return self._grant

    async def confirm(self) -> models.Digits:
        self._call.input("confirm")
        return models.Digits.model_validate(await self._call.answer())

    async def done(self) -> models.Approved:
        return models.Approved.model_validate(await self._call.answer())


class SocketService:
    """A connected `Service`.  `async with` closes the connection; calls under way then raise."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._calls: dict[int, Call] = {}
        self._last = 0
        self._gone = False
        self._pump = asyncio.create_task(self._read())

    async def __aenter__(self) -> SocketService:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        self._pump.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._pump
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _read(self) -> None:
        reason = STOPPED
        try:
            while (line := await read_line(self._reader)) is not None:
                reply = parse(Reply, line)
                call = self._calls.get(reply.id)
                if call is not None and not call.replies.full():
                    call.replies.put_nowait(reply)
                elif call is None and reply.id == 0 and reply.error is not None:
                    reason = reply.error.message
        except DecodeError as error:
            reason = f"The node's answer cannot be read: {error}."
        finally:
            self._gone = True
            problem = models.Problem(code="timeout", message=reason)
            for number, call in list(self._calls.items()):
                if call.replies.full():
                    call.replies.get_nowait()
                call.replies.put_nowait(Reply(id=number, error=problem))

    def write(self, request: dict[str, Any]) -> None:
        if self._gone:
            raise KithkinError("timeout", "The node has stopped.")
        self._writer.write(line_of(request, MAX_REQUEST))

    def forget(self, number: int) -> None:
        self._calls.pop(number, None)

    def _begin(self, call: str, args: dict[str, Any]) -> Call:
        self._last += 1
        begun = Call(self, self._last)
        self.write({"id": self._last, "call": call, "args": args})
        self._calls[self._last] = begun
        return begun

    async def _ask(self, call: str, result: type[Result], **args: Any) -> Result:
        begun = self._begin(call, args)
        try:
            return result.model_validate(await begun.answer())
        finally:
            begun.cancel()

    # ---- the node
    async def ready(self) -> models.Ready:
        return await self._ask("ready", models.Ready)

    def events(self) -> AsyncIterator[models.Event]:
        return Events(self._begin("events", {}))

    async def status(self) -> models.Status:
        return await self._ask("status", models.Status)

    async def stats(self) -> models.Stats:
        return await self._ask("stats", models.Stats)

    async def doctor(self, *, repair: bool = False) -> models.Checks:
        return await self._ask("doctor", models.Checks, repair=repair)

    async def passphrase(self, new: str | None = None, *, keyring: bool | None = None) -> models.Changed:
        return await self._ask("passphrase", models.Changed, new=new, keyring=keyring)

    # ---- devices
    async def devices(self) -> models.Devices:
        return await self._ask("devices", models.Devices)

    async def device_rename(self, device: str, name: str) -> models.DeviceRef:
        return await self._ask("device_rename", models.DeviceRef, device=device, name=name)

    @contextlib.asynccontextmanager
    async def device_approve(
        self, text: str, *, history: models.History = "all", wait: float = WAIT_SECONDS
    ) -> AsyncIterator[Approval]:
        call = self._begin("device_approve", {"text": text, "history": history, "wait": wait})
        try:
            yield SocketApproval(call, models.Grant.model_validate(await call.answer()))
        finally:
            call.cancel()

    # ---- people
    async def profile(self) -> models.Profile:
        return await self._ask("profile", models.Profile)

    async def profile_set(self, *, name: str | None = None, about: str | None = None) -> models.Profile:
        return await self._ask("profile_set", models.Profile, name=name, about=about)

    async def contacts(self) -> models.Contacts:
        return await self._ask("contacts", models.Contacts)

    async def contact_invite(self, *, expires: float = INVITE_SECONDS) -> models.Invite:
        return await self._ask("contact_invite", models.Invite, expires=expires)

    async def contact_accept(self, text: str, *, wait: float = WAIT_SECONDS) -> models.Accepted:
        return await self._ask("contact_accept", models.Accepted, text=text, wait=wait)

    async def contact_rename(self, contact: str, name: str) -> models.ContactRef:
        return await self._ask("contact_rename", models.ContactRef, contact=contact, name=name)

    async def contact_block(self, contact: str) -> models.ContactRef:
        return await self._ask("contact_block", models.ContactRef, contact=contact)

    async def contact_unblock(self, contact: str) -> models.ContactRef:
        return await self._ask("contact_unblock", models.ContactRef, contact=contact)

    async def contact_verify(self, contact: str, *, confirm: bool = False) -> models.Safety:
        return await self._ask("contact_verify", models.Safety, contact=contact, confirm=confirm)

    # ---- chats
    async def chats(self) -> models.Chats:
        return await self._ask("chats", models.Chats)

    async def chat_new(self, title: str, contacts: Sequence[str] = ()) -> models.ChatRef:
        return await self._ask("chat_new", models.ChatRef, title=title, contacts=list(contacts))

    async def chat_join(self, chat: str) -> models.ChatRef:
        return await self._ask("chat_join", models.ChatRef, chat=chat)

    async def chat_decline(self, chat: str) -> models.ChatRef:
        return await self._ask("chat_decline", models.ChatRef, chat=chat)

    async def chat_leave(self, chat: str) -> models.ChatRef:
        return await self._ask("chat_leave", models.ChatRef, chat=chat)

    async def chat_rename(self, chat: str, title: str) -> models.ChatRef:
        return await self._ask("chat_rename", models.ChatRef, chat=chat, title=title)

    async def chat_members(self, chat: str) -> models.Members:
        return await self._ask("chat_members", models.Members, chat=chat)

    async def chat_add(self, chat: str, contact: str) -> models.ChatRef:
        return await self._ask("chat_add", models.ChatRef, chat=chat, contact=contact)

    async def chat_admin(self, chat: str, contact: str) -> models.ChatRef:
        return await self._ask("chat_admin", models.ChatRef, chat=chat, contact=contact)

    async def chat_set(self, chat: str, key: str, value: str) -> models.ChatRef:
        return await self._ask("chat_set", models.ChatRef, chat=chat, key=key, value=value)

    async def delete_chat(self, chat: str) -> models.ChatRef:
        return await self._ask("delete_chat", models.ChatRef, chat=chat)

    # ---- messages
    async def send(self, chat: str, text: str, *, reply: str | None = None) -> models.Sent:
        return await self._ask("send", models.Sent, chat=chat, text=text, reply=reply)

    async def read(
        self,
        chat: str,
        *,
        limit: int = 50,
        before: str | None = None,
        after: str | None = None,
        wait: float = 0.0,
    ) -> models.Messages:
        args = {"limit": limit, "before": before, "after": after, "wait": wait}
        return await self._ask("read", models.Messages, chat=chat, **args)

    async def message(self, id: str, *, chat: str | None = None) -> models.Message:
        return await self._ask("message", models.Message, id=id, chat=chat)

    async def mark(self, chat: str, *, upto: str | None = None) -> models.ReadUpto:
        return await self._ask("mark", models.ReadUpto, chat=chat, upto=upto)

    async def edit(self, chat: str, message: str, text: str) -> models.MessageRef:
        return await self._ask("edit", models.MessageRef, chat=chat, message=message, text=text)

    async def delete(self, chat: str, message: str, *, everyone: bool = False) -> models.MessageRef:
        return await self._ask("delete", models.MessageRef, chat=chat, message=message, everyone=everyone)

    async def react(self, chat: str, message: str, emoji: str) -> models.MessageRef:
        return await self._ask("react", models.MessageRef, chat=chat, message=message, emoji=emoji)

    async def cancel(self, chat: str, message: str) -> models.MessageRef:
        return await self._ask("cancel", models.MessageRef, chat=chat, message=message)

    async def search(
        self,
        query: str,
        *,
        chat: str | None = None,
        author: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        sort: models.Sort = "time",
        limit: int = 20,
    ) -> models.Hits:
        args = {"chat": chat, "author": author, "since": since, "until": until, "sort": sort, "limit": limit}
        return await self._ask("search", models.Hits, query=check_query(query), **args)

    async def outbox(self) -> models.Outbox:
        return await self._ask("outbox", models.Outbox)

    # ---- files
    async def import_messages(self, chat: str, path: Path, *, skip_bad: bool = False) -> models.Imported:
        return await self._ask("import_messages", models.Imported, chat=chat, path=path, skip_bad=skip_bad)

    async def export(
        self, chat: str, path: Path, *, format: models.ExportFormat = "jsonl", force: bool = False
    ) -> models.Exported:
        return await self._ask("export", models.Exported, chat=chat, path=path, format=format, force=force)
