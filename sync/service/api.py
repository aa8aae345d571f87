"""The service API: what an app may ask (command line, phone, desktop, a program of yours).

`Profiles` makes, links and opens profiles on disk; the module `sync.service.profiles` is one.  `Service` is an opened
profile, with one method a command: `sync.service.local.LocalService` in the process that opened it,
`sync.service.remote.SocketService` in any other process of the same user.  A refusal is a KithkinError with a code of
`models.CODES` and one sentence.  Cancelling a call withdraws it, unless it has happened already.

Ids are the texts that answers hold (`chat_...`, `msg_...`, `id_...`, `dev_...`).  Every method with such an argument
raises `not_found` where this profile knows nothing of that id.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
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
    """A new device that shows its text and waits for a device that approves it."""

    @property
    def payload(self) -> str:
        """The text to show, as text or QR code."""
        ...

    async def submit(self, code: str) -> models.Wrong | None:
        """Tries six digits; waits for the approver where none is there yet.  None: they matched.  Raises
        `wrong_code` with the third miss."""
        ...

    async def done(self) -> models.Linked:
        """Waits until the device is linked; may be awaited beside `submit`.  Raises `timeout`, `wrong_code` (after the
        third miss) or what the other side refused with."""
        ...


class Approval(Protocol):
    """A new device that waits for my consent.  Nothing happens before `confirm`."""

    @property
    def grant(self) -> models.AccessGrant:
        """What the new device would get."""
        ...

    async def confirm(self) -> models.Digits:
        """Connects and draws the six digits to show."""
        ...

    async def done(self) -> models.Approved:
        """Waits until the digits were typed and all is stored.  Raises `wrong_code`, `timeout`, `too_many_devices`."""
        ...


class Profiles(Protocol):
    """Profiles on disk.  `passphrase` None means that of the OS keyring, and `no_passphrase` where it has none."""

    async def create_profile(self, folder: Path, passphrase: str | None, *, name: str) -> models.Created:
        """An empty or absent folder becomes a profile.  Raises `profile_exists`, `profile_in_use`,
        `profile_unreadable`, `no_passphrase`."""
        ...

    async def recover_profile(
        self, folder: Path, passphrase: str | None, phrase: str, *, name: str
    ) -> models.Recovered:
        """As `create_profile`, but the identity is that of 24 words, and all its other devices are out.  The node then
        looks for a copy of the contacts and chats.  Raises `phrase_invalid`."""
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

    async def erase_profile(self, folder: Path) -> models.ProfileErased:
        """Everything of a profile goes from this machine, its keys first, the keyring's included; nobody is told.  What
        was interrupted is finished by another call.  Raises `profile_not_found`, `profile_in_use`."""
        ...

    async def verify_backup(
        self, path: Path, passphrase: str, *, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> models.BackedUp:
        """Reads a whole backup, without any profile; `progress` is told of bytes, in a thread.  Raises `not_found`,
        `wrong_passphrase`, and `backup_damaged` with what is lost and what can still be saved."""
        ...

    async def restore_backup(
        self,
        folder: Path,
        passphrase: str | None,
        path: Path,
        secret: str,
        *,
        salvage: bool = False,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> models.Restored:
        """An empty or absent folder becomes a profile: a new device with everything that the backup holds.  `secret`
        is the backup's passphrase.  All of the file is checked before anything is written; `salvage` takes what a
        damaged one still holds.  Raises as `create_profile` and `verify_backup`."""
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
        """What happens from now on, until the node stops.  A reader that is too slow finds a `GapEvent` in place
        of what it lost."""
        ...

    async def status(self) -> models.Status:
        """What the node is doing: peers, network, what waits to be delivered."""
        ...

    async def stats(self) -> models.Stats:
        """Messages by person and month, and storage by chat."""
        ...

    async def doctor(self, *, repair: bool = False) -> models.Checks:
        """Reads everything once and checks it; `repair` makes again what can be made from the rest."""
        ...

    async def passphrase(self, new: str | None = None, *, keyring: bool | None = None) -> models.Changed:
        """Wraps the database key anew.  `new` None keeps the passphrase; `keyring` None leaves the keyring alone."""
        ...

    # ---- devices
    async def devices(self) -> models.Devices:
        """My active devices, oldest first, then those that were shut out."""
        ...

    async def device_rename(self, device: str, name: str) -> models.DeviceRef:
        """Gives a device of mine another name.  Raises `empty_text`, `text_too_long`, `text_invalid`."""
        ...

    async def device_revocation(self, device: str) -> models.Revocation:
        """What `device_revoke` would do.  Raises `not_allowed` for this device and for one that is out already."""
        ...

    async def device_keep(self, phrase: str, devices: list[str]) -> models.Kept:
        """By the 24 words: this device and those named, by id or name, are my devices, and all others are out; one that
        was shut out before is back.  Raises `phrase_invalid`, `not_found`, `not_allowed` for a name that several have,
        `too_many_devices`."""
        ...

    async def device_revoke(self, device: str) -> models.Revoked:
        """Shuts a device of mine out and keys every space anew; returns once that is durable here.  Raises as
        `device_revocation`."""
        ...

    def device_approve(
        self, text: str, *, history: models.History = "all", wait: float = WAIT_SECONDS
    ) -> AbstractAsyncContextManager[Approval]:
        """Lets a new device in, whose text this is.  Raises, on entering: `not_a_pair_code`, `payload_damaged`,
        `expired`, `own_code`, `too_many_devices`."""
        ...

    # ---- people
    async def profile(self) -> models.PublicProfile:
        """My identity, name and line about me."""
        ...

    async def profile_set(self, *, name: str | None = None, about: str | None = None) -> models.PublicProfile:
        """Changes what is given; contacts see it.  Raises `empty_text`, `text_too_long`, `text_invalid`."""
        ...

    async def contacts(self) -> models.Contacts:
        """My contacts by name."""
        ...

    async def contact_invite(self, *, expires: float = INVITE_SECONDS) -> models.Invite:
        """Makes a text with which one person becomes a contact, good for so many seconds."""
        ...

    async def contact_accept(self, text: str, *, wait: float = WAIT_SECONDS) -> models.Accepted:
        """Accepts an invite; returns once both sides list the other as active.  Raises `not_an_invite`,
        `payload_damaged`, `expired`, `already_used`, `own_code`, `timeout`."""
        ...

    async def contact_rename(self, contact: str, name: str) -> models.ContactRef:
        """Sets my own name for a contact; an empty one goes back to theirs.  Raises `text_too_long`, `text_invalid`."""
        ...

    async def contact_block(self, contact: str) -> models.ContactRef:
        """Refuses connections, messages and offers of a contact."""
        ...

    async def contact_unblock(self, contact: str) -> models.ContactRef:
        """Takes a block back."""
        ...

    async def contact_verify(self, contact: str, *, confirm: bool = False) -> models.Safety:
        """The number to compare with a contact; `confirm` says that it was equal."""
        ...

    # ---- chats
    async def chats(self) -> models.Chats:
        """My chats, the one with the newest message first."""
        ...

    async def chat_new(self, title: str, contacts: Sequence[str] = ()) -> models.ChatRef:
        """Makes a group; each contact is offered a place.  Raises `too_many_members`, `not_allowed`."""
        ...

    async def chat_join(self, chat: str) -> models.ChatRef:
        """Accepts an offer; who made it lets us in when they hear of it.  Raises `not_allowed`."""
        ...

    async def chat_decline(self, chat: str) -> models.ChatRef:
        """Refuses an offer.  Raises `not_allowed` where there is none."""
        ...

    async def chat_leave(self, chat: str) -> models.ChatRef:
        """Leaves a group.  Raises `not_allowed`."""
        ...

    async def chat_rename(self, chat: str, title: str) -> models.ChatRef:
        """Gives a group another title.  Raises `not_allowed`, `empty_text`, `text_too_long`, `text_invalid`."""
        ...

    async def chat_members(self, chat: str) -> models.Members:
        """Who is in a chat, who was, and whom I invited."""
        ...

    async def chat_add(self, chat: str, contact: str) -> models.ChatRef:
        """Offers a contact a place in a group.  Raises `not_allowed`, `too_many_members`."""
        ...

    async def chat_admin(self, chat: str, contact: str) -> models.ChatRef:
        """Makes a member an admin.  Raises `not_allowed`."""
        ...

    async def chat_demote(self, chat: str, contact: str) -> models.ChatRef:
        """Makes an admin a member again: ends their membership, and asks their devices back, which come by themselves
        as soon as they hear of it.  What they did as an admin stays.  contact: an id as `chat_members` gives it.
        Raises `not_allowed`, `not_found`."""
        ...

    async def chat_restart(self, chat: str, without: Sequence[str] = ()) -> models.Restarted:
        """Goes on with a group in a new one that this person leads, with everybody but those left out: for a group
        whose creator lost every device.  The others' devices go along by themselves where all statements show that
        loss and nobody who is there is left out; else they ask.  The chat keeps its id and its history.  without: ids
        as `chat_members` gives them.  Raises `not_allowed`, `not_found`, `too_many_members`."""
        ...

    async def chat_remove(self, chat: str, contact: str) -> models.ChatRef:
        """Removes a person from a group: what is written from then on, no device of theirs can read.  They keep what
        they have.  contact: an id as `chat_members` gives it.  Raises `not_allowed`, `not_found`."""
        ...

    async def chat_set(self, chat: str, key: str, value: str) -> models.ChatRef:
        """Sets `history` ("all", "none") or `lifetime` (seconds, "0" for ever); another key or value is `usage`."""
        ...

    async def delete_chat(self, chat: str) -> models.ChatRef:
        """Deletes everything so far in a chat from my devices; what others hold stays, and a later message shows the
        chat again with what is new."""
        ...

    # ---- messages
    async def send(self, chat: str, text: str, *, reply: str | None = None) -> models.Sent:
        """Writes a message, `reply` to another one; returns once it is durable.  Raises `empty_text`, `text_too_long`,
        `text_invalid`, `not_found`, `not_allowed`, `disk_full`."""
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
        """A page of a chat, oldest first: the newest messages, or those next to `before` or `after`.  `wait`: at most
        so many seconds for something newer than `after`, or than the newest if that is None."""
        ...

    async def message(self, id: str, *, chat: str | None = None) -> models.Message:
        """One message as it is now, deleted ones included: the quote of a reply, or a gap in what events told.
        `chat`: look there alone, as a quote must, which its author could point at any chat.  Raises `not_found` where
        it is unknown or hidden on my devices."""
        ...

    async def mark(self, chat: str, *, upto: str | None = None) -> models.ReadUpto:
        """Marks as read up to a message, the newest if none is given; the others are told."""
        ...

    async def edit(self, chat: str, message: str, text: str) -> models.MessageRef:
        """Gives a message of mine another text.  Raises as `send`."""
        ...

    async def delete(self, chat: str, message: str, *, everyone: bool = False) -> models.MessageRef:
        """Deletes a message from my devices alone (what others hold stays), or asks all devices to delete it.  Raises
        `not_allowed`."""
        ...

    async def react(self, chat: str, message: str, emoji: str) -> models.MessageRef:
        """Puts my mark on a message, or takes the same mark back.  Raises `not_allowed`, `text_invalid`."""
        ...

    async def cancel(self, chat: str, message: str) -> models.MessageRef:
        """Withdraws a message that no other device has yet.  Raises `not_allowed`."""
        ...

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
        """Finds messages by whole words; `word*` is a prefix.  `author` is an identity, a contact's name or the quoted
        source of imported lines.  Raises `bad_query`."""
        ...

    async def outbox(self) -> models.Outbox:
        """Messages of mine that some device has not opened yet."""
        ...

    # ---- files (absolute paths, read and written by the process that owns the profile)
    async def import_messages(self, chat: str, path: Path, *, skip_bad: bool = False) -> models.Imported:
        """Reads JSON lines `{"at", "from", "text"}` as messages; lines that are there already are skipped.
        Raises `bad_line` (unless `skip_bad`), `not_found`, `not_allowed`.
        """
        ...

    async def export(
        self, chat: str, path: Path, *, format: models.ExportFormat = "jsonl", force: bool = False
    ) -> models.Exported:
        """Writes a chat to a file that `import_messages` takes (`jsonl`), its pages to a folder (`yjs`), or its feeds
        with heads and message keys to a file (`feeds`).  Raises `file_exists` (unless `force`), `not_allowed`,
        `disk_full`.
        """
        ...

    async def forge_transcript(self, chat: str, path: Path, out: Path, *, force: bool = False) -> models.Forged:
        """Writes to `out` what `export` with `feeds` writes, for the lines `{"at", "from", "text"}` of a file: signed
        feeds of the members of a chat, in which they say what that file makes them say.  Raises `bad_line`,
        `not_found`, and as `export`.
        """
        ...

    async def backup(self, path: Path, passphrase: str) -> models.BackedUp:
        """Writes everything that this device holds into one file of its own passphrase, while the node goes on.  A
        backup of mine that is there takes what is new.  Raises `file_exists` for any other file, `wrong_passphrase`,
        `backup_damaged`, `not_allowed`, `disk_full`."""
        ...
