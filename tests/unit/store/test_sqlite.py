"""The store on disk: who may open it, what is in its files, and what a full or failing disk does to it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from identity.errors import KithkinError
from sync.store.port import Batch, Store, Table
from sync.store.sqlite import VERSION, SqliteStore
from tests.unit.store.disk import Disk

KEY = bytes(range(32))
META, ENTRY = Table.META, Table.ENTRY
WORD = b"a word that nobody else may read"


def put(key: bytes, value: bytes = b"v") -> Batch:
    batch = Batch()
    batch.put(META, key, value)
    return batch


def keys(store: Store) -> list[bytes]:
    return [key for key, _ in store.scan(META)]


def refused(path: Path, key: bytes = KEY) -> str:
    with pytest.raises(KithkinError) as refusal:
        SqliteStore(path, key)
    return refusal.value.code


def behind(path: Path, sql: str) -> None:
    """Change a store behind its back, with the same key."""
    database = apsw.Connection(str(path))
    database.execute(f"PRAGMA cipher = 'chacha20'; PRAGMA key = 'raw:{KEY.hex()}'; {sql}").fetchall()
    database.close()


def run(path: Path, code: str) -> str:
    """Another process, with `path` and KEY at hand."""
    head = (
        "from pathlib import Path\n"
        "from identity.errors import KithkinError\n"
        "from sync.store.sqlite import SqliteStore\n"
        "from sync.store.port import Batch, Table\n"
        f"path, KEY = Path({str(path)!r}), bytes(range(32))\n"
    )
    done = subprocess.run([sys.executable, "-c", head + code], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def test_reopened_store_holds_everything(tmp_path: Path) -> None:
    for number in range(3):
        store = SqliteStore(tmp_path / "s", KEY)
        assert keys(store) == [b"%d" % n for n in range(number)]
        store.write(put(b"%d" % number), durable=bool(number % 2))
        store.close()

    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_only_its_owner_may_read_the_files(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s", KEY)
    store.write(put(b"a"), durable=True)

    assert {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()} == {
        "s": "0o600",
        "s-wal": "0o600",
    }
    store.close()


def test_no_plaintext_in_any_file(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s", KEY)
    for number in range(200):
        store.write(put(b"%d" % number + WORD, WORD * 20), durable=False)
    for path in tmp_path.iterdir():
        assert path.stat().st_size > 0
        assert WORD[:12] not in path.read_bytes()
    store.close()
    assert WORD[:12] not in (tmp_path / "s").read_bytes()
    assert not (tmp_path / "s").read_bytes().startswith(b"SQLite format 3")


def test_nothing_deleted_is_left_after_a_scrub(tmp_path: Path) -> None:
    """Seen through the encryption: the whole file is decrypted and searched."""
    store = SqliteStore(tmp_path / "s", KEY)
    for number in range(300):
        word = b"stays" if number % 3 == 0 else WORD
        store.write(put(b"%03d" % number, word * 20), durable=False)
    batch = Batch()
    for number in range(300):
        if number % 3:
            batch.delete(META, b"%03d" % number)
    batch.put(ENTRY, b"large", WORD * 8_000)
    batch.delete(ENTRY, b"large")
    store.write(batch, durable=True)
    full = (tmp_path / "s-wal").stat().st_size
    store.scrub()
    assert (full > 0, (tmp_path / "s-wal").stat().st_size) == (True, 0)
    store.close()
    behind(tmp_path / "s", "PRAGMA journal_mode = DELETE; PRAGMA rekey = ''")

    image = (tmp_path / "s").read_bytes()
    assert image.startswith(b"SQLite format 3")
    assert b"stays" * 20 in image
    assert WORD[:12] not in image


def test_a_scrub_gives_space_back(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s", KEY)
    store.write(put(b"a", bytes(2_000_000)), durable=True)
    store.scrub()
    before = (tmp_path / "s").stat().st_size
    batch = Batch()
    batch.delete(META, b"a")
    store.write(batch, durable=True)
    store.scrub()

    assert before > 2_000_000 > 500_000 > (tmp_path / "s").stat().st_size
    store.close()


def test_second_process_that_opens_the_store_is_refused_at_once(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s", KEY)

    assert refused(tmp_path / "s") == "profile_in_use"
    said = run(
        tmp_path / "s",
        "try:\n    SqliteStore(path, KEY)\nexcept KithkinError as error:\n    print(error.code)\n",
    )
    assert said == "profile_in_use"

    store.write(put(b"a"), durable=True)
    store.close()
    assert run(tmp_path / "s", "print(SqliteStore(path, KEY).scan(Table.META))") == "[(b'a', b'v')]"


@pytest.mark.parametrize("key", [bytes(32), bytes(range(1, 33))])
def test_a_wrong_key_opens_nothing_and_harms_nothing(tmp_path: Path, key: bytes) -> None:
    store = SqliteStore(tmp_path / "s", KEY)
    store.write(put(b"a"), durable=True)
    store.close()
    before = (tmp_path / "s").read_bytes()

    assert refused(tmp_path / "s", key) == "profile_unreadable"
    assert (tmp_path / "s").read_bytes() == before
    store = SqliteStore(tmp_path / "s", KEY)
    assert keys(store) == [b"a"]
    store.close()


def test_keys_have_32_bytes(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        SqliteStore(tmp_path / "s", b"short")


def test_a_store_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "s", KEY).close()
    behind(tmp_path / "s", f"PRAGMA user_version = {VERSION + 1}")
    before = (tmp_path / "s").read_bytes()

    assert refused(tmp_path / "s") == "profile_newer"
    assert (tmp_path / "s").read_bytes() == before


def test_a_store_of_an_earlier_version_is_refused_and_left_unchanged(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "s", KEY).close()
    behind(tmp_path / "s", f"PRAGMA user_version = {VERSION - 1}")
    before = (tmp_path / "s").read_bytes()

    with pytest.raises(KithkinError, match="earlier version") as caught:
        SqliteStore(tmp_path / "s", KEY)
    assert caught.value.code == "profile_unreadable"
    assert (tmp_path / "s").read_bytes() == before


def test_tables_of_a_newer_program_are_added_to_an_older_store(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s", KEY)
    store.write(put(b"a"), durable=True)
    store.close()
    behind(tmp_path / "s", f"DROP TABLE t{int(ENTRY)}")

    store = SqliteStore(tmp_path / "s", KEY)
    assert (keys(store), store.scan(ENTRY)) == ([b"a"], [])
    store.close()


def test_file_that_is_no_store_is_refused_and_left_unchanged(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a store, but longer than a page of one would be\n" * 200)
    plain = apsw.Connection(str(tmp_path / "plain"))
    plain.execute("CREATE TABLE t (a); INSERT INTO t VALUES (1)")
    plain.close()
    behind(tmp_path / "foreign", "CREATE TABLE t (a)")
    (tmp_path / "folder").mkdir()

    assert {
        name: refused(tmp_path / name) for name in ("text", "plain", "foreign", "folder", "absent/s", "text/s")
    } == {
        "text": "profile_unreadable",
        "plain": "profile_unreadable",
        "foreign": "profile_unreadable",
        "folder": "profile_unreadable",
        "absent/s": "profile_unreadable",
        "text/s": "profile_unreadable",
    }


def test_a_flipped_byte_is_found(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s", KEY)
    for number in range(100):
        store.write(put(b"%03d" % number, bytes(400)), durable=False)
    assert store.check() is None
    store.close()
    image = bytearray((tmp_path / "s").read_bytes())
    image[-5_000] ^= 1
    (tmp_path / "s").write_bytes(image)

    store = SqliteStore(tmp_path / "s", KEY)
    with pytest.raises(KithkinError) as refusal:
        store.scan(META)
    assert refusal.value.code == "profile_unreadable"
    assert store.check() is not None
    store.close()


def test_full_disk_loses_nothing_and_store_works_again_with_space(tmp_path: Path) -> None:
    disk = Disk()
    store = SqliteStore(tmp_path / "s", KEY, vfs=disk.name)
    store.write(put(b"0"), durable=True)
    disk.capacity = disk.used() + 20_000
    kept, codes = [b"0"], []
    for number in range(1, 12):
        batch = put(b"%d" % number, bytes(3_000))
        batch.put(ENTRY, b"%d" % number, bytes(3_000))
        try:
            store.write(batch, durable=number % 2 == 0)
            kept.append(b"%d" % number)
        except KithkinError as refusal:
            codes.append(refusal.code)
    assert codes
    assert set(codes) == {"disk_full"}
    assert keys(store) == sorted(kept)
    assert [key for key, _ in store.scan(ENTRY)] == sorted(kept)[1:]

    disk.capacity = None
    store.write(put(b"after"), durable=True)
    assert keys(store) == sorted([*kept, b"after"])
    store.close()
    store = SqliteStore(tmp_path / "s", KEY, vfs=disk.name)
    assert keys(store) == sorted([*kept, b"after"])
    assert store.check() is None
    store.close()


def test_file_size_limit_of_the_system_is_a_full_disk(tmp_path: Path) -> None:
    """The limit on file size stands in for the disk's end: the same failing writes, without a disk to fill."""
    resource = pytest.importorskip("resource", reason="no file size limit on this system")
    assert resource is not None
    said = run(
        tmp_path / "s",
        """
import resource
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
store = SqliteStore(path, KEY)
def put(number):
    batch = Batch()
    batch.put(Table.META, b"%03d" % number, bytes(3_000))
    try:
        store.write(batch, durable=True)
        return "kept"
    except KithkinError as error:
        return error.code
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
first = [put(number) for number in range(600)]
kept = [b"%03d" % number for number, said in enumerate(first) if said == "kept"]
assert [key for key, _ in store.scan(Table.META)] == kept, "something was lost"
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
assert put(999) == "kept"
store.close()
store = SqliteStore(path, KEY)
assert [key for key, _ in store.scan(Table.META)] == [*kept, b"999"]
print(sorted(set(first)))
""",
    )
    assert said == "['disk_full', 'kept']"


def test_failed_sync_refuses_every_call_until_reopened(tmp_path: Path) -> None:
    disk = Disk()
    store = SqliteStore(tmp_path / "s", KEY, vfs=disk.name)
    store.write(put(b"a"), durable=True)
    disk.fail_sync = True
    codes = []
    for key in (b"b", b"c"):
        with pytest.raises(KithkinError) as refusal:
            store.write(put(key), durable=True)
        codes.append(refusal.value.code)
        disk.fail_sync = False
    assert codes == ["profile_unreadable", "profile_unreadable"]
    store.close()

    later = disk.power_cut(bytes)
    store = SqliteStore(tmp_path / "s", KEY, vfs=later.name)
    assert keys(store) == [b"a"]
    store.close()


def test_a_durable_batch_without_effect_syncs_what_came_before(tmp_path: Path) -> None:
    disk = Disk()
    store = SqliteStore(tmp_path / "s", KEY, vfs=disk.name)
    store.write(put(b"a"), durable=False)
    batch = Batch()
    batch.delete(META, b"never there")
    store.write(batch, durable=True)

    later = disk.power_cut(bytes)
    after = SqliteStore(tmp_path / "s", KEY, vfs=later.name)
    assert keys(after) == [b"a"]
    after.close()
    store.close()


def test_an_empty_durable_batch_syncs_what_came_before(tmp_path: Path) -> None:
    disk = Disk()
    store = SqliteStore(tmp_path / "s", KEY, vfs=disk.name)
    store.write(put(b"a"), durable=False)
    before = disk.syncs
    store.write(Batch(), durable=True)
    assert disk.syncs > before
    before = disk.syncs
    store.write(Batch(), durable=True)
    assert disk.syncs == before

    later = disk.power_cut(bytes)
    after = SqliteStore(tmp_path / "s", KEY, vfs=later.name)
    assert keys(after) == [b"a"]
    after.close()
    store.close()
