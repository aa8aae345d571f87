"""Import and export of one chat: JSON lines that come back unchanged, and Yjs pages for any Yjs implementation."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from crdt.docs.chat import Message
from crdt.docs.ids import import_nonce, message_id
from crdt.docs.page import PageEntry, export_page
from crdt.docs.rows import Row, at_moment
from crdt.docs.timeline import unseen
from crdt.log.entry import GRANT_TAG, Kind, decode_plaintext, message_key, open_entry, read_block
from identity.digest import base32
from identity.errors import KithkinError
from sync.pipeline import timeline
from sync.pipeline.feed import EntryState
from sync.pipeline.profile import Profile
from sync.pipeline.space import Space
from sync.service.messages import shown, writable, write_messages
from sync.service.names import person_name
from sync.store.port import Table

BATCH = 500  # messages a commit
MAX_LINE = 512 * 1024
MAX_FROM = 256
MAX_TEXT = 64 * 1024
MAX_MS = 253_402_300_799_999


class Importer:
    """Reads a file of JSON lines into a chat, a batch at a time; `step` returns False when it is done.

    Nothing before a bad line is lost, and a repeat adds nothing: ids come from what a line says.
    """

    def __init__(self, profile: Profile, space: Space, path: Path, skip_bad: bool) -> None:
        self._profile = profile
        self._space = writable(profile, space)
        self._skip_bad = skip_bad
        try:
            self._file: IO[bytes] = path.open("rb")
        except OSError as error:
            raise KithkinError("not_found", f"That file cannot be read: {error.strerror}.") from None
        self._line = 0
        self._seen: dict[tuple[int, str, str], int] = {}
        self.imported = 0
        self.skipped = 0

    def close(self) -> None:
        self._file.close()

    def step(self, now_ms: int) -> bool:
        """Imports one batch into the open commit.  Raises `bad_line` once what stands before that line is written."""
        made: list[Message] = []
        bad: KithkinError | None = None
        more = True
        while len(made) < BATCH:
            line = self._file.readline(MAX_LINE + 1)
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
                    line = self._file.readline(MAX_LINE + 1)
                if not self._skip_bad:
                    bad = error
                    break
                self.skipped += 1
        self._write(made, now_ms)
        if bad is not None:
            raise bad
        return more

    def _write(self, made: list[Message], now_ms: int) -> None:
        space, store = self._space, self._profile.store
        mine = space.mine
        member = space.state.member(mine.core) if mine is not None else None
        if member is None or not made:
            return
        ids = [message_id(member.core, message.nonce) for message in made]
        known = store.get_many(Table.MESSAGE, [space.id + id_ for id_ in ids])
        fresh = [message for message, held in zip(made, known, strict=True) if held is None]
        self.skipped += len(made) - len(fresh)
        if fresh:
            write_messages(self._profile, space, fresh, now_ms)
        self.imported += len(fresh)

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
            if len(text.encode()) > MAX_TEXT or len(source.encode()) > MAX_FROM:
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
        nonce = import_nonce(self._space.id, at_ms, source, text, ordinal)
        return Message(nonce, text, at=at_ms, source=source)


def parse_time(text: str) -> int:
    """ISO 8601 with a zone as Unix ms.  Raises ValueError."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a time without a zone")
    since = at - datetime(1970, 1, 1, tzinfo=UTC)
    ms = (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000
    if not 0 <= ms <= MAX_MS:
        raise ValueError("a time out of range")
    return ms


def show_time(ms: int) -> str:
    at = datetime.fromtimestamp(ms // 1000, UTC)
    fraction = f".{ms % 1000:03}" if ms % 1000 else ""
    return f"{at:%Y-%m-%dT%H:%M:%S}{fraction}Z"


def export_lines(profile: Profile, space: Space, path: Path, force: bool, now_ms: int) -> int:
    """Writes every visible message as a JSON line that `import` takes."""
    count = 0
    with _target(path, force) as file:
        for row in _rows(profile, space):
            row = at_moment(row, now_ms)
            if row.deleted or not row.text:
                continue
            member = space.state.members.get(row.member)
            author = person_name(profile, member.identity, space) if member is not None else ""
            line = {"at": show_time(row.at), "from": row.source or author, "text": row.text}
            file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
            count += 1
    return count


def _target(path: Path, force: bool) -> IO[bytes]:
    try:
        return path.open("wb" if force else "xb")
    except FileExistsError:
        raise KithkinError("file_exists", "That file exists; give another name or use --force.") from None
    except OSError as error:
        raise KithkinError("not_allowed", f"That file cannot be written: {error.strerror}.") from None


def _rows(profile: Profile, space: Space) -> Iterator[Row]:
    after: bytes | None = b""
    while True:
        rows = timeline.page(profile.store, space.id, BATCH, after=after)
        yield from (row for row in rows if shown(profile, space, row))
        if len(rows) < BATCH:
            return
        after = rows[-1].key()


def export_pages(profile: Profile, space: Space, path: Path, force: bool, now_ms: int) -> int:
    """Writes one `NAME.yjs` a page (an epoch) into a directory; how many messages they hold."""
    if path.exists():
        if not force:
            raise KithkinError("file_exists", "That directory exists; give another name or use --force.")
        if path.is_dir() and all(child.suffix == ".yjs" for child in path.iterdir()):
            shutil.rmtree(path)
        else:
            raise KithkinError("not_allowed", "That is no directory of exported pages; give another name.")
    try:
        path.mkdir(parents=True)
    except OSError as error:
        raise KithkinError("not_allowed", f"That directory cannot be made: {error.strerror}.") from None
    gone: set[tuple[bytes, int, int]] = set()
    for message in timeline.all_messages(profile.store, space.id):
        row = timeline.find_row(profile.store, space.id, message)
        if row is not None:
            row = at_moment(row, now_ms)
            row = row if shown(profile, space, row) else None
        gone |= unseen(timeline.facts_about(profile.store, space.id, message), row, space.rights())
    count = 0
    for epoch, entries in sorted(_pages(space).items()):
        update, messages = export_page(entries, hides=_hides(gone))
        (path / f"{base32(epoch[:10])}.yjs").write_bytes(update)
        count += messages
    return count


def _hides(gone: set[tuple[bytes, int, int]]) -> Callable[[bytes, int, int], bool]:
    return lambda core, seq, place: (core, seq, place) in gone


def _pages(space: Space) -> dict[bytes, list[PageEntry]]:
    """Epoch id -> the update entries sealed under it; what came as items of epochs unknown here is one more page."""
    pages: dict[bytes, list[PageEntry]] = {}
    for core, feed in space.shelf.feeds.items():
        if core not in space.state.writers:
            continue
        for start in range(0, feed.length, BATCH):
            for index, entry in enumerate(space.shelf.entries(feed, start, min(start + BATCH, feed.length))):
                seq = start + index
                if entry.state is not EntryState.OPENED or not space.state.shows(core, seq):
                    continue
                header = read_block(entry.block)
                text = decode_plaintext(open_entry(entry.key, core, space.id, entry.block, header))
                if text.kind is not Kind.UPDATE or header.tag == GRANT_TAG:
                    continue
                epoch = next(
                    (k.id for k in space.keys.values() if message_key(k.secret, core, seq)[1] == header.tag), bytes(32)
                )
                pages.setdefault(epoch, []).append(PageEntry(core, seq, text.body))
    return pages
