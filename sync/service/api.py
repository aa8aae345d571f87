"""The one door of the house: what every face (command line, phone, desktop) may ask, in process or over the socket.

`Profiles` stands before a service: making, linking and opening profiles (`sync.service.profile` is one, as a module).
`Service` is an opened profile: one async method a command.  What cannot be done raises KithkinError with a code of
`models.CODES` and one sentence.  Cancelling a call withdraws it if it has not happened yet.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from identity.errors import KithkinError

if TYPE_CHECKING:
    from sync.service import models  # the command line starts with this file, and has no time for pydantic

__all__ = [
    "ANY_HOST",
    "DAY",
    "INVITE_SECONDS",
    "NO_HOST",
    "WAIT_SECONDS",
    "Approval",
    "KithkinError",
    "Linking",
    "Network",
    "Profiles",
    "Service",
]

DAY = 86_400
INVITE_SECONDS = 7 * DAY
WAIT_SECONDS = 120.0
ANY_HOST = "0.0.0.0"
NO_HOST = "none"


@dataclass(frozen=True, slots=True)
class Network:
    """How a node meets others.  `port` 0: the one kept in the profile.  `advertise`: the host told to peers, if not the
    bound one; `NO_HOST`: none is told, and the node is found by its keys alone.  `bootstrap`: DHT nodes as "host:port";
    empty: no DHT; None: the public network.  `lan`: be found on the local network."""

    host: str = ANY_HOST
    port: int = 0
    advertise: str | None = None
    bootstrap: tuple[str, ...] | None = ()
    lan: bool = False


class Linking(Protocol):
    """A new device that shows its text and waits.  `done` may be awaited beside `submit`; it raises `timeout`,
    `wrong_code` (after the third miss) or what the other side refused with."""

    @property
    def payload(self) -> str: ...

    async def submit(self, code: str) -> models.Wrong | None:
        """Tries six digits; waits for the approver where none is there yet.  None: they matched.  Raises
        `wrong_code` with the third miss."""
        ...

    async def done(self) -> models.Linked: ...


class Approval(Protocol):
    """A device of mine that may let another in.  Nothing has happened before `confirm`."""

    @property
    def grant(self) -> models.Grant: ...

    async def confirm(self) -> models.Digits:
        """Connects and draws the six digits to show."""
        ...

    async def done(self) -> models.Approved:
        """Waits until the digits were typed and all is stored.  Raises `wrong_code`, `timeout`, `too_many_devices`."""
        ...


class Profiles(Protocol):
    """`passphrase` None means: the OS keyring, and `no_passphrase` where it has nothing for that profile."""

    async def create_profile(self, folder: Path, passphrase: str | None, *, name: str) -> models.Created:
        """An empty or absent folder becomes a profile.  Raises `profile_exists`, `profile_in_use`,
        `profile_unreadable`, `no_passphrase`."""
        ...

    def link_profile(
        self,
        folder: Path,
        passphrase: str | None,
        *,
        name: str | None = None,
        network: Network | None = None,
        wait: float = WAIT_SECONDS,
    ) -> AbstractAsyncContextManager[Linking]:
        """As `create_profile`, but the identity comes from a device that approves."""
        ...

    def open_service(
        self, folder: Path, passphrase: str | None, *, network: Network | None = None
    ) -> AbstractAsyncContextManager[Service]:
        """Opens an existing profile for this process alone; with a network it meets peers.  Raises
        `profile_not_found`, `profile_in_use`, `profile_unreadable`, `profile_newer`, `wrong_passphrase`,
        `keystore_corrupt`, `no_passphrase`."""
        ...


class Service(Protocol):
    """One opened profile.  A chat is named by its id, or as `self`: the notes to oneself."""

    # ---- the node
    async def ready(self) -> models.Ready:
        """Returns once peers are accepted.  Raises `not_allowed` on a service without a network."""
        ...

    def events(self) -> AsyncIterator[models.Event]:
        """From now on.  A reader that stays behind loses `progress` first and is told nothing twice."""
        ...

    async def status(self) -> models.Status: ...

    async def stats(self) -> models.Stats: ...

    async def doctor(self, *, repair: bool = False) -> models.Checks: ...

    async def passphrase(self, new: str | None = None, *, keyring: bool | None = None) -> models.Changed:
        """Wraps the database key anew.  `new` None keeps the passphrase; `keyring` None leaves the keyring alone."""
        ...

    # ---- devices
    async def devices(self) -> models.Devices: ...

    async def device_rename(self, device: str, name: str) -> models.DeviceRef: ...

    def device_approve(
        self, text: str, *, history: models.History = "all", wait: float = WAIT_SECONDS
    ) -> AbstractAsyncContextManager[Approval]:
        """Raises, on entering: `not_a_pair_code`, `payload_damaged`, `expired`, `own_code`, `too_many_devices`."""
        ...

    # ---- people
    async def profile(self) -> models.Profile: ...

    async def profile_set(self, *, name: str | None = None, about: str | None = None) -> models.Profile: ...

    async def contacts(self) -> models.Contacts: ...

    async def contact_invite(self, *, expires: float = INVITE_SECONDS) -> models.Invite: ...

    async def contact_accept(self, text: str, *, wait: float = WAIT_SECONDS) -> models.Accepted:
        """Returns once both sides list the other as active.  Raises `not_an_invite`, `payload_damaged`, `expired`,
        `already_used`, `own_code`, `timeout`."""
        ...

    async def contact_rename(self, contact: str, name: str) -> models.ContactRef: ...

    async def contact_block(self, contact: str) -> models.ContactRef: ...

    async def contact_unblock(self, contact: str) -> models.ContactRef: ...

    async def contact_verify(self, contact: str, *, confirm: bool = False) -> models.Safety: ...

    # ---- chats
    async def chats(self) -> models.Chats: ...

    async def chat_new(self, title: str, contacts: Sequence[str] = ()) -> models.ChatRef: ...

    async def chat_join(self, chat: str) -> models.ChatRef: ...

    async def chat_decline(self, chat: str) -> models.ChatRef: ...

    async def chat_leave(self, chat: str) -> models.ChatRef: ...

    async def chat_rename(self, chat: str, title: str) -> models.ChatRef: ...

    async def chat_members(self, chat: str) -> models.Members: ...

    async def chat_add(self, chat: str, contact: str) -> models.ChatRef: ...

    async def chat_admin(self, chat: str, contact: str) -> models.ChatRef: ...

    async def chat_set(self, chat: str, key: str, value: str) -> models.ChatRef:
        """`history` ("all", "none") or `lifetime` (seconds, "0" for ever); another key or value is `usage`."""
        ...

    async def delete_chat(self, chat: str) -> models.ChatRef: ...

    # ---- messages
    async def send(self, chat: str, text: str, *, reply: str | None = None) -> models.Sent:
        """Returns once it is durable.  Raises `empty_text`, `text_too_long`, `text_invalid`, `not_found`,
        `not_allowed`, `disk_full`."""
        ...

    async def read(
        self,
        chat: str,
        *,
        limit: int = 50,
        before: str | None = None,
        after: str | None = None,
        wait: float = 0.0,
    ) -> models.Messages:
        """`wait`: at most so many seconds for something newer than `after`, or than the newest if that is None."""
        ...

    async def message(self, id: str, *, chat: str | None = None) -> models.Message:
        """One message as it is now, deleted ones included: the quote of a reply, or a gap in what events told.
        `chat`: look there alone, as a quote must, which its author could point at any chat.  Raises `not_found` where
        it is unknown or hidden on my devices."""
        ...

    async def mark(self, chat: str, *, upto: str | None = None) -> models.ReadUpto: ...

    async def edit(self, chat: str, message: str, text: str) -> models.MessageRef: ...

    async def delete(self, chat: str, message: str, *, everyone: bool = False) -> models.MessageRef: ...

    async def react(self, chat: str, message: str, emoji: str) -> models.MessageRef: ...

    async def cancel(self, chat: str, message: str) -> models.MessageRef: ...

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
        """`author` is an identity, a contact's name or the quoted source of imported lines."""
        ...

    async def outbox(self) -> models.Outbox: ...

    # ---- files (absolute paths, read and written by the process that owns the profile)
    async def import_messages(self, chat: str, path: Path, *, skip_bad: bool = False) -> models.Imported: ...

    async def export(
        self, chat: str, path: Path, *, format: models.ExportFormat = "jsonl", force: bool = False
    ) -> models.Exported: ...
