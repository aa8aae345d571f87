"""Cover: whether what is written in a chat stays closed to a recorder who has a quantum computer one day, and if not,
which devices are the reason.

An epoch says itself who of its roster got its key under X25519 alone; an author without ML-KEM could give it to nobody
otherwise.  `docs/protocol.md`, "Grant".
"""

from __future__ import annotations

from collections.abc import Iterable

from crdt.space.membership import EpochInfo
from sync.engine.profile import Profile
from sync.service.ids import device_id
from sync.service.names import device_name, person_name
from sync.space.space import Space

NAMED = 3  # devices that a sentence names


def of_chat(space: Space) -> tuple[bytes, ...]:
    """Ids of the devices for which what is written now is sealed under X25519 alone; none: the chat is covered."""
    found: dict[bytes, None] = {}
    for epoch in space.epoch_keys.live():
        found.update(dict.fromkeys(reasons(space, epoch)))
    return tuple(found)


def of_entry(space: Space, core: bytes, seq: int) -> tuple[bytes, ...] | None:
    """The same of one entry; None where it is not known here under which epoch it stands: it came as history."""
    epoch = space.state.epochs.get(space.epoch_keys.keyring.epoch_of(core, seq) or b"")
    return reasons(space, epoch) if epoch is not None else None


def reasons(space: Space, epoch: EpochInfo) -> tuple[bytes, ...]:
    """The author of an epoch if it had no ML-KEM itself, else each device that told no K."""
    author = space.state.writers.get(epoch.core)
    devices = tuple(place.device for place in epoch.classical)
    return (author.device,) if author is not None and author.device in devices else devices


def sentence(profile: Profile, space: Space, devices: Iterable[bytes]) -> str:
    """Says who is the reason, in one sentence; empty for nobody."""
    names = list(dict.fromkeys(_name(profile, space, device) for device in devices))
    if not names:
        return ""
    if len(names) > NAMED:
        names = [*names[:NAMED], f"{len(names) - NAMED} more"]
    who = names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
    lacks = "lacks" if len(names) == 1 else "lack"
    return f"A recording of this chat could be read by a quantum computer one day: {who} {lacks} the newer keys."


def _name(profile: Profile, space: Space, device: bytes) -> str:
    if device == profile.account.device:
        return "this device"
    if device in profile.view.devices:
        return f"your device {device_name(profile, device)}"
    for writer in space.state.writers.values():
        if writer.device == device:
            identity = space.state.members[writer.member].identity
            if identity == profile.account.identity:
                return f"your device {device_id(device)}"
            return f"a device of {person_name(profile, identity, space)}"
    return device_id(device)
