"""Where a store lies: what a rename leaves as it is, and what a copy changes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sync.service import place
from sync.service.place import keep_place, place_of, was_copied
from sync.store.memory import MemoryStore

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /mnt/my\\040stick rw - vfat /dev/sdb1 rw
31 22 0:41 / /home rw - btrfs /dev/sdc1 rw
32 31 0:42 / /home/ada/far rw - fuse.sshfs far: rw
33 22 0:43 / /over rw - overlay overlay rw
"""


@pytest.fixture
def lasting(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a disk whose inodes last, wherever the tests run."""
    monkeypatch.setattr(place, "_file_system", lambda path, mounts: "ext4")


def test_the_deepest_mount_says_what_kind_of_file_system_it_is() -> None:
    kinds = {
        "/home/ada/profile/store.db": "btrfs",
        "/home/ada/far/profile/store.db": "fuse.sshfs",
        "/home/adafar/store.db": "btrfs",
        "/mnt/my stick/store.db": "vfat",
        "/over/store.db": "overlay",
        "/var/store.db": "ext4",
    }
    assert {path: place._file_system(Path(path), MOUNTS) for path in kinds} == kinds


def test_a_rename_leaves_the_place_and_a_copy_does_not(lasting: None, tmp_path: Path) -> None:
    folder = tmp_path / "profile"
    folder.mkdir()
    (folder / "store.db").write_bytes(b"rows")
    here = place_of(folder / "store.db")
    assert len(here) == 16
    folder.rename(tmp_path / "renamed")
    (tmp_path / "renamed" / "store.db").write_bytes(b"more rows")
    (tmp_path / "renamed" / "store.db").chmod(0o600)
    assert place_of(tmp_path / "renamed" / "store.db") == here
    shutil.copytree(tmp_path / "renamed", tmp_path / "copy")
    assert place_of(tmp_path / "copy" / "store.db") not in (here, b"")


def test_where_inodes_do_not_last_nothing_is_concluded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "store.db").write_bytes(b"rows")
    for kind in ("vfat", "exfat", "fuse.sshfs", "nfs4", "overlay", "9p", ""):
        monkeypatch.setattr(place, "_file_system", lambda path, mounts, kind=kind: kind)
        assert place_of(tmp_path / "store.db") == b""
    monkeypatch.setattr(place, "MOUNTS", tmp_path / "nowhere")
    assert place_of(tmp_path / "store.db") == b""


def test_a_store_is_a_copy_only_where_both_places_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KITHKIN_MOVED", raising=False)
    store = MemoryStore()
    assert not was_copied(store, b"a" * 16)
    keep_place(store, b"")
    assert not was_copied(store, b"a" * 16)
    keep_place(store, b"a" * 16)
    assert not was_copied(store, b"a" * 16)
    assert not was_copied(store, b"")
    assert was_copied(store, b"b" * 16)
    monkeypatch.setenv("KITHKIN_MOVED", "same")
    assert not was_copied(store, b"b" * 16)
