"""A backup on the disk: appending a state to it, checking all of it, reading rows out of it.

A shell.  A file that exists is opened through no link, and only appended to; what was finished in it stays readable
until the new state is durable.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import IO

from identity.errors import DecodeError, KithkinError
from identity.keys import Random
from identity.seal import NONCE, TAG
from sync.backup.format import (
    END,
    FRAME,
    HEADER,
    BackupKey,
    Contents,
    Header,
    Kind,
    Part,
    content_hash,
    decode_contents,
    decode_frame,
    decode_header,
    decode_rows,
    encode_contents,
    encode_end,
    encode_rows,
    key_of,
    live_octets,
)
from sync.backup.sweep import Record
from sync.store.port import Row

Progress = Callable[[int, int], None]  # (bytes done, bytes in all)
DAMAGED = "backup_damaged"


def silent(done: int, total: int) -> None:
    """Nobody watches."""


class Spoiled(KithkinError):
    """A part that a file holds already, and that a new state would use again, does not open."""


@dataclass(slots=True)
class Survey:
    """What checking a file found.  contents: the newest finished state; lost: parts of it that do not open; bad: places
    of records that do not open, whichever state they are of; end: where its last finished state ends."""

    contents: Contents | None
    size: int
    end: int = 0
    lost: list[Part] = field(default_factory=list)
    bad: list[int] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether every byte of the file is as it was written."""
        return self.contents is not None and not self.bad and self.end == self.size


class BackupFile:
    """An opened backup.  `key` opens its records."""

    def __init__(self, file: IO[bytes], header: Header, key: BackupKey) -> None:
        self.file = file
        self.header = header
        self.key = key

    @classmethod
    def open(cls, file: IO[bytes], passphrase: str) -> BackupFile:
        """Raises KithkinError `backup_damaged` for what is no backup, `wrong_passphrase`."""
        try:
            header = decode_header(_read(file, 0, HEADER))
        except DecodeError as error:
            raise KithkinError(DAMAGED, f"That file is no backup, or its beginning is damaged: {error}.") from None
        return cls(file, header, key_of(header, passphrase))

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return os.fstat(self.file.fileno()).st_size

    # -- reading ----------------------------------------------------------------------------------------------

    def newest(self) -> Contents | None:
        """The contents that the last bytes of the file name; None where it does not end with a finished state."""
        size = self.size
        try:
            _, place = self._record(size - END, size, Kind.END)
            offset = int.from_bytes(place, "little")
            end, data = self._record(offset, size - END, Kind.CONTENTS)
            return decode_contents(data) if end == size - END else None
        except DecodeError:
            return None

    def last_finished(self) -> tuple[Contents | None, int]:
        """The newest state that was finished, and where it ends; whatever comes after was cut short."""
        contents = self.newest()
        return (contents, self.size) if contents is not None else self._walk(silent)

    def survey(self, progress: Progress = silent) -> Survey:
        """Opens every record of the file.  One record at a time is in memory."""
        size = self.size
        found = Survey(self.newest(), size, size)
        if found.contents is None:
            found.contents, found.end = self._walk(progress)
            if found.contents is None:
                return found
        contents = found.contents
        parts = {part.offset: part for part in contents.parts}
        places = sorted({*parts, found.end - END})
        at, next_place = HEADER, 0
        while at < found.end:
            while next_place < len(places) and places[next_place] < at:
                found.bad.append(places[next_place])  # a record before it reaches into it
                next_place += 1
            if next_place < len(places) and places[next_place] == at:
                next_place += 1
            part = parts.get(at)
            try:
                end, data = self._record(at, found.end, None)
                if part is not None and (len(data) != part.length or content_hash(data) != part.hash):
                    raise DecodeError("another record than the contents name")
            except DecodeError:
                found.bad.append(at)
                if part is not None:
                    end = part.end
                else:
                    end = next((place for place in places if place > at), found.end)
            at = end
            progress(min(at, size), size)
        bad = set(found.bad)
        found.lost = [part for part in contents.parts if part.offset in bad]
        return found

    def _walk(self, progress: Progress) -> tuple[Contents | None, int]:
        """The last state that was finished before the file breaks off, and where it ends."""
        size, at, found, end = self.size, HEADER, None, 0
        try:
            while at < size:
                kind, length, _ = decode_frame(_read(self.file, at, FRAME))
                if kind is Kind.END:
                    _, place = self._record(at, size, Kind.END)
                    reached, data = self._record(int.from_bytes(place, "little"), at, Kind.CONTENTS)
                    if reached == at:
                        found, end = decode_contents(data), at + END
                at += FRAME + length + TAG
                progress(min(at, size), size)
        except DecodeError:
            pass
        return found, end

    def check(self, part: Part) -> None:
        """Raises Spoiled where a part does not open any more."""
        try:
            _, data = self._record(part.offset, part.end, Kind.ROWS)
        except DecodeError as error:
            raise Spoiled(DAMAGED, f"Part of that backup does not open any more: {error}.") from None
        if content_hash(data) != part.hash:
            raise Spoiled(DAMAGED, "Part of that backup is another than its contents say.")

    def rows(self, part: Part) -> Iterator[Row]:
        """The rows of one part.  Raises KithkinError `backup_damaged` where it changed since it was checked."""
        try:
            _, data = self._record(part.offset, part.end, Kind.ROWS)
            if content_hash(data) != part.hash:
                raise DecodeError("another record")
            yield from decode_rows(data)
        except DecodeError as error:
            raise KithkinError(DAMAGED, f"The backup changed while it was read: {error}.") from None

    def _record(self, at: int, limit: int, kind: Kind | None) -> tuple[int, bytes]:
        """(where it ends, plaintext) of the record at a place.  Raises DecodeError."""
        if at < HEADER or at > limit - FRAME - TAG:
            raise DecodeError("the file ends inside a record")
        found, length, nonce = decode_frame(_read(self.file, at, FRAME))
        end = at + FRAME + length + TAG
        if end > limit or (kind is not None and found is not kind):
            raise DecodeError("not the record that belongs there")
        return end, self.key.open(found, at, nonce, _read(self.file, at + FRAME, length + TAG))


class BackupWriter:
    """Appends one state.  What the file holds already of the state `before` is not written again: it is opened once
    more, and `Spoiled` is raised where that fails."""

    def __init__(self, opened: BackupFile, rng: Random, *, at: int, before: Contents | None) -> None:
        self._opened = opened
        self._file = opened.file
        self._rng = rng
        self._at = self._start = at
        self._before = before
        self._held = {part.hash: part for part in before.parts} if before is not None else {}
        self._parts: dict[tuple[int, bytes], Part] = {}
        self.written = 0  # bytes appended

    @classmethod
    def begin(cls, file: IO[bytes], header: Header, key: BackupKey, rng: Random) -> BackupWriter:
        """A new file."""
        data = header.encode()
        file.seek(0)
        file.write(data)
        return cls(BackupFile(file, header, key), rng, at=len(data), before=None)

    @classmethod
    def go_on(cls, opened: BackupFile, rng: Random, before: Contents, end: int) -> BackupWriter:
        """A file that holds `before` up to `end`; what an interrupted backup left behind that goes."""
        opened.file.truncate(end)
        return cls(opened, rng, at=end, before=before)

    def add(self, record: Record) -> None:
        """Rows of the state; a later record with the same start takes the place of an earlier one."""
        place = int(record.table), record.start
        if not record.rows:
            self._parts.pop(place, None)
            return
        data = encode_rows(record.rows)
        hash_ = content_hash(data)
        held = self._held.get(hash_)
        if held is not None and held.offset < self._start:
            self._opened.check(held)
        if held is None:
            held = Part(0, b"", 0, self._append(Kind.ROWS, data), len(data), hash_)
            self._held[hash_] = held
        self._parts[place] = replace(held, table=int(record.table), first=record.start, rows=len(record.rows))

    def finish(
        self, created: int, identity: bytes, device: bytes, messages: int, chats: tuple[tuple[bytes, str], ...]
    ) -> Contents:
        """Writes what the state consists of, and makes all of it durable."""
        parts = tuple(self._parts[place] for place in sorted(self._parts))
        number = self._before.number + 1 if self._before is not None else 1
        octets = sum(part.length for part in parts)
        contents = Contents(number, created, identity, device, messages, octets, chats, parts)
        place = self._append(Kind.CONTENTS, encode_contents(contents))
        self._file.flush()
        os.fsync(self._file.fileno())  # an end never stands before what it names
        self._append(Kind.END, encode_end(place))
        self._file.flush()
        os.fsync(self._file.fileno())
        return contents

    def _append(self, kind: Kind, plaintext: bytes) -> int:
        place, data = self._at, self._opened.key.seal(kind, self._at, plaintext, self._rng(NONCE))
        self._file.seek(place)
        self._file.write(data)
        self._at += len(data)
        self.written += len(data)
        return place


def worn(contents: Contents, end: int) -> bool:
    """Whether more than half of a file is of states before: it is then written anew."""
    return end > 64 << 10 and live_octets(contents.parts) * 2 < end


def _read(file: IO[bytes], at: int, size: int) -> bytes:
    """Exactly so many bytes.  Raises DecodeError where the file ends before."""
    file.seek(at)
    data = file.read(size)
    if len(data) != size:
        raise DecodeError("the file ends inside a record")
    return data
