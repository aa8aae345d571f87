"""Contacts, my profile and my devices: lists, and what one changes about them."""

from __future__ import annotations

from crdt.docs.own import DeviceName, OwnContact, OwnProfile
from crdt.space.epoch import DORMANT_MS
from identity.safety_number import safety_number
from sync.engine.effects import ContactChanged
from sync.engine.profile import Profile
from sync.service import models
from sync.service.domain import Domain, commits
from sync.service.ids import DEVICE, among, chat_id, device_id, find_contact, identity_id
from sync.service.names import device_name, person_name, told_profiles
from sync.service.text import MAX_ABOUT, check_name
from sync.service.times import moment


class ContactCalls(Domain):
    """The calls about contacts and my own profile."""

    async def profile(self) -> models.PublicProfile:
        return own_profile(self._profile)

    @commits
    def profile_set(self, *, name: str | None = None, about: str | None = None) -> models.PublicProfile:
        values = OwnProfile(
            name=check_name(name) if name is not None else None,
            about=check_name(about, MAX_ABOUT, empty=True) if about is not None else None,
        )
        if name is not None or about is not None:
            self._profile.note(self._now_ms, values)
        return own_profile(self._profile)

    async def contacts(self) -> models.Contacts:
        listed = [contact_model(self._profile, identity) for identity in self._profile.view.contacts]
        return models.Contacts(contacts=sorted(listed, key=lambda contact: (contact.name.casefold(), contact.id)))

    @commits
    def contact_rename(self, contact: str, name: str) -> models.ContactRef:
        """My own name for somebody; an empty one goes back to theirs."""
        identity = find_contact(self._profile, contact)
        return self._note(OwnContact(identity, name=check_name(name, empty=True)))

    @commits
    def contact_block(self, contact: str) -> models.ContactRef:
        return self._note(OwnContact(find_contact(self._profile, contact), blocked=True))

    @commits
    def contact_unblock(self, contact: str) -> models.ContactRef:
        return self._note(OwnContact(find_contact(self._profile, contact), blocked=False))

    @commits
    def contact_verify(self, contact: str, *, confirm: bool = False) -> models.Safety:
        profile, identity = self._profile, find_contact(self._profile, contact)
        if confirm:
            profile.note(self._now_ms, OwnContact(identity, verified=True))
        verified = bool(profile.view.contacts[identity].verified)
        return models.Safety(safety_number=safety_number(profile.account.identity, identity), verified=verified)

    def _note(self, contact: OwnContact) -> models.ContactRef:
        """Notes it for my other devices and tells whoever listens here."""
        self._profile.note(self._now_ms, contact)
        self._profile.effects.append(ContactChanged(contact.identity))
        return models.ContactRef(contact=identity_id(contact.identity))


class DeviceCalls(Domain):
    """The calls about my devices."""

    async def devices(self) -> models.Devices:
        """Active ones, oldest first."""
        active = self._profile.directory.active(self._profile.account.identity)
        return models.Devices(devices=[device_model(self._profile, device.id, self._now_ms) for device in active])

    @commits
    def device_rename(self, device: str, name: str) -> models.DeviceRef:
        known = [entry.id for entry in self._profile.directory.active(self._profile.account.identity)]
        found = among(device, DEVICE, known, "device")
        self._profile.note(self._now_ms, DeviceName(found, check_name(name)))
        return models.DeviceRef(device=device_id(found))


def own_profile(profile: Profile) -> models.PublicProfile:
    """My identity and what my contacts see of it."""
    mine = profile.view.profile
    return models.PublicProfile(
        identity=identity_id(profile.account.identity), name=mine.name or "", about=mine.about or ""
    )


def contact_model(profile: Profile, identity: bytes) -> models.Contact:
    """A contact as the list shows it."""
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


def device_model(profile: Profile, device: bytes, now_ms: int) -> models.Device:
    """A device of mine as the list shows it; `last_seen` is the time of its newest record in any space."""
    active = {entry.id: entry for entry in profile.directory.active(profile.account.identity)}
    found = active.get(device)
    seen = None
    for space in profile.spaces.values():
        for core, writer in space.state.writers.items():
            if writer.device == device and core in space.reports and space.proofs.stands(core):
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
