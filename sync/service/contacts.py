"""Contacts, my profile and my devices: lists, and what one changes about them."""

from __future__ import annotations

from crdt.docs.own import DeviceName, OwnContact, OwnProfile
from crdt.space.epoch import DORMANT_MS
from identity.safety_number import safety_number
from sync.engine.profile import Profile
from sync.service import models
from sync.service.ids import DEVICE, among, chat_id, device_id, find_contact, identity_id
from sync.service.messages import moment
from sync.service.names import device_name, person_name, told_profiles
from sync.service.text import MAX_ABOUT, check_name


def list_contacts(profile: Profile) -> models.Contacts:
    listed = [contact_model(profile, identity) for identity in profile.view.contacts]
    return models.Contacts(contacts=sorted(listed, key=lambda contact: (contact.name.casefold(), contact.id)))


def contact_model(profile: Profile, identity: bytes) -> models.Contact:
    contact = profile.view.contacts[identity]
    state: models.ContactState = "blocked" if contact.blocked else "pending" if contact.pending else "active"
    space = profile.spaces.get(contact.space) if contact.space is not None else None
    about = ""
    if space is not None:
        for member, told in told_profiles(space).items():
            known = space.state.members.get(member)
            if known is not None and known.identity == identity:
                about = told.about or ""
    return models.Contact(
        id=identity_id(identity),
        name=person_name(profile, identity, space),
        state=state,
        verified=bool(contact.verified),
        blocked=bool(contact.blocked),
        chat=chat_id(contact.space) if contact.space is not None else None,
        about=about,
    )


def rename(profile: Profile, contact: str, name: str, now_ms: int) -> bytes:
    """My own name for somebody; an empty one goes back to theirs."""
    identity = find_contact(profile, contact)
    profile.note(now_ms, OwnContact(identity, name=check_name(name, empty=True)))
    return identity


def block(profile: Profile, contact: str, blocked: bool, now_ms: int) -> bytes:
    identity = find_contact(profile, contact)
    profile.note(now_ms, OwnContact(identity, blocked=blocked))
    return identity


def verify(profile: Profile, contact: str, confirm: bool, now_ms: int) -> models.Safety:
    """60 digits to compare; `confirm` says that they were equal."""
    identity = find_contact(profile, contact)
    if confirm:
        profile.note(now_ms, OwnContact(identity, verified=True))
    verified = bool(profile.view.contacts[identity].verified)
    return models.Safety(safety_number=safety_number(profile.account.identity, identity), verified=verified)


def own_profile(profile: Profile) -> models.Profile:
    mine = profile.view.profile
    return models.Profile(identity=identity_id(profile.account.identity), name=mine.name or "", about=mine.about or "")


def set_profile(profile: Profile, name: str | None, about: str | None, now_ms: int) -> models.Profile:
    values = OwnProfile(
        name=check_name(name) if name is not None else None,
        about=check_name(about, MAX_ABOUT, empty=True) if about is not None else None,
    )
    if name is not None or about is not None:
        profile.note(now_ms, values)
    return own_profile(profile)


def list_devices(profile: Profile, now_ms: int) -> models.Devices:
    """Devices of mine that are active, oldest first."""
    active = profile.directory.active(profile.account.identity)
    return models.Devices(devices=[device_model(profile, device.id, now_ms) for device in active])


def device_model(profile: Profile, device: bytes, now_ms: int) -> models.Device:
    active = {entry.id: entry for entry in profile.directory.active(profile.account.identity)}
    found = active.get(device)
    seen = None
    for space in profile.spaces.values():
        for core, writer in space.state.writers.items():
            if writer.device == device and core in space.reports:
                at = space.reports[core].at
                seen = at if seen is None or at > seen else seen
    this = device == profile.account.device
    state: models.DeviceState = "active"
    if found is None:
        state = "revoked"
    elif not this and seen is not None and now_ms - seen >= DORMANT_MS:
        state = "dormant"
    return models.Device(
        id=device_id(device),
        name=device_name(profile, device),
        this=this,
        added=moment((found.since if found is not None else 0) * 1000),
        last_seen=moment(now_ms) if this else moment(seen) if seen is not None else None,
        state=state,
    )


def rename_device(profile: Profile, device: str, name: str, now_ms: int) -> bytes:
    known = [entry.id for entry in profile.directory.active(profile.account.identity)]
    found = among(device, DEVICE, known, "device")
    profile.note(now_ms, DeviceName(found, check_name(name)))
    return found
