"""Contacts, my profile and my devices: lists, and what one changes about them."""

from __future__ import annotations

import unicodedata

from crdt.docs.own import DeviceName, OwnContact, OwnProfile
from crdt.space.epoch import DORMANT_MS
from identity.errors import KithkinError
from identity.phrase import phrase_keys
from identity.safety_number import safety_number
from sync.engine.effects import ContactChanged
from sync.engine.profile import Profile
from sync.engine.recovery.keeping import keep_devices, keepable
from sync.engine.revocation import loss_of, shut_out
from sync.service import models
from sync.service.domain import Domain, commits
from sync.service.ids import DEVICE, among, chat_id, device_id, find_contact, identity_id
from sync.service.names import device_name, person_name, told_profiles
from sync.service.text import MAX_ABOUT, check_name
from sync.service.times import moment
from sync.service.told import told_of_losses


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
        """Active ones, oldest first; then those that were shut out, by name."""
        profile = self._profile
        active = [device_model(profile, device.id, self._now_ms) for device in profile.directory.active(me(profile))]
        out = [device_model(profile, device, self._now_ms) for device in known_out(profile)]
        return models.Devices(devices=[*active, *sorted(out, key=lambda device: (not device.this, device.name))])

    async def device_revocation(self, device: str) -> models.Revocation:
        profile = self._profile
        loss = loss_of(profile, self._device(device))
        name = device_name(profile, loss.device)
        effects = [
            f'"{name}" is shut out of your account for good: it gets no new messages and can write nothing.',
            "One chat or list of yours gets new keys."
            if loss.spaces == 1
            else f"{loss.spaces} chats and lists of yours get new keys.",
            "Your other devices and your contacts are told.",
            "It keeps what it has, and can read what people write until they hear of this.",
        ]
        if profile.out:
            effects = [
                f'This device was shut out itself. If you shut out "{name}" too, both are out.',
                "Then your 24 words decide: a device made from them is yours alone.",
            ]
        elif loss.stays:
            names = ", ".join(f'"{device_name(profile, one)}"' for one in loss.stays)
            effects.append(f"Devices that it let in stay: {names}. Shut those out too that you do not know.")
        return models.Revocation(device=device_id(loss.device), name=name, spaces=loss.spaces, effects=effects)

    async def device_keep(self, phrase: str, devices: list[str]) -> models.Kept:
        profile, root = self._profile, phrase_keys(phrase).root
        if root.public != me(profile):
            raise KithkinError("phrase_invalid", "These are good words, but of another identity than this profile's.")
        chosen = [named_device(profile, text) for text in devices]
        done = self._opened.commit(lambda: keep_devices(self._profile, root, chosen, self._now_ms))
        self._opened.engine.dialling.start_afresh()
        self._opened.tick()
        return models.Kept(kept=[device_id(one) for one in done.kept], out=[device_id(one) for one in done.out])

    async def device_revoke(self, device: str) -> models.Revoked:
        found = self._device(device)
        loss = self._opened.commit(lambda: shut_out(self._profile, found, self._now_ms))
        while self._opened.engine.tasks.owing:  # each tick takes a few; whoever else has something to do, does it
            await self._others_first()
            self._opened.tick()
        told, waiting = told_of_losses(self._profile)
        return models.Revoked(revoked=device_id(found), spaces=loss.spaces, told=told, waiting=waiting)

    def _device(self, device: str) -> bytes:
        profile = self._profile
        known = [*(entry.id for entry in profile.directory.active(me(profile))), *known_out(profile)]
        return among(device, DEVICE, known, "device")

    @commits
    def device_rename(self, device: str, name: str) -> models.DeviceRef:
        known = [entry.id for entry in self._profile.directory.active(self._profile.account.identity)]
        found = among(device, DEVICE, known, "device")
        self._profile.note(self._now_ms, DeviceName(found, check_name(name)))
        return models.DeviceRef(device=device_id(found))


def named_device(profile: Profile, text: str) -> bytes:
    """A device of mine, in or out, by its id or its name.  Raises `not_found`, `not_allowed` for a name of several."""
    known = {*keepable(profile), profile.account.device}
    name = unicodedata.normalize("NFC", text).casefold()
    found = [one for one in known if unicodedata.normalize("NFC", device_name(profile, one)).casefold() == name]
    if len(found) > 1:
        ids = ", ".join(sorted(device_id(one) for one in found))
        raise KithkinError("not_allowed", f"Several devices have that name; give the id of one: {ids}.")
    return found[0] if found else among(text, DEVICE, known, "device")


def me(profile: Profile) -> bytes:
    """My identity."""
    return profile.account.identity


def known_out(profile: Profile) -> list[bytes]:
    """Devices of mine that were shut out, as far as they were ever in my list; this one, if it is one of them."""
    return sorted(profile.directory.out(me(profile), {*profile.view.devices, profile.account.device}))


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
    certificate = keepable(profile).get(device) if found is None else None
    since = found.since if found is not None else certificate.created if certificate is not None else 0
    told, waiting = told_of_losses(profile) if state == "revoked" and not this else ([], [])
    return models.Device(
        id=device_id(device),
        name=device_name(profile, device),
        this=this,
        added=moment(since * 1000) if since else None,
        last_seen=moment(now_ms) if this else moment(seen) if seen is not None else None,
        state=state,
        told=told,
        waiting=waiting,
    )
