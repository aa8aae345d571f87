"""Imports JSON lines into one chat, a batch at a time.  Lines before a bad one are kept, and a repeat adds nothing.

A message's id is made from its line, so a line that is there already is skipped.  The chat is kept by its id and looked
up for each batch: between two of them the profile may have been read again from its store.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from crdt.docs.chat import Message
from crdt.docs.ids import import_nonce, message_id
from identity.errors import KithkinError
from sync.engine.profile import Profile
from sync.engine.twins import current
from sync.service import models
from sync.service.ids import space_of
from sync.service.messages import writable, write_messages
from sync.service.system import system_refusals
from sync.service.text import MAX_TEXT, fits
from sync.service.times import parse_time
from sync.store.port import Table

BATCH = 250  # messages a commit: about 50 ms
MAX_LINE = 512 * 1024
MAX_FROM = 256


@dataclass(frozen=True, slots=True)
class Step:
    """The outcome of one batch.  bad: the error of the line that ends the import; the lines before it are written."""

    more: bool
    bad: KithkinError | None = None


class Importer:
    """Reads a file of JSON lines into a chat."""

    def __init__(self, profile: Profile, chat: bytes, path: Path, skip_bad: bool) -> None:
        """chat: its space id.  Raises `not_allowed` where this device may not write there, `not_found` of the file."""
        writable(profile, current(profile, space_of(profile, chat)))
        self._profile = profile
        self._chat = chat
        self._skip_bad = skip_bad
        try:
            if not path.is_file():
                # A pipe would hold up the whole node until somebody writes into it.
                raise KithkinError("not_found", "There is no such file.")
            self._file: IO[bytes] = path.open("rb")
        except OSError as error:
            raise KithkinError("not_found", f"That file cannot be read: {error.strerror}.") from None
        self._line = 0
        self._seen: dict[tuple[int, str, str], int] = {}
        self._imported = 0
        self._skipped = 0

    @property
    def result(self) -> models.Imported:
        """How many lines were imported and skipped so far."""
        return models.Imported(imported=self._imported, skipped=self._skipped)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def step(self, now_ms: int) -> Step:
        """Imports one batch into the open commit."""
        made: list[Message] = []
        bad: KithkinError | None = None
        more = True
        while len(made) < BATCH:
            line = self._read()
            if not line:
                more = False
                break
            self._line += 1
            if not line.strip():
                continue
            try:
                made.append(self._message(line))
            except KithkinError as error:
                while len(line) > MAX_LINE and not line.endswith(b"\n"):
                    line = self._read()
                if not self._skip_bad:
                    bad, more = error, False
                    break
                self._skipped += 1
        self._write(made, now_ms)
        return Step(more, bad)

    def _read(self) -> bytes:
        """The next line, or the next piece of one that is too long."""
        with system_refusals():
            return self._file.readline(MAX_LINE + 1)

    def _write(self, made: list[Message], now_ms: int) -> None:
        profile, store = self._profile, self._profile.store
        space = writable(profile, current(profile, space_of(profile, self._chat)))
        author = space.members.author(space.mine.core) if space.mine is not None else None
        if author is None or not made:
            return
        ids = [message_id(author[1], message.nonce) for message in made]
        known = store.get_many(Table.MESSAGE, [space.id + id_ for id_ in ids])
        fresh = [message for message, held in zip(made, known, strict=True) if held is None]
        self._skipped += len(made) - len(fresh)
        if fresh:
            write_messages(profile, space, fresh, now_ms)
        self._imported += len(fresh)

    def _message(self, line: bytes) -> Message:
        try:
            if len(line) > MAX_LINE:
                raise ValueError("too long")
            value = json.loads(line)
            text, source, at = value["text"], value["from"], value["at"]
            if not all(isinstance(part, str) for part in (text, source, at)):
                raise ValueError("not text")
            if not text or "\0" in text or not source or "\0" in source:
                raise ValueError("empty, or a NUL")
            if len(text.encode()) > MAX_TEXT or len(source.encode()) > MAX_FROM or not fits(text):
                raise ValueError("too long")
            at_ms = parse_time(at)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise KithkinError(
                "bad_line",
                f'Line {self._line} is not {{"at","from","text"}} with a time, a name and a text; '
                "mend it or use --skip-bad.",
            ) from error
        key = (at_ms, source, text)
        ordinal = self._seen.get(key, 0)
        self._seen[key] = ordinal + 1
        nonce = import_nonce(self._chat, at_ms, source, text, ordinal)
        return Message(nonce, text, at=at_ms, source=source)
