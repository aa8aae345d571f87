"""A backup on the disk: it grows by what is new, and every byte that is not as it was written is found and named."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from identity.errors import KithkinError
from identity.keystore import Cost
from sync.backup import format as formats
from sync.backup import target as targets
from sync.backup.file import Spoiled, Survey
from sync.backup.format import Contents
from sync.backup.sweep import Sweep
from sync.backup.target import begin, open_backup
from sync.store.memory import MemoryStore
from sync.store.port import Batch, Row, Table

ADA, PHONE, DESK = b"\x01" * 32, b"\x02" * 32, b"\x03" * 32
SECRET = "correct horse"


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "new_header", lambda secret, rng: formats.new_header(secret, rng, Cost(1, 8)))


def filled(rows: int = 3000, seed: int = 1) -> MemoryStore:
    store, batch, draw = MemoryStore(), Batch(), Random(seed)
    batch.put(Table.META, b"account", b"secrets")
    for number in range(rows):
        batch.put(Table.ENTRY, number.to_bytes(8, "big"), draw.randbytes(600))
    store.write(batch, durable=True)
    return store


def back_up(store: MemoryStore, path: Path, *, device: bytes = PHONE, identity: bytes = ADA, anew: bool = False) -> int:
    """Returns how many bytes were written."""
    target = begin(path, SECRET, os.urandom, identity=identity, own={device}, anew=anew)
    try:
        sweep = Sweep(store)
        while (record := sweep.step()) is not None:
            target.add(record)
        target.writer.finish(1_790_000_000_000, identity, device, 5, ())
        target.finish()
        return target.writer.written
    finally:
        target.close()


def newest(path: Path) -> Contents:
    opened = open_backup(path, SECRET)
    with opened.file:
        contents = opened.newest()
    assert contents is not None
    return contents


def survey(path: Path) -> Survey:
    opened = open_backup(path, SECRET)
    with opened.file:
        return opened.survey()


def rows_in(path: Path) -> dict[int, list[Row]]:
    opened = open_backup(path, SECRET)
    with opened.file:
        contents = opened.last_finished()[0]
        assert contents is not None
        found: dict[int, list[Row]] = {}
        for part in contents.parts:
            found.setdefault(part.table, []).extend(opened.rows(part))
        return found


def rows_of(store: MemoryStore) -> dict[int, list[Row]]:
    return {int(table): rows for table in Table if (rows := store.scan(table))}


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(KithkinError) as refused:
        act()
    return refused.value.code


def test_a_backup_holds_the_store(tmp_path: Path) -> None:
    store, path = filled(), tmp_path / "b"
    back_up(store, path)
    assert rows_in(path) == rows_of(store)
    assert survey(path).whole
    assert path.stat().st_mode & 0o777 == 0o600
    assert [child.name for child in tmp_path.iterdir()] == ["b"]


def test_a_second_backup_writes_what_is_new(tmp_path: Path) -> None:
    store, path = filled(), tmp_path / "b"
    whole = back_up(store, path)
    batch = Batch()
    batch.put(Table.ENTRY, (3000).to_bytes(8, "big"), b"new")
    batch.delete(Table.META, b"account")
    store.write(batch, durable=True)
    more = back_up(store, path)
    assert rows_in(path) == rows_of(store)
    assert survey(path).whole
    assert more < whole / 2
    unchanged = back_up(store, path)
    assert unchanged < 2000
    assert newest(path).number == 3


def test_a_file_that_is_mostly_old_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "b"
    for seed in range(6):
        back_up(filled(seed=seed), path)
    assert rows_in(path) == rows_of(filled(seed=5))
    assert path.stat().st_size < 3 * 3000 * 650
    assert survey(path).whole


def test_nothing_is_written_over(tmp_path: Path) -> None:
    store, other, link = filled(10), tmp_path / "letter", tmp_path / "link"
    other.write_bytes(b"Dear Ada, " * 20)
    link.symlink_to(other)
    assert code_of(lambda: back_up(store, other)) == "file_exists"
    assert code_of(lambda: back_up(store, link)) == "not_allowed"
    assert code_of(lambda: back_up(store, tmp_path)) == "not_allowed"
    os.mkfifo(tmp_path / "pipe")
    assert code_of(lambda: back_up(store, tmp_path / "pipe")) == "not_allowed"
    assert other.read_bytes() == b"Dear Ada, " * 20
    path = tmp_path / "b"
    back_up(store, path)
    assert code_of(lambda: back_up(store, path, identity=b"\x09" * 32)) == "file_exists"
    assert code_of(lambda: back_up(store, path, device=DESK)) == "file_exists"
    assert code_of(lambda: begin(path, "wrong", os.urandom, identity=ADA, own={PHONE})) == "wrong_passphrase"
    assert rows_in(path) == rows_of(store)
    assert sorted(child.name for child in tmp_path.iterdir()) == ["b", "letter", "link", "pipe"]


def test_two_backups_at_once_into_one_file_are_refused(tmp_path: Path) -> None:
    store, path = filled(10), tmp_path / "b"
    back_up(store, path)
    one = begin(path, SECRET, os.urandom, identity=ADA, own={PHONE})
    assert code_of(lambda: back_up(store, path)) == "not_allowed"
    one.close()
    assert back_up(store, path) > 0


def test_a_backup_that_is_given_up_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "b"
    fresh = begin(path, SECRET, os.urandom, identity=ADA, own={PHONE})
    fresh.close()
    assert list(tmp_path.iterdir()) == []
    back_up(filled(), path)
    before = path.read_bytes()
    target = begin(path, SECRET, os.urandom, identity=ADA, own={PHONE})
    sweep = Sweep(filled(seed=2))
    while (record := sweep.step()) is not None:
        target.add(record)
    target.close()
    assert path.read_bytes() == before


def test_what_a_kill_left_behind_the_end_goes_with_the_next_backup(tmp_path: Path) -> None:
    store, path = filled(), tmp_path / "b"
    back_up(store, path)
    finished = path.read_bytes()
    back_up(filled(3500, seed=1), path)
    longer = path.read_bytes()
    assert len(longer) > len(finished) + 100_000
    for cut in (1, 100, (len(longer) - len(finished)) // 2, len(longer) - len(finished) - 1):
        path.write_bytes(longer[: len(finished) + cut])
        found = survey(path)
        assert (found.whole, found.end, found.lost) == (False, len(finished), [])
        assert rows_in(path) == rows_of(store)
    back_up(filled(3500, seed=1), path)
    assert survey(path).whole and rows_in(path) == rows_of(filled(3500, seed=1))


def regions(path: Path) -> Iterator[tuple[str, int]]:
    """A place in each region of a file with one state."""
    contents, size = newest(path), path.stat().st_size
    yield from (
        ("version", 0),
        ("magic", 5),
        ("salt", 20),
        ("cost", 33),
        ("check", 40),
        ("checksum", formats.HEADER - 1),
    )
    part = contents.parts[-1]
    for name, place in (
        ("length", 0),
        ("kind", 4),
        ("nonce", 10),
        ("rows", 40),
        ("tag", formats.FRAME + part.length + 15),
    ):
        yield f"record, {name}", part.offset + place
    end = size - formats.END
    yield from (("contents, length", part.end), ("contents, nonce", part.end + 9), ("contents", part.end + 60))
    yield from (("end, length", end), ("end, kind", end + 4), ("end, nonce", end + 9), ("end", size - 1))


def test_a_flipped_bit_in_any_region_is_found(tmp_path: Path) -> None:
    path = tmp_path / "b"
    back_up(filled(), path)
    good = path.read_bytes()
    for name, place in list(regions(path)):
        for bit in (1, 128):
            path.write_bytes(good[:place] + bytes((good[place] ^ bit,)) + good[place + 1 :])
            if place < formats.HEADER:
                assert code_of(lambda: survey(path)) == "backup_damaged", name
            else:
                assert not survey(path).whole, name
    path.write_bytes(good)
    assert survey(path).whole


def test_a_damaged_part_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    store, path = filled(), tmp_path / "b"
    back_up(store, path)
    good = path.read_bytes()
    contents = newest(path)
    assert len(contents.parts) > 3
    for number, part in enumerate(contents.parts):
        for place in (part.offset, part.offset + 4, part.offset + formats.FRAME):
            path.write_bytes(good[:place] + bytes((good[place] ^ 1,)) + good[place + 1 :])
            found = survey(path)
            assert found.lost == [part], number
            opened = open_backup(path, SECRET)
            with opened.file:
                saved = [row for p in contents.parts if p not in found.lost for row in opened.rows(p)]
            assert len(saved) == sum(p.rows for p in contents.parts) - part.rows


def test_records_in_another_order_do_not_open(tmp_path: Path) -> None:
    path = tmp_path / "b"
    back_up(filled(), path)
    contents = newest(path)
    first, second = [part for part in contents.parts if part.table == Table.ENTRY][:2]
    data = path.read_bytes()
    swapped = data[second.offset : second.end] + data[first.offset : first.end]
    path.write_bytes(data[: first.offset] + swapped + data[second.end :])
    found = survey(path)
    assert not found.whole and first in found.lost and second in found.lost


def test_truncation_and_extension_are_found(tmp_path: Path) -> None:
    path = tmp_path / "b"
    back_up(filled(), path)
    good = path.read_bytes()
    path.write_bytes(good + b"\0")
    assert not survey(path).whole and survey(path).end == len(good)
    for cut in (1, formats.END, formats.END + 1, len(good) // 2):
        path.write_bytes(good[:-cut])
        found = survey(path)
        assert found.contents is None
    path.write_bytes(good[:30])
    assert code_of(lambda: survey(path)) == "backup_damaged"
    path.write_bytes(b"")
    assert code_of(lambda: survey(path)) == "backup_damaged"


def test_a_new_state_is_not_built_on_a_damaged_part(tmp_path: Path) -> None:
    store, path = filled(), tmp_path / "b"
    back_up(store, path)
    good = path.read_bytes()
    path.write_bytes(good[:20_000] + bytes((good[20_000] ^ 1,)) + good[20_001:])
    with pytest.raises(Spoiled):
        back_up(store, path)
    back_up(store, path, anew=True)
    assert survey(path).whole and rows_in(path) == rows_of(store)


def test_a_record_of_an_older_version_of_the_file_is_no_part_of_this_one(tmp_path: Path) -> None:
    """The same place, the same key, another record: what the contents name is one record and no other."""
    path = tmp_path / "b"
    back_up(filled(10), path)
    base = path.read_bytes()
    back_up(filled(10, seed=2), path)
    one = path.read_bytes()
    path.write_bytes(base)
    back_up(filled(10, seed=3), path)
    other = bytearray(path.read_bytes())
    start, contents = len(base), newest(path)
    part = next(part for part in contents.parts if part.offset >= start)
    other[part.offset : part.end] = one[part.offset : part.end]
    path.write_bytes(other)
    found = survey(path)
    assert part in found.lost


def test_opened_through_a_link_it_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "b"
    back_up(filled(10), path)
    (tmp_path / "link").symlink_to(path)
    assert code_of(lambda: open_backup(tmp_path / "link", SECRET)) == "not_found"
