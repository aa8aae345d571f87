"""Lost devices on the command line: one is shut out, or the 24 words say which stay."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from apps.cli.command import Args, Asks, Place
from apps.cli.commands import agree
from apps.cli.opening import network_of
from apps.cli.output import Output
from apps.cli.record import Record, as_record
from sync.service.api import KithkinError, Service

if TYPE_CHECKING:
    from sync.service.models import Revoked

PAUSE = 0.25  # seconds between two looks at what others know, or what was found


async def device_revoke(service: Service, args: Args, out: Output) -> None:
    loss = await service.device_revocation(args.id)
    for sentence in loss.effects:
        out.note(sentence)
    if not args.yes:
        await agree(out, f'Shut out "{loss.name}"? Type yes:', "Nothing was changed.")
    out.line(await _told(service, await service.device_revoke(args.id), args.wait))


async def _told(service: Service, done: Revoked, wait: float) -> Record:
    """Waits a little while devices that are connected hear of it, and says who does not know it yet."""
    import asyncio

    end, told, waiting = monotonic() + wait, done.told, done.waiting
    while waiting and monotonic() < end and (await service.status()).peers:
        await asyncio.sleep(PAUSE)
        for device in (await service.devices()).devices:
            if device.id == done.revoked:
                told, waiting = device.told, device.waiting
    said = {"revoked": done.revoked, "spaces": done.spaces, "told": told, "waiting": waiting}
    return as_record("Revoked", said)


async def device_keep(service: Service, args: Args, out: Output) -> None:
    from apps.cli.words import read_words

    for device in (await service.devices()).devices:
        if not device.this:
            out.note(f"{device.id}  {device.name}  ({device.state})")
    out.note("This device and those that you named stay yours. All others are shut out. Compare the ids with what")
    out.note("`kithkin device list` shows on each device itself: a thief can give his own any name.")
    out.line(await service.device_keep(await read_words(out), args.id))


async def keep(place: Place, args: Args, secret: str | None, words: str) -> None:
    """Once the list of devices was found, the words keep those named; until then every other device is out."""
    import asyncio

    place.out.note("Looking for the list of your devices…")
    end = monotonic() + args.wait
    async with place.profiles.open_service(place.folder, secret, network=network_of(args)) as service:
        while True:
            try:
                place.out.line(await service.device_keep(words, args.keep))
            except KithkinError as refused:
                if refused.code != "not_found":
                    raise
            else:
                return
            if monotonic() >= end:
                raise KithkinError(
                    "timeout",
                    "This device is yours again, and all others are out: no device of that name was found in time.",
                )
            await asyncio.sleep(PAUSE)


DEVICE_REVOKE = Asks(device_revoke)
DEVICE_KEEP = Asks(device_keep)
