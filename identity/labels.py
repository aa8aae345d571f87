"""The registry of labels: each separates one use of BLAKE2b (its `person`, at most 16 bytes) from every other.

`docs/protocol.md`, "Labels".  A test holds that no two are equal or one the zero-padded form of another.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType


class Label(bytes, Enum):
    """BLAKE2b `person` values.  Signing labels carry a version and a suite inside the signed hash."""

    # identity
    ROOT = b"kithkin root"
    RECOVER = b"kithkin recover"
    RECOVER_KEM = b"kithkin recov k"
    DROP = b"kithkin drop"
    COPY = b"kithkin copy"
    SAFETY = b"kithkin safety"
    DEVICE = b"kithkin device"
    CERTIFICATE = b"kithkin cert"
    COUNTERSIGN = b"kithkin counter"
    REVOCATION = b"kithkin revoke"
    STATEMENT = b"kithkin stmt id"
    KEYSTORE = b"kithkin keystore"
    PAYLOAD = b"kithkin payload"
    PAIRING = b"kithkin pair"
    PAIRING_MAC = b"kithkin pair mac"
    INVITE = b"kithkin invite"
    HELLO = b"kithkin hello"
    HELLO_TOPIC = b"kithkin hello z"
    # log
    WRITER = b"kithkin writer"
    MESSAGE_KEY = b"kithkin message"
    OPENING = b"kithkin opening"
    CLIENT = b"kithkin client"
    # space
    SPACE = b"kithkin space"
    CONSENT = b"kithkin consent"
    SUCCEED = b"kithkin succeed"
    RESTART = b"kithkin restart"
    SLOT_HINT = b"kithkin slot"
    SLOT_KEY = b"kithkin slot key"
    SLOT_KEM = b"kithkin slot kem"
    GRANT_Z = b"kithkin grant z"
    PACK_KEY = b"kithkin pack key"
    RECORD = b"kithkin record"
    RECORD_KEY = b"kithkin rec key"
    WRITER_PROOF = b"kithkin wr proof"
    CAPABILITY = b"kithkin cap"
    CHANNEL = b"kithkin channel"
    TOPIC = b"kithkin topic"
    RENDEZVOUS = b"kithkin z"
    # network
    LAN_NAME = b"kithkin lan name"
    LAN_KEY = b"kithkin lan key"
    LAN_SELF = b"kithkin lan self"
    # documents and history
    MESSAGE_ID = b"kithkin msg id"
    IMPORT_ID = b"kithkin import"
    VALUE = b"kithkin value"
    PACK = b"kithkin pack"
    DIGEST = b"kithkin digest"
    ANCHOR = b"kithkin anchor"
    DATABASE = b"kithkin database"
    PLACE = b"kithkin place"
    INDEX = b"kithkin index"
    BACKUP = b"kithkin backup"


SIGNERS: Mapping[Label, str] = MappingProxyType(
    {
        Label.CERTIFICATE: "RS",
        Label.COUNTERSIGN: "S",
        Label.REVOCATION: "RS",
        Label.CONSENT: "W",
        Label.SUCCEED: "W",
        Label.RESTART: "W",
        Label.RECORD: "W",
    }
)
"""Every label that anything is signed under, and the letters of the keys that sign so.

What R and S sign is about devices and nothing else: no signature of an identity covers anything that was said.  Beside
these there are signatures over bytes of the HyperDHT family, without a label: heads (W), records in the DHT (T and
keys of one use).
"""
