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
    if directory.is_out(device):
        raise KithkinError("not_allowed", "That device is shut out already.")
    spaces = 0 if profile.out else sum(device in space.devices() for space in profile.spaces.values())
    stays = tuple(dict.fromkeys(c.device for c in directory.issued_by(account.identity, device)))
    return Loss(device, spaces, stays)


def shut_out(profile: Profile, device: bytes, now_ms: int) -> Loss:
    """Puts the signed statement into the open batch; the spaces follow.  Devices that it let in, and that are active,
    stay.  Raises as `loss_of`."""
    loss = loss_of(profile, device)
    profile.learn([sign_revocation(profile, device, now_ms)])
    return loss


def sign_revocation(profile: Profile, device: bytes, now_ms: int) -> Revocation:
    """This device's word that another one is out."""
    account, directory = profile.account, profile.directory
    return revoke(
        account.identity,
        device,
        created=now_ms // 1000,
        generation=directory.generation(account.identity),
        signer=(account.keys.signing.public, account.keys.agreement.public),
        key=account.keys.signing,
        stay=[c.id for c in directory.issued_by(account.identity, device)],
    )
