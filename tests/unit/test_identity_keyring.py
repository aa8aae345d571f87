"""The OS keyring as a slot's secret: present, absent, or holding something else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends.fail import Keyring as NoKeyring
from keyring.errors import PasswordDeleteError

from identity.errors import KithkinError
from identity.keyring_shell import SERVICE, forget_secret, make_secret, read_secret
from identity.keystore import create_keystore, open_keystore
from tests.support.streams import stream


class Memory(KeyringBackend):
    priority = -1  # never chosen by anybody else in this process

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        username.encode()  # the keyrings of systems hold Unicode
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if self.kept.pop((service, username), None) is None:
            raise PasswordDeleteError("not there")


@pytest.fixture
def ring() -> Iterator[Memory]:
    before = keyring.get_keyring()
    memory = Memory()
    keyring.set_keyring(memory)
    yield memory
    keyring.set_keyring(before)


def test_keyring_secret_is_made_read_and_forgotten(ring: Memory) -> None:
    assert read_secret(Path("profile")) is None
    secret = make_secret(Path("profile"), stream(1))
    assert read_secret(Path("profile")) == secret and read_secret(Path("another")) is None
    data = create_keystore(b"k" * 32, rng=stream(2), keyring_secret=secret)
    assert open_keystore(data, keyring_secret=read_secret(Path("profile"))) == b"k" * 32
    forget_secret(Path("profile"))
    forget_secret(Path("profile"))
    assert read_secret(Path("profile")) is None


def test_profiles_whose_paths_are_no_unicode_have_secrets_of_their_own(ring: Memory) -> None:
    folders = [Path(os.fsdecode(name)) for name in (b"/p/\xff", b"/p/\xfe", b"/p/%FF")]
    secrets = [make_secret(folder, stream(number)) for number, folder in enumerate(folders)]
    assert [read_secret(folder) for folder in folders] == secrets and len(ring.kept) == 3


@pytest.mark.parametrize("text", ["", "not base64!", "AAAA"])
def test_malformed_keyring_entry_is_read_as_none(ring: Memory, text: str) -> None:
    ring.kept[SERVICE, str(Path("profile").resolve())] = text
    assert read_secret(Path("profile")) is None


def test_missing_keyring_gives_no_secret_and_asks_for_a_passphrase(ring: Memory) -> None:
    keyring.set_keyring(NoKeyring())  # type: ignore[no-untyped-call]
    assert read_secret(Path("profile")) is None
    forget_secret(Path("profile"))
    with pytest.raises(KithkinError) as caught:
        make_secret(Path("profile"), stream(1))
    assert caught.value.code == "no_passphrase"
