"""Shutting a device out: the statement that a person's device signs, and what follows from it.

The statement is durable first; then every space that lists the device is keyed anew by the background tasks, a few a
tick, again after a crash (`sync.engine.tasks.schedule`).  `docs/protocol.md`, "Shutting a device out".
"""

from __future__ import annotations

from dataclasses import dataclass

from identity.errors import KithkinError
from identity.statement import Revocation, revoke
from sync.engine.profile import Profile


@dataclass(frozen=True, slots=True)
class Loss:
    """What shutting a device out would do.  spaces: how many are keyed anew; stays: devices that it let in."""

    device: bytes
    spaces: int
    stays: tuple[bytes, ...]


def loss_of(profile: Profile, device: bytes) -> Loss:
    """Raises KithkinError `not_allowed` for this device and for one that is out already.

    A device that is out itself may still shut out another: then both are out, and the phrase decides.
    """
    account, directory = profile.account, profile.directory
    if device == account.device:
        raise KithkinError(
            "not_allowed", "That is this device: shut it out from another device of yours, so that one is left."
        )
    if directory.is_out(device) and not directory.gave_way(account.identity, device):
        raise KithkinError("not_allowed", "That device is shut out already.")
    spaces = 0 if profile.out else sum(device in space.devices() for space in profile.spaces.values())
    stays = tuple(dict.fromkeys(c.device for c in directory.issued_by(account.identity, device)))
    return Loss(device, spaces, stays)


def shut_out(profile: Profile, device: bytes, now_ms: int) -> Loss:
    """Puts the signed statement into the open batch; the spaces follow.  Devices that it let in, and that are active,
    stay.  A device that gave way to it is shut out as well, or the same backup would make the next one.  Raises as
    `loss_of`."""
    loss = loss_of(profile, device)
    former = profile.directory.places_taken(profile.account.identity, device)
    profile.learn([sign_revocation(profile, one, now_ms, gone=device) for one in (device, *former)])
    profile.learn([sign_revocation(profile, one, now_ms, gone=device) for one in unproved(profile)])
    return loss


def unproved(profile: Profile) -> list[bytes]:
    """Devices of mine that fell with another, still stand in some list, and were certified by so many that no operation
    could carry what shows them as out: named in a revocation of their own, one statement shows it."""
    directory, me = profile.directory, profile.account.identity
    listed = {device for space in profile.spaces.values() for device in space.devices()}
    fallen = directory.out(me, [one for one in listed if (known := directory.device(one)) and known.identity == me])
    return sorted(one for one in fallen if not directory.evidence(me, one))


def sign_revocation(profile: Profile, device: bytes, now_ms: int, *, gone: bytes = b"") -> Revocation:
    """This device's word that another one is out.  gone: a device that it let in and that goes with it."""
    account, directory = profile.account, profile.directory
    return revoke(
        account.identity,
        device,
        created=now_ms // 1000,
        generation=directory.generation(account.identity),
        signer=(account.keys.signing.public, account.keys.agreement.public),
        key=account.keys.signing,
        stay=[c.id for c in directory.issued_by(account.identity, device) if c.device != gone],
    )
