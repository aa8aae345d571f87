"""What the engine asks its shell to do, and what it tells whoever watches.

The engine commits to the store itself (a port); everything else that touches the world is one of these values, in the
order in which it is to happen.  So nothing is sent before it is durable, and the simulator runs the same engine.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from identity.hints import Address
from identity.keys import SigningKey


@dataclass(frozen=True, slots=True)
class Transmit:
    """One frame on a connection."""

    conn: int
    frame: bytes


@dataclass(frozen=True, slots=True)
class Disconnect:
    """End a connection; `reason` is for people who debug."""

    conn: int
    reason: str


@dataclass(frozen=True, slots=True)
class Dial:
    """Connect to the transport key `remote` as `local`: at any of `addresses` ("host:port"), through `relays`, which
    may lead there as somebody said, and, where `announced`, through those that the DHT names for the key itself."""

    attempt: int
    remote: bytes
    addresses: tuple[str, ...]
    local: SigningKey = field(repr=False)
    announced: bool = True
    relays: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class Listen:
    """Answer handshakes for this key; announce: be found by it through the DHT too.  Said again it replaces."""

    key: SigningKey = field(repr=False)
    announce: bool = True


@dataclass(frozen=True, slots=True)
class Unlisten:
    """Answer handshakes for this key no more."""

    public: bytes


@dataclass(frozen=True, slots=True)
class JoinTopic:
    """Be at this topic (32 bytes): look up who is there, and, with `announce`, say that `key` is.  What is found comes
    back as `Engine.found`.  Said again for the same topic it replaces."""

    topic: bytes
    key: SigningKey = field(repr=False)
    announce: bool = True


@dataclass(frozen=True, slots=True)
class LeaveTopic:
    """Leave this topic, and take back what was announced there."""

    topic: bytes


@dataclass(frozen=True, slots=True)
class PutRecord:
    """Store this value in the DHT under the key; a higher seq replaces it."""

    key: SigningKey = field(repr=False)
    value: bytes = field(repr=False)
    seq: int = 0


@dataclass(frozen=True, slots=True)
class SeekRecord:
    """Look for the value under this public key in the DHT.  What is found comes back as `Engine.sought`."""

    public: bytes


@dataclass(frozen=True, slots=True)
class MessageChanged:
    """A row appeared, changed (fresh False) or went away (gone)."""

    space: bytes
    message: bytes
    fresh: bool
    gone: bool = False


@dataclass(frozen=True, slots=True)
class MessageHidden:
    """My devices agree that a message is not shown to me any more, or again (hidden False)."""

    space: bytes
    message: bytes
    hidden: bool


@dataclass(frozen=True, slots=True)
class DeliveryChanged:
    """A device opened more of a feed of mine in this space: entries `start` to `end` (not included) have moved on.
    core: the feed's core key."""

    space: bytes
    core: bytes
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ReceiptsChanged:
    """Somebody told in this space how far they have read."""

    space: bytes


@dataclass(frozen=True, slots=True)
class NamesChanged:
    """Somebody in this chat is called otherwise: names of authors in it may be others."""

    space: bytes


@dataclass(frozen=True, slots=True)
class ListChanged:
    """My devices agree on something else about this chat as it stands in the list: its state, my read mark, what of it
    is hidden from me up to some place."""

    space: bytes
    cleared: bool = False  # everything up to a place is hidden now


@dataclass(frozen=True, slots=True)
class PeerChanged:
    """The last connection to a proved device is gone, or its first one is there."""

    device: bytes
    connected: bool
    address: str


@dataclass(frozen=True, slots=True)
class DeviceChanged:
    """A device of mine is new or is called otherwise; `notice`: a sentence for the person, often empty."""

    device: bytes
    notice: str = ""


@dataclass(frozen=True, slots=True)
class ContactChanged:
    """A contact is new, or something that a list of contacts shows of it; `notice`: a sentence for the person, often
    empty."""

    identity: bytes
    notice: str = ""


@dataclass(frozen=True, slots=True)
class ChatChanged:
    """A chat is new, or its members, title or settings changed."""

    space: bytes


@dataclass(frozen=True, slots=True)
class Progress:
    """How far something long is (`what`: "history"); total 0: not known."""

    what: str
    done: int
    total: int
    space: bytes | None = None


@dataclass(frozen=True, slots=True)
class CodeShown:
    """Approving a device: the six digits that are to be typed there.  conversation: of this profile, by number."""

    conversation: int
    code: str


@dataclass(frozen=True, slots=True)
class CodeWanted:
    """Linking this device: the other side shows six digits; they are to be typed here."""

    conversation: int


@dataclass(frozen=True, slots=True)
class CodeWrong:
    """Linking this device: those were not the digits; `left` tries remain."""

    conversation: int
    left: int


@dataclass(frozen=True, slots=True)
class DeviceLinked:
    """The new device is in, on either side."""

    conversation: int
    device: bytes


@dataclass(frozen=True, slots=True)
class ContactMet:
    """The invite was accepted: who that is, by which device, and the direct space with them."""

    conversation: int
    identity: bytes
    device: bytes
    space: bytes


@dataclass(frozen=True, slots=True)
class OnboardingFailed:
    """It is over without an end; code and sentence as in `KithkinError`."""

    conversation: int
    code: str
    sentence: str


OnboardingStep = CodeShown | CodeWanted | CodeWrong | DeviceLinked | ContactMet | OnboardingFailed
Event = (
    MessageChanged
    | MessageHidden
    | DeliveryChanged
    | ReceiptsChanged
    | NamesChanged
    | ListChanged
    | PeerChanged
    | DeviceChanged
    | ContactChanged
    | ChatChanged
    | Progress
)
Effect = (
    Transmit
    | Disconnect
    | Dial
    | Listen
    | Unlisten
    | JoinTopic
    | LeaveTopic
    | PutRecord
    | SeekRecord
    | OnboardingStep
    | Event
)
