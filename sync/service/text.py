"""Checks of texts that people give, before anything is done with them (`docs/protocol.md`, "Limits")."""

from __future__ import annotations

import unicodedata
from json.encoder import encode_basestring as quote

from crdt.docs.kinds import MAX_UPDATE
from identity.errors import KithkinError
from sync.service.visible import visible

MAX_TEXT = 64 * 1024
UPDATE_ROOM = 8 * 1024  # what else stands in an update with a text: names, a quoted source, a list of files
MAX_QUERY = 4 * 1024
MAX_NAME = 128
MAX_ABOUT = 1024
MAX_EMOJI = 64
SHRINKS = 4  # code points of which NFC may make one


def check_text(text: str) -> str:
    """A message's text, unchanged.  Raises `empty_text`, `text_too_long` (bytes of UTF-8), `text_invalid`."""
    if not text.strip():
        raise KithkinError("empty_text", "A message needs some text.")
    if len(text) > MAX_TEXT or len(_utf8(text)) > MAX_TEXT:
        raise KithkinError(
            "text_too_long", f"A message holds at most {MAX_TEXT // 1024} KiB of text; send a file instead."
        )
    if "\0" in text:
        raise KithkinError("text_invalid", "The text holds a NUL character.")
    if not fits(text):
        raise KithkinError("text_too_long", "That text holds too many control characters; send a file instead.")
    return text


def fits(text: str) -> bool:
    """Whether a text within `MAX_TEXT` fits into one update.  Only control characters can keep it out: their escapes
    are up to six times as long as they are."""
    return len(quote(text).encode()) <= MAX_UPDATE - UPDATE_ROOM


def check_name(name: str, limit: int = MAX_NAME, *, empty: bool = False) -> str:
    """A name, title or line about somebody: one line, NFC, trimmed, runs of white space made one space, nothing that
    does not show (`visible`).  Raises as `check_text`.

    limit: bytes of what it becomes.  NFC makes some texts three times as long and others a quarter.
    """
    too_long = KithkinError("text_too_long", f"At most {limit} bytes fit here.")
    if len(name.strip()) > SHRINKS * limit:
        raise too_long
    name = unicodedata.normalize("NFC", name).strip()
    if len(_utf8(name)) > limit:
        raise too_long
    if not name and not empty:
        raise KithkinError("empty_text", "A name is needed here.")
    if any(char in name for char in "\t\n\r") or visible(name) != " ".join(name.split()):
        raise KithkinError("text_invalid", "A name is one line of characters that show, without marks of direction.")
    name = visible(name)
    return name


def check_emoji(emoji: str) -> str:
    """A reaction: one short mark without white space or controls."""
    emoji = check_name(emoji, MAX_EMOJI)
    if any(char.isspace() for char in emoji):
        raise KithkinError("text_invalid", "A reaction is one mark without spaces.")
    return emoji


def check_query(query: str) -> str:
    """A search: bounded before anything parses it.  Raises `bad_query`."""
    if len(query) > MAX_QUERY:
        raise KithkinError("bad_query", f"A search holds at most {MAX_QUERY} characters.")
    try:
        query.encode()
    except UnicodeEncodeError:
        raise KithkinError("bad_query", "The search is not valid Unicode.") from None
    if "\0" in query or not any(char.isalnum() for char in query):
        raise KithkinError("bad_query", "A search needs at least one word.")
    return query


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise KithkinError("text_invalid", "The text is not valid Unicode.") from None
