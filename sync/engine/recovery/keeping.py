"""Devices that the phrase keeps: its newest word lists them, and all others are out.

A device made from the words finds the list of its person's devices in the copy.  Its own first word lists none, for it
cannot know them yet; the words are typed once more for the choice, so that the root key lies in no store.  Kept devices
go on as they are, and the new one moves into the personal space that they share.  `docs/protocol.md`, "Recovery".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from crdt.docs.own import DeviceName
from identity.device_set import MAX_DEVICES
from identity.errors import DecodeError, KithkinError
from identity.keys import SigningKey
from identity.statement import Certificate, root_certificate, want_certificate
from sync.account.recovery_copy import CopiedDevice, RecoveryCopy, decode_copy, encode_copy
from sync.engine.effects import DeviceChanged
from sync.engine.profile import Profile
from sync.store.port import Table

_FOUND = b"found devices"


@dataclass(frozen=True, slots=True)
class KeptDevices:
    """What the phrase said: ids of devices that stay beside this one, and of those that were known and are out."""

    kept: tuple[bytes, ...]
    out: tuple[bytes, ...]


def put_found(profile: Profile, copy: RecoveryCopy) -> None:
    """Keeps the list of my devices that a copy holds, and where they meet."""
    found = encode_copy(replace(copy, contacts=(), chats=(), about=""))
    profile.context.batch.put(Table.META, _FOUND, found)


def found_copy(profile: Profile) -> RecoveryCopy | None:
    """That list; None where this device was not made from the words, or has found no copy yet."""
    row = profile.store.get(Table.META, _FOUND)
    return decode_copy(row) if row is not None else None


def copied_devices(copy: RecoveryCopy, identity: bytes) -> list[tuple[Certificate, CopiedDevice]]:
    """The devices of a copy whose certificates are good and of this identity."""
    found = []
    for one in copy.devices:
        try:
            certificate = want_certificate(one.certificate)
        except DecodeError:
            continue
        if certificate.identity == identity:
            found.append((certificate, one))
    return found


def keepable(profile: Profile) -> Mapping[bytes, Certificate]:
    """Device id -> the certificate by which the phrase can keep it: my other devices, in or out, as far as known."""
    account, copy = profile.account, found_copy(profile)
    known = {c.device: c for c, _ in copied_devices(copy, account.identity)} if copy is not None else {}
    found = {**known, **profile.directory.certificates(account.identity)}
    found.pop(account.device, None)
    return found


def keep_devices(profile: Profile, root: SigningKey, devices: Collection[bytes], now_ms: int) -> KeptDevices:
    """Signs the phrase's newest word into the open batch: this device and `devices` stay, all others are out.

    Its generation is above every one that is known here, whatever the clock says.  Raises KithkinError `not_found` for
    a device that nobody knows, `too_many_devices`, `not_allowed` for one whose feed in my list was ended, and where
    that of this one was.
    """
    account, directory, known = profile.account, profile.directory, keepable(profile)
    chosen = sorted(set(devices) - {account.device})
    if any(device not in known for device in chosen):
        raise KithkinError("not_found", "There is no such device here.")
    if len(chosen) >= MAX_DEVICES:
        raise KithkinError("too_many_devices", f"Beside this one at most {MAX_DEVICES - 1} devices stay.")
    for device in chosen:
        feeds = [w.open for w in profile.personal.state.writers.values() if w.device == device]
        if feeds and not any(feeds):
            name = profile.view.devices.get(device, "device")
            raise KithkinError("not_allowed", f'"{name}" was shut out by one of your devices and is to be linked anew.')
    mine = profile.personal.mine
    if mine is None or not profile.personal.state.open(mine.core):
        raise KithkinError(
            "not_allowed", "Another device ended this one's part in your account: use `kithkin init --recover` instead."
        )
    copy = found_copy(profile)
    before = max(directory.generation(account.identity), copy.generation if copy is not None else 0)
    now = now_ms // 1000
    certificates = [known[device] for device in chosen]
    word = root_certificate(
        root,
        account.keys.signing,
        account.keys.agreement.public,
        created=now,
        generation=max(now, before + 1),
        stay=[certificate.id for certificate in certificates],
    )
    profile.learn([*certificates, word])
    profile.introduce()
    if copy is not None and chosen:
        _await(profile, copy, set(chosen), now_ms)
    for space in profile.spaces.values():
        space.look_again()
    for device in chosen:
        name = profile.view.devices.get(device, "device")
        profile.effects.append(DeviceChanged(device, f'"{name}" stays one of your devices.'))
    gone = tuple(sorted(device for device in known if device not in chosen))
    return KeptDevices(tuple(chosen), gone)


def _await(profile: Profile, copy: RecoveryCopy, kept: Collection[bytes], now_ms: int) -> None:
    """This device asks the kept ones to let it into the personal space that they share, and moves there."""
    writers = []
    for certificate, one in copied_devices(copy, profile.account.identity):
        if certificate.device in kept:
            profile.note(now_ms, DeviceName(certificate.device, one.name))
            if any(one.writer):
                writers.append(one.writer)
    if writers and copy.personal != profile.personal.id:
        profile.await_personal(copy.personal, copy.rendezvous, writers)
