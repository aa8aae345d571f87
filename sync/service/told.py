"""Who knows that devices of mine are out: by the records of others, never by a clock.

A space that a device is shut out of gets an epoch which that device has no slot in, in the very entry that says so.
Whoever tells in its record that it has all epochs in use has read that entry.
"""

from __future__ import annotations

from collections.abc import Iterator

from sync.engine.profile import Profile
from sync.service.names import device_name, person_name
from sync.space.obligations import owes_epoch
from sync.space.space import Space


def told_of_losses(profile: Profile) -> tuple[list[str], list[str]]:
    """(names of my devices and contacts that know which devices of mine are out, names of those that do not yet)."""
    me, knows = profile.account, _informed(profile.personal)
    told, waiting = list[str](), list[str]()
    for device in profile.directory.active(me.identity):
        if device.id != me.device:
            (told if device.id in knows else waiting).append(device_name(profile, device.id))
    heard, others = set[bytes](), set[bytes]()
    for space in profile.spaces.values():
        if space.personal:
            continue
        owners = {w.device: space.state.members[w.member].identity for w in space.state.writers.values() if w.open}
        others.update(owners.values())
        heard.update(owners[device] for device in _informed(space) & owners.keys())
    for identity in sorted(profile.view.contacts.keys() & others):
        (told if identity in heard else waiting).append(person_name(profile, identity))
    return sorted(told), sorted(waiting)


def _informed(space: Space) -> frozenset[bytes]:
    return frozenset(_readers(space))


def _readers(space: Space) -> Iterator[bytes]:
    """Devices whose newest record names every epoch in use here; none while this device owes the space one."""
    state = space.state
    current = {epoch.id[:8] for epoch in state.epochs.values() if not epoch.superseded}
    if not current or owes_epoch(space):
        return
    for core, report in space.reports.items():
        writer = state.writers.get(core)
        if writer is not None and not writer.out and current <= set(report.epochs):
            yield writer.device
