"""The schema of every root: which dataclasses it holds, and their way from and to JSON.

`docs/protocol.md`, "Values".  It is asked after the guard and is as strict: a text is a value or it is nothing, and a
value has one text.
"""

from __future__ import annotations

from typing import Any

from crdt.docs import chat, own
from crdt.docs.chat import Answer, Decline, Edit, MemberProfile, Message, Offer, Reaction, Receipt, Restart
from crdt.docs.fields import Invalid, Shape, parse, scan_object
from crdt.docs.kinds import DocKind
from crdt.docs.own import (
    DeviceName,
    Hidden,
    OwnChat,
    OwnContact,
    OwnDraft,
    OwnInvite,
    OwnProfile,
    OwnWriter,
    ReadMark,
    Setting,
)

ChatValue = Message | Edit | Reaction | Receipt | Offer | Answer | Decline | Restart | MemberProfile
OwnValue = (
    OwnProfile | OwnContact | OwnChat | Setting | ReadMark | OwnDraft | OwnInvite | OwnWriter | DeviceName | Hidden
)
Value = ChatValue | OwnValue

# kind -> root -> shapes; where a root holds several, the first member of the object tells which
SCHEMAS: dict[DocKind, dict[str, tuple[Shape[Any], ...]]] = {
    DocKind.CHAT: {
        "messages": (chat.MESSAGE,),
        "edits": (chat.EDIT,),
        "reactions": (chat.REACTION,),
        "receipts": (chat.RECEIPT,),
        "offers": (chat.OFFER, chat.ANSWER, chat.DECLINE, chat.RESTART),
        "meta": (chat.PROFILE,),
    },
    DocKind.PERSONAL: {
        "profile": (own.OWN_PROFILE,),
        "contacts": (own.CONTACT,),
        "chats": (own.CHAT,),
        "settings": (own.SETTING,),
        "marks": (own.READ_MARK,),
        "drafts": (own.DRAFT,),
        "invites": (own.INVITE,),
        "writers": (own.OWN_WRITER,),
        "devices": (own.DEVICE_NAME,),
        "hidden": (own.HIDDEN,),
    },
}

_WRITE: dict[type[Any], tuple[str, Shape[Any]]] = {
    shape.make: (root, shape) for roots in SCHEMAS.values() for root, shapes in roots.items() for shape in shapes
}


def parse_value(kind: DocKind, root: str, text: str) -> Value | None:
    """The value that this JSON text is under this root, or None: refused, and as if it had not been written."""
    shapes = SCHEMAS[kind].get(root, ())
    shape = shapes[0] if len(shapes) == 1 else _told(shapes, text)
    value: Value | None = None if shape is None else parse(shape, text)
    return value


def _told(shapes: tuple[Shape[Any], ...], text: str) -> Shape[Any] | None:
    found = scan_object(text) or {}
    return next((shape for shape in shapes if shape.members[0].name in found), None)


def dump_value(value: Value) -> tuple[str, str]:
    """(root, JSON text) for `make_update`.  Raises ValueError where a member is out of its bounds."""
    root, shape = _WRITE[type(value)]
    try:
        return root, shape.text(value)
    except (UnicodeEncodeError, TypeError):
        raise Invalid("text that no encoding has") from None
