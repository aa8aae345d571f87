"""Every line that the service says: results and events, as frozen pydantic models whose JSON is the command line's.

Keys may be added, none renamed (`docs/protocol.md`, "Command line").  Ids are text; times are aware UTC datetimes and
become ISO 8601 with a `Z`.  What a peer wrote stands in these models as it is: escaping is for whoever draws it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MessageState = Literal["queued", "relayed", "delivered", "read", "expired", "received"]
ContactState = Literal["pending", "active", "blocked"]
ChatKind = Literal["self", "direct", "group"]
ChatState = Literal["invited", "active", "left", "removed"]
MemberState = Literal["invited", "active", "left", "removed"]
DeviceState = Literal["active", "dormant", "revoked"]
Role = Literal["creator", "admin", "member"]
History = Literal["all", "none"]
Sort = Literal["time", "score"]
ExportFormat = Literal["jsonl", "yjs", "feeds"]

CODES = frozenset(
    """usage profile_in_use profile_not_found profile_unreadable profile_newer wrong_passphrase keystore_corrupt
    no_passphrase not_a_pair_code not_an_invite payload_damaged expired already_used own_code wrong_code
    too_many_devices too_many_members phrase_invalid profile_exists not_found not_allowed empty_text text_too_long
    text_invalid bad_query bad_line file_exists disk_full index_failed system_refused timeout not_available_yet
    update_needed backup_damaged internal""".split()
)
"""The codes that a KithkinError may carry; `internal` means a defect of ours and is never raised on purpose."""


class Line(BaseModel):
    """One JSON object of output."""

    # Built when first used: a command uses three of these fifty, and starts before a person notices.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null", defer_build=True)


# ---- the profile and its devices -----------------------------------------------------------------------------------


class Created(Line):
    """A new profile.  The phrase is shown once and kept nowhere."""

    identity: str
    device: str
    phrase: str


class Recovered(Line):
    """A profile made from the 24 words: the same identity, and this device as its only one."""

    identity: str
    device: str


class PhraseChecked(Line):
    """These words are the profile's."""

    ok: Literal[True] = True
    identity: str


class Ready(Line):
    """The node accepts peers at `address` ("host:port")."""

    ready: Literal[True] = True
    identity: str
    device: str
    address: str


class Testnet(Line):
    """A DHT of one's own runs; `bootstrap` ("host:port") is one of its nodes."""

    ready: Literal[True] = True
    bootstrap: str
    size: int


class Version(Line):
    version: str


class Device(Line):
    """A device of mine.  Of one that was shut out: `told`, names of my other devices and contacts that know it by now,
    and `waiting`, of those that do not yet."""

    id: str
    name: str
    this: bool
    added: datetime | None
    last_seen: datetime | None
    state: DeviceState
    told: list[str] = Field(default_factory=list)
    waiting: list[str] = Field(default_factory=list)


class Devices(Line):
    devices: list[Device]


class DeviceRef(Line):
    device: str


class Revocation(Line):
    """What shutting a device out would do, before anything has happened.  `effects` are sentences for people."""

    device: str
    name: str
    spaces: int
    effects: list[str]


class Revoked(Line):
    """A device is out, durably here; so many spaces have a key that it does not get.  `told`, `waiting`: names of my
    devices and contacts that know it by now, and that do not yet."""

    revoked: str
    spaces: int
    told: list[str] = Field(default_factory=list)
    waiting: list[str] = Field(default_factory=list)


class Kept(Line):
    """What the 24 words said: the devices that stay beside this one, and those that are out."""

    kept: list[str]
    out: list[str]


class Payload(Line):
    """What the new device shows: text and QR are the same."""

    payload: str


class Wrong(Line):
    """The digits did not match; `left` tries remain."""

    wrong: Literal[True] = True
    left: int


class Linked(Line):
    """This device is linked."""

    linked: Literal[True] = True
    identity: str
    device: str


class AccessGrant(Line):
    """What approving would grant, before anything has happened.  `grants` are sentences for people."""

    grants: list[str]
    history: History
    expires: datetime


class Digits(Line):
    """Six digits to be typed on the new device."""

    code: str


class Approved(Line):
    approved: Literal[True] = True
    device: str


class ProfileErased(Line):
    """A profile is gone from this machine.  left: other things in its folder, which stay."""

    erased: Literal[True] = True
    left: int = 0


class Changed(Line):
    changed: Literal[True] = True


# ---- people ----------------------------------------------------------------------------------------------------------


class PublicProfile(Line):
    identity: str
    name: str
    about: str


class Invite(Line):
    invite: str
    expires: datetime


class Contact(Line):
    """`name` is mine for it where I renamed it, else its profile's; `chat` is the direct chat once there is one."""

    id: str
    name: str
    state: ContactState
    verified: bool
    blocked: bool
    chat: str | None = None
    about: str = ""


class Contacts(Line):
    contacts: list[Contact]


class ContactRef(Line):
    contact: str


class Accepted(Line):
    contact: str
    chat: str


class Safety(Line):
    """60 digits over both root keys, as twelve groups of five digits, separated by spaces; equal on both sides."""

    safety_number: str
    verified: bool


# ---- chats -----------------------------------------------------------------------------------------------------------


class Chat(Line):
    """`last` is the time of the newest visible message, `preview` the beginning of its text (200 characters).

    `last_order` is the `order` of that message ("" where there is none): chats are listed by it, the newest first.
    `covered`: what is written now stays closed to a recorder who has a quantum computer one day; if not, `reason` is a
    sentence that names the devices.  `notice`: a sentence about a restart of a group that matters here, or ""; `old`:
    of an invitation to go on in a new group, the chat that it would be one with.  `may_restart`: that sentence asks
    this person to restart the group.
    """

    id: str
    title: str
    kind: ChatKind
    state: ChatState
    members: int
    unread: int
    last: datetime | None
    preview: str = ""
    preview_author: str = ""
    preview_proved: bool = True
    last_order: str = ""
    covered: bool = True
    reason: str = ""
    notice: str = ""
    old: str | None = None
    may_restart: bool = False


class Chats(Line):
    chats: list[Chat]


class ChatRef(Line):
    chat: str


class Restarted(Line):
    """`chat` goes on under its id.  `asks`: why others are asked before their devices go along, or ""."""

    chat: str
    asks: str = ""


class Member(Line):
    """`proved`: this device was shown that whoever writes here as this person is this person; else `name` says who
    vouches for that.  `covered`: all of this member's devices get the chat's keys in a way that a quantum computer does
    not open.  `forked`: a device of theirs signed two histories here: a copy of its profile runs, or it lies."""

    id: str
    name: str
    role: Role
    state: MemberState
    proved: bool = True
    covered: bool = True
    forked: bool = False


class Members(Line):
    """`covered`, `reason`: as in a chat."""

    members: list[Member]
    covered: bool = True
    reason: str = ""


class File(Line):
    name: str
    size: int


class Erasure(Line):
    """Of a deleted message: on how many devices of the chat its bytes are gone, as they say themselves."""

    devices: int
    of_devices: int
    relays: int = 0
    of_relays: int = 0


class Message(Line):
    """One bubble.  `author` is an identity, `reactions` maps an emoji to identities, `source` is the quoted source of
    an imported line.  `checked` is false while a message from a history pack is not yet verified against its feed;
    `late` says that it arrived long after its own time; `ahead` that its author's clock is ahead, so that it stands
    where it arrived, on each device elsewhere, until its time has come.  `unread`: of somebody else, and none of my
    marks reaches it (a deleted one is not counted, though).  `order` is opaque text: a chat's messages sort by it, and
    no two have the same.  `proved` is false while nobody has proved to this device that `author` wrote it;
    `author_name` says then who vouches for that.  `covered` and `reason`: as in a chat, of this message; None where
    that is not known here, since it came as history.  `erased` is there for a deleted message alone."""

    id: str
    author: str
    author_name: str
    device: str
    text: str
    at: datetime
    state: MessageState
    edited: bool = False
    deleted: bool = False
    reply_to: str | None = None
    reactions: dict[str, list[str]] = Field(default_factory=dict)
    files: list[File] = Field(default_factory=list)
    source: str | None = None
    checked: bool = True
    late: bool = False
    ahead: bool = False
    unread: bool = False
    mine: bool = False
    order: str = ""
    proved: bool = True
    erased: Erasure | None = None
    covered: bool | None = True
    reason: str = ""


class Messages(Line):
    """Oldest first.  `more`: older ones remain (with `after`: newer ones)."""

    messages: list[Message]
    more: bool


class Sent(Line):
    id: str
    state: MessageState


class MessageRef(Line):
    id: str


class ReadUpto(Line):
    read_upto: str | None


class Hit(Line):
    id: str
    chat: str
    author: str
    text: str
    snippet: str
    at: datetime
    score: float
    author_name: str = ""
    source: str | None = None
    proved: bool = True


class Hits(Line):
    """`total` counts all hits, whatever the limit was.  A hit's `source` is whom its author quotes (imported lines), by
    the author's word alone."""

    hits: list[Hit]
    total: int
    took_ms: float


class Pending(Line):
    """One message of mine that some device has not opened: `delivered` of `devices`."""

    id: str
    chat: str
    state: MessageState
    delivered: int
    devices: int


class Outbox(Line):
    pending: list[Pending]


# ---- the node --------------------------------------------------------------------------------------------------------


PathKind = Literal["direct", "lan", "punched", "relayed"]
NatKind = Literal["unknown", "open", "consistent", "random"]


class Peer(Line):
    """A device with which a proved connection stands.  `path`: how it came to be; `rtt_ms` of now."""

    device: str
    identity: str
    name: str
    address: str
    path: PathKind | None = None
    rtt_ms: float | None = None


class Dht(Line):
    """`nodes` in the table, `bootstrapped` once one has answered; `enabled` is false where no bootstrap is set.

    `nat`: what stands before this device, as far as others saw it at `address`; `reachable` without a hole punched;
    `ephemeral`: it stores nothing for others (yet); `relays` lead strangers' handshakes here; `topics` it is at;
    `strangers`: keys found there that belong to nobody known.
    """

    enabled: bool = False
    bootstrapped: bool = False
    nodes: int = 0
    nat: NatKind = "unknown"
    address: str | None = None
    reachable: bool = False
    ephemeral: bool = True
    relays: list[str] = []
    topics: int = 0
    strangers: int = 0
    lan: bool = False


class Uncovered(Line):
    """A chat that is not covered, and why."""

    chat: str
    title: str
    reason: str


class Status(Line):
    """`online`: the node accepts peers. `pending` messages in the outbox; `feeds` and `entries` stored. `kept_by`:
    contacts that keep my newest recovery copy, which the 24 words open; `not_kept`: contacts and chats that it has no
    room for. `uncovered`: chats of which a recording could be read by a quantum computer one day. `out`: a sentence
    where this device was shut out."""

    identity: str
    device: str
    online: bool
    peers: list[Peer]
    dht: Dht
    pending: int
    feeds: int
    entries: int
    address: str | None = None
    name: str = ""
    kept_by: int = 0
    not_kept: int = 0
    uncovered: list[Uncovered] = Field(default_factory=list)
    out: str = ""


class PersonMonth(Line):
    """`month` is "YYYY-MM"."""

    identity: str
    name: str
    month: str
    messages: int


class ChatStorage(Line):
    """kept: of what was deleted for me alone, sealed entries that stay until others have them."""

    chat: str
    title: str
    messages: int
    bytes: int
    kept: int = 0


class Stats(Line):
    messages: list[PersonMonth]
    storage: list[ChatStorage]


class Imported(Line):
    imported: int
    skipped: int


class Exported(Line):
    exported: int


class BackedUp(Line):
    """A backup that is whole.  bytes: of the file; written: of them by this call."""

    ok: bool
    messages: int
    bytes: int
    written: int = 0


class Restored(Line):
    """A profile out of a backup: a new device of the same identity.  lost: what a damaged file did not give back."""

    ok: bool
    identity: str
    device: str
    lost: str = ""


class Forged(Line):
    forged: int


class Check(Line):
    name: str
    ok: bool
    detail: str


class Checks(Line):
    checks: list[Check]


class Problem(Line):
    """Why a call was refused: a stable code and a sentence for people."""

    code: str
    message: str


class Failure(Line):
    """The line of a call that was refused."""

    error: Problem


# ---- events ----------------------------------------------------------------------------------------------------------


class MessageEvent(Line):
    """A message came, or an old one looks different now (edited, deleted, reacted to)."""

    event: Literal["message"] = "message"
    chat: str
    message: Message
    new: bool = True


class GoneEvent(Line):
    """A message is no longer shown: hidden on my devices, or what made it visible does not count any more."""

    event: Literal["gone"] = "gone"
    chat: str
    id: str


class GapEvent(Line):
    """Events are missing here: whoever follows them reads again what it holds of `chat`, of everything where that is
    None.  Said in place of the lines that a slow reader lost."""

    event: Literal["gap"] = "gap"
    chat: str | None = None


class StatusEvent(Line):
    """A message of mine moved on."""

    event: Literal["status"] = "status"
    chat: str
    id: str
    state: MessageState
    delivered: int
    devices: int


class PeerEvent(Line):
    event: Literal["peer"] = "peer"
    peer: Peer
    connected: bool


class DeviceEvent(Line):
    """A device of mine was added or changed; `notice` is a sentence for people."""

    event: Literal["device"] = "device"
    device: Device
    notice: str = ""


class ContactEvent(Line):
    """A contact is new or changed; `notice` is a sentence for people."""

    event: Literal["contact"] = "contact"
    contact: Contact
    notice: str = ""


class ChatEvent(Line):
    event: Literal["chat"] = "chat"
    chat: Chat


class ProgressEvent(Line):
    """`what` is a sentence's beginning ("history", "index", "import"); `total` is 0 while unknown."""

    event: Literal["progress"] = "progress"
    what: str
    done: int
    total: int
    chat: str | None = None


Event = Annotated[
    MessageEvent
    | GoneEvent
    | GapEvent
    | StatusEvent
    | PeerEvent
    | DeviceEvent
    | ContactEvent
    | ChatEvent
    | ProgressEvent,
    Field(discriminator="event"),
]
