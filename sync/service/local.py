"""The service of a profile that this process has opened: each call changes the engine, settles it, and answers.

One method a command (`api.Service`); what they do stands in `chats`, `messages`, `contacts`, `importing`, `exporting`,
`indexing`.  Whatever waits keeps ids: a store that refuses makes the profile be read again, with spaces that are new.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from identity.errors import KithkinError
from identity.inner import Failed
from identity.invite import InviteDone
from sync.engine.effects import ContactChanged
from sync.engine.onboarding.onboarding import Flow
from sync.engine.profile import Profile
from sync.service import chats, contacts, delivery, doctor, exporting, messages, models
from sync.service import network as standing
from sync.service.api import INVITE_SECONDS, WAIT_SECONDS, Approval
from sync.service.approval import PendingApproval
from sync.service.ids import chat_id, device_id, find_chat, find_space, identity_id, message_id, space_of
from sync.service.importing import Importer
from sync.service.indexing import STEP, Indexing
from sync.service.names import chat_title, person_name
from sync.service.node import Node, address_of, hints_of
from sync.service.steps import TIMEOUT, failure_of, next_step
from sync.service.text import check_query
from sync.space import timeline
from sync.space.space import Space
from sync.store.port import Table, prefix_end

T = TypeVar("T")
Rewrap = Callable[[str | None, bool | None], None]  # (new passphrase, keyring on or off)
INDEX_PAUSE = 0.5  # seconds of quiet before new messages go into the index
INDEX_RETRY = 30.0  # seconds until an index that failed is tried again


class LocalService:
    """Implements `api.Service` on a node.  `rewrap` changes how the database key is wrapped."""

    def __init__(self, node: Node, indexing: Indexing, rewrap: Rewrap, folder: Path) -> None:
        self._node = node
        self._indexing = indexing
        self._rewrap = rewrap
        self._folder = folder
        self._importing = asyncio.Lock()
        self._background: asyncio.Task[None] | None = None

    async def __aenter__(self) -> LocalService:
        if self._node.host is not None:
            self._background = asyncio.create_task(self._keep_indexed())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._background is not None:
            self._background.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._background

    async def _keep_indexed(self) -> None:
        """Feeds the index once the node has been quiet for a moment, or much has come; a search waits for neither.
        What fails is tried again after a pause: a refusal is for `doctor`, a defect is told once through the loop."""
        last, told = 0, False
        while True:
            await asyncio.sleep(INDEX_PAUSE)
            try:
                count = self._indexing.waiting()
                if count and (count == last or count >= STEP):
                    await self._indexing.catch_up(patient=True)
                    count = 0
                last = count
            except KithkinError:
                await asyncio.sleep(INDEX_RETRY)
            except Exception as defect:
                if not told:
                    context = {"message": "The search index is not being fed.", "exception": defect}
                    asyncio.get_running_loop().call_exception_handler(context)
                told = True
                await asyncio.sleep(INDEX_RETRY)

    @property
    def node(self) -> Node:
        return self._node

    @property
    def _profile(self) -> Profile:
        return self._node.engine.profile

    def _now_ms(self) -> int:
        return int(self._node.clock() * 1000)

    def _do(self, change: Callable[[], T]) -> T:
        """One change and the turn that makes it durable.  A refusal leaves nothing half done."""
        try:
            result = change()
        except BaseException:
            # What a refused call may have put into the open batch goes with the memory that knows of it.
            if len(self._profile.context.batch) or self._profile.dirty:
                self._node.engine.start_over()
                self._node.turn()
            raise
        self._node.turn()
        return result

    # -- the node ---------------------------------------------------------------------------------------------

    async def ready(self) -> models.Ready:
        address = self._node.address
        if address is None:
            raise KithkinError("not_allowed", "This service runs without a network.")
        host = "127.0.0.1" if address[0] == "0.0.0.0" else address[0]
        account = self._profile.account
        return models.Ready(
            identity=identity_id(account.identity), device=device_id(account.device), address=f"{host}:{address[1]}"
        )

    def events(self) -> AsyncIterator[models.Event]:
        return self._node.events()

    async def status(self) -> models.Status:
        profile, account, node = self._profile, self._profile.account, self._node
        feeds = [feed for space in profile.spaces.values() for feed in space.feed_store.feeds.values()]
        address = node.address
        return models.Status(
            identity=identity_id(account.identity),
            device=device_id(account.device),
            online=node.host is not None,
            peers=standing.peers(node),
            dht=standing.dht(node),
            pending=len(self._pending()),
            feeds=len(feeds),
            entries=sum(feed.length for feed in feeds),
            address=f"{address[0]}:{address[1]}" if address is not None else None,
            name=profile.view.profile.name or "",
        )

    async def stats(self) -> models.Stats:
        profile = self._profile
        counts: Counter[tuple[bytes, str]] = Counter()
        storage: list[models.ChatStorage] = []
        for id_ in list(profile.view.chats):
            if id_ not in profile.spaces:
                continue
            total = 0
            after: bytes | None = b""
            while True:
                rows = timeline.page(profile.store, id_, 1000, after=after)
                space = space_of(profile, id_)
                for row in rows:
                    total += 1
                    member = space.state.members.get(row.member)
                    if member is not None:
                        counts[member.identity, messages.moment(row.at).strftime("%Y-%m")] += 1
                if len(rows) < 1000:
                    break
                after = rows[-1].key()
                await asyncio.sleep(0)
            octets = 0
            for feed in space_of(profile, id_).feed_store.feeds.values():
                number = feed.number.to_bytes(4, "big")
                octets += profile.store.extent(Table.ENTRY, number, prefix_end(number)).octets
            storage.append(
                models.ChatStorage(chat=chat_id(id_), title=chat_title(profile, id_), messages=total, bytes=octets)
            )
        people = [
            models.PersonMonth(
                identity=identity_id(identity), name=person_name(profile, identity), month=month, messages=count
            )
            for (identity, month), count in sorted(counts.items(), key=lambda item: (item[0][1], item[0][0]))
        ]
        return models.Stats(messages=people, storage=storage)

    async def doctor(self, *, repair: bool = False) -> models.Checks:
        return await doctor.examine(self._profile, self._indexing, self._folder, repair)

    async def passphrase(self, new: str | None = None, *, keyring: bool | None = None) -> models.Changed:
        await asyncio.to_thread(self._rewrap, new, keyring)
        return models.Changed()

    # -- devices ----------------------------------------------------------------------------------------------

    async def devices(self) -> models.Devices:
        return contacts.list_devices(self._profile, self._now_ms())

    async def device_rename(self, device: str, name: str) -> models.DeviceRef:
        found = self._do(lambda: contacts.rename_device(self._profile, device, name, self._now_ms()))
        return models.DeviceRef(device=device_id(found))

    @contextlib.asynccontextmanager
    async def device_approve(
        self, text: str, *, history: models.History = "all", wait: float = WAIT_SECONDS
    ) -> AsyncIterator[Approval]:
        payload = self._node.engine.onboarding.check_approve(text, self._node.clock())
        grants = [
            "It becomes a device of yours: it reads and writes everything that this device does.",
            "It gets your contacts, your profile and your list of chats.",
            "It gets your whole message history." if history == "all" else "It gets no messages from before now.",
            "Your other devices are told, and any of them can undo this.",
        ]
        grant = models.Grant(grants=grants, history=history, expires=messages.moment(payload.expires * 1000))

        def start() -> int:
            return self._node.engine.onboarding.approve(payload, history == "all", self._node.clock())

        async with contextlib.AsyncExitStack() as stack:
            yield PendingApproval(self._node, grant, start, stack, wait)

    # -- people -----------------------------------------------------------------------------------------------

    async def profile(self) -> models.Profile:
        return contacts.own_profile(self._profile)

    async def profile_set(self, *, name: str | None = None, about: str | None = None) -> models.Profile:
        return self._do(lambda: contacts.set_profile(self._profile, name, about, self._now_ms()))

    async def contacts(self) -> models.Contacts:
        return contacts.list_contacts(self._profile)

    async def contact_invite(self, *, expires: float = INVITE_SECONDS) -> models.Invite:
        if not 1 <= expires <= 366 * 86_400:
            raise KithkinError("usage", "An invite lasts between a second and a year.")
        node = self._node
        hints: list[tuple[str, int]] = []
        if node.network is not None and node.address is not None:
            hints = [a for text in hints_of(node.network, node.address) if (a := address_of(text)) is not None]
        else:
            hints = [a for text in self._profile.last_hints() if (a := address_of(text)) is not None]
        code = self._do(lambda: node.engine.onboarding.invite(node.clock(), int(expires), hints[:6]))
        return models.Invite(invite=code.payload.text, expires=messages.moment(code.payload.expires * 1000))

    async def contact_accept(self, text: str, *, wait: float = WAIT_SECONDS) -> models.Accepted:
        people, node = self._node.engine.onboarding, self._node
        deadline = asyncio.get_running_loop().time() + wait
        while True:
            flow = people.accept(text, node.clock())
            with node.steps(flow) as steps:
                node.turn()
                step = await next_step(steps, deadline)
            if isinstance(step, tuple) and isinstance(step[0], InviteDone):
                met = step[1]
                if not isinstance(met, Flow) or met.person is None:
                    raise TIMEOUT
                await self._let_in(met.space, deadline)
                return models.Accepted(contact=identity_id(met.person.identity), chat=chat_id(met.space))
            failure = failure_of(step)
            if isinstance(failure, Failed) and failure.code != "timeout":
                raise KithkinError(failure.code, failure.sentence)
            # Nobody there yet: the inviter's node may start in the time we were given.
            if asyncio.get_running_loop().time() + 0.3 >= deadline:
                raise TIMEOUT
            await asyncio.sleep(0.3)

    async def _let_in(self, id_: bytes, deadline: float) -> None:
        """Waits for the entry that lets this device write in a chat, so that who accepts can write at once."""
        loop = asyncio.get_running_loop()
        while (left := deadline - loop.time()) > 0:
            space = self._profile.spaces.get(id_)
            if space is None or (space.mine is not None and space.state.open(space.mine.core)):
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):  # `wait_for` of 3.11 may swallow a Ctrl-C
                    await self._node.changed(id_).wait()

    async def contact_rename(self, contact: str, name: str) -> models.ContactRef:
        return self._contact(lambda: contacts.rename(self._profile, contact, name, self._now_ms()))

    async def contact_block(self, contact: str) -> models.ContactRef:
        return self._contact(lambda: contacts.block(self._profile, contact, True, self._now_ms()))

    async def contact_unblock(self, contact: str) -> models.ContactRef:
        return self._contact(lambda: contacts.block(self._profile, contact, False, self._now_ms()))

    def _contact(self, change: Callable[[], bytes]) -> models.ContactRef:
        def changed() -> bytes:
            identity = change()
            self._profile.effects.append(ContactChanged(identity))
            return identity

        return models.ContactRef(contact=identity_id(self._do(changed)))

    async def contact_verify(self, contact: str, *, confirm: bool = False) -> models.Safety:
        return self._do(lambda: contacts.verify(self._profile, contact, confirm, self._now_ms()))

    # -- chats ------------------------------------------------------------------------------------------------

    async def chats(self) -> models.Chats:
        return chats.list_chats(self._profile, self._now_ms())

    async def chat_new(self, title: str, contacts: Sequence[str] = ()) -> models.ChatRef:
        return self._chat(lambda: chats.new_group(self._profile, title, contacts, self._now_ms()))

    async def chat_join(self, chat: str) -> models.ChatRef:
        return self._chat(lambda: chats.join(self._profile, self._node.engine.onboarding, chat, self._now_ms()))

    async def chat_decline(self, chat: str) -> models.ChatRef:
        return self._chat(lambda: chats.decline(self._profile, chat, self._now_ms()))

    async def chat_leave(self, chat: str) -> models.ChatRef:
        return self._chat(lambda: chats.leave(self._profile, chat, self._now_ms()))

    async def chat_rename(self, chat: str, title: str) -> models.ChatRef:
        return self._chat(lambda: chats.rename(self._profile, chat, title, self._now_ms()))

    async def chat_members(self, chat: str) -> models.Members:
        return chats.members(self._profile, chat)

    async def chat_add(self, chat: str, contact: str) -> models.ChatRef:
        return self._chat(lambda: chats.add(self._profile, chat, contact, self._now_ms()))

    async def chat_admin(self, chat: str, contact: str) -> models.ChatRef:
        return self._chat(lambda: chats.admin(self._profile, chat, contact, self._now_ms()))

    async def chat_set(self, chat: str, key: str, value: str) -> models.ChatRef:
        return self._chat(lambda: chats.set_value(self._profile, chat, key, value, self._now_ms()))

    async def delete_chat(self, chat: str) -> models.ChatRef:
        return self._chat(lambda: chats.delete_chat(self._profile, chat, self._now_ms()))

    def _chat(self, change: Callable[[], bytes]) -> models.ChatRef:
        return models.ChatRef(chat=chat_id(self._do(change)))

    # -- messages ---------------------------------------------------------------------------------------------

    async def send(self, chat: str, text: str, *, reply: str | None = None) -> models.Sent:
        space = find_space(self._profile, chat)
        id_ = self._do(lambda: messages.send(self._profile, space, text, reply, self._now_ms()))
        return models.Sent(id=message_id(id_), state="queued")

    async def read(
        self,
        chat: str,
        *,
        limit: int = 50,
        before: str | None = None,
        after: str | None = None,
        wait: float = 0.0,
    ) -> models.Messages:
        id_ = find_space(self._profile, chat).id
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        if wait > 0 and after is None:
            newest = messages.read(self._profile, space_of(self._profile, id_), 1, None, None, self._now_ms()).messages
            after = newest[-1].id if newest else None
            if not newest:
                await self._first(id_, deadline)
        while True:
            space = space_of(self._profile, id_)
            page = messages.read(self._profile, space, limit, before, after, self._now_ms())
            left = deadline - loop.time()
            if page.messages or left <= 0:
                return page
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):  # `wait_for` of 3.11 may swallow a Ctrl-C
                    await self._node.changed(id_).wait()

    async def _first(self, id_: bytes, deadline: float) -> None:
        """Waits for the first message of an empty chat."""
        loop = asyncio.get_running_loop()
        while not timeline.page(self._profile.store, id_, 1) and (left := deadline - loop.time()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):  # `wait_for` of 3.11 may swallow a Ctrl-C
                    await self._node.changed(id_).wait()

    async def mark(self, chat: str, *, upto: str | None = None) -> models.ReadUpto:
        space = find_space(self._profile, chat)
        id_ = self._do(lambda: messages.mark(self._profile, space, upto, self._now_ms()))
        return models.ReadUpto(read_upto=message_id(id_) if id_ is not None else None)

    async def edit(self, chat: str, message: str, text: str) -> models.MessageRef:
        return self._message(lambda space: messages.edit(self._profile, space, message, text, self._now_ms()), chat)

    async def delete(self, chat: str, message: str, *, everyone: bool = False) -> models.MessageRef:
        return self._message(
            lambda space: messages.delete(self._profile, space, message, everyone, self._now_ms()), chat
        )

    async def react(self, chat: str, message: str, emoji: str) -> models.MessageRef:
        return self._message(lambda space: messages.react(self._profile, space, message, emoji, self._now_ms()), chat)

    async def cancel(self, chat: str, message: str) -> models.MessageRef:
        return self._message(lambda space: messages.cancel(self._profile, space, message, self._now_ms()), chat)

    def _message(self, change: Callable[[Space], bytes], chat: str) -> models.MessageRef:
        space = find_space(self._profile, chat)
        return models.MessageRef(id=message_id(self._do(lambda: change(space))))

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
        check_query(query)
        return await self._indexing.find(query, chat, author, since, until, sort, limit)

    def _pending(self) -> list[models.Pending]:
        profile, now_ms = self._profile, self._now_ms()
        found = []
        for id_ in profile.view.chats:
            space = profile.spaces.get(id_)
            if space is None:
                continue
            reach = delivery.reach(space, profile.account.device)
            for row, one in delivery.pending(space, reach, now_ms):
                found.append(
                    models.Pending(
                        id=message_id(row.id),
                        chat=chat_id(id_),
                        state=one.state,
                        delivered=one.delivered,
                        devices=one.devices,
                    )
                )
        return found

    async def outbox(self) -> models.Outbox:
        return models.Outbox(pending=self._pending())

    # -- files ------------------------------------------------------------------------------------------------

    async def import_messages(self, chat: str, path: Path, *, skip_bad: bool = False) -> models.Imported:
        async with self._importing:
            importer = Importer(self._profile, find_chat(self._profile, chat), path, skip_bad)
            try:
                more = True
                while more:
                    step = self._do(lambda: importer.step(self._now_ms()))
                    if step.bad is not None:
                        raise step.bad
                    more = step.more
                    await asyncio.sleep(0)
            finally:
                importer.close()
            return importer.result

    async def export(
        self, chat: str, path: Path, *, format: models.ExportFormat = "jsonl", force: bool = False
    ) -> models.Exported:
        id_, now_ms = find_chat(self._profile, chat), self._now_ms()
        write = exporting.export_pages if format == "yjs" else exporting.export_lines
        return models.Exported(exported=await write(self._profile, id_, path, force, now_ms))
