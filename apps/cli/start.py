"""The commands that stand before a service: making, linking and running a profile, the apps, the demo."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from apps import VERSION
from apps.cli.command import Args, Place, Says, Stands, Window
from apps.cli.opening import network_of, opened
from apps.cli.output import Output
from apps.cli.record import as_record
from apps.cli.terminal import Lines, ask_passphrase, given_passphrase, interactive, qr_lines
from sync.service.api import KithkinError, Linking, Network, Service

if TYPE_CHECKING:
    from sync.service.models import Linked


def new_passphrase() -> str | None:
    """For a profile that is about to be made; None leaves it to the keyring."""
    given = given_passphrase()
    return given if given is not None else ask_passphrase(new=True)


async def refuse_running(place: Place) -> None:
    """Raises `profile_in_use` where a node runs on the profile."""
    from sync.service.remote import connect

    node = await connect(place.folder)
    if node is not None:
        await node.close()
        raise KithkinError("profile_in_use", "A node runs on this profile already; other commands go through it.")


async def refuse_taken(place: Place) -> None:
    """Before anybody is asked for a new passphrase.  Raises `profile_in_use`, `profile_exists`."""
    from sync.service.profiles import refuse_existing

    await refuse_running(place)
    refuse_existing(place.folder)


async def init(place: Place, args: Args) -> None:
    if args.keep and not args.recover:
        raise KithkinError("usage", "--keep goes with --recover: a new identity has no other devices.")
    await refuse_taken(place)
    if args.recover:
        from apps.cli.words import read_words

        words, secret = await read_words(place.out), new_passphrase()
        place.out.line(await place.profiles.recover_profile(place.folder, secret, words, name=args.name))
        if args.keep:
            from apps.cli.losses import keep

            await keep(place, args, secret, words)
        return
    made = await place.profiles.create_profile(place.folder, new_passphrase(), name=args.name)
    place.out.line(made)
    from apps.cli.words import ask_back

    await ask_back(made.phrase, place.out)


async def link(place: Place, args: Args) -> None:
    from sync.service.models import Payload

    await refuse_taken(place)
    secret = new_passphrase()
    network = network_of(args)
    async with place.profiles.link_profile(
        place.folder, secret, name=args.name, network=network, wait=args.wait
    ) as linking:
        out = place.out
        if interactive() and not out.json:
            out.text("\n".join(qr_lines(linking.payload, colour=out.colour)))
        out.line(Payload(payload=linking.payload))
        out.note("Approve it on a device of yours (`kithkin device approve TEXT`), then type its six digits here.")
        linked = await type_digits(linking, out)
    place.out.line(linked)


async def type_digits(linking: Linking, out: Output) -> Linked:
    """Lines of standard input are tried until one matches; what ends the linking meanwhile ends this too."""
    import asyncio

    done = asyncio.ensure_future(linking.done())
    typing = asyncio.ensure_future(_typing(linking, out))
    try:
        await asyncio.wait({done, typing}, return_when=asyncio.FIRST_COMPLETED)
        if typing.done() and not done.done():
            await typing
        return await done
    finally:
        typing.cancel()
        done.cancel()
        await asyncio.gather(typing, done, return_exceptions=True)


async def _typing(linking: Linking, out: Output) -> None:
    with Lines() as lines:
        while (line := await lines.next()) is not None:
            if not line:
                continue
            wrong = await linking.submit(line)
            if wrong is None:
                return
            out.line(wrong)
    raise KithkinError("wrong_code", "No digits were typed.")


async def profile_erase(place: Place, args: Args) -> None:
    from sync.service.removal import ERASES

    await refuse_running(place)
    for sentence in ERASES:
        place.out.note(sentence)
    if not args.yes:
        place.out.note(f"Erase the profile in {place.folder}? Type yes:")
        with Lines() as lines:
            answer = await lines.next()
        if (answer or "").lower() != "yes":
            raise KithkinError("not_allowed", "Nothing was erased.")
    place.out.line(await place.profiles.erase_profile(place.folder))


async def run(place: Place, args: Args) -> None:
    network = network_of(args)
    # Late: only this command pays for the server's tables.
    from apps.daemon.node import run_node

    await run_node(_opened_alone(place, network), place.folder, place.out.line)


@contextlib.asynccontextmanager
async def _opened_alone(place: Place, network: Network) -> AsyncIterator[Service]:
    """The profile's service; a node that runs on it already is noticed before anybody is asked for a passphrase."""
    await refuse_running(place)
    async with opened(place.profiles, place.folder, network) as service:
        yield service


async def testnet(place: Place, args: Args) -> None:
    from apps.daemon.testnet import run_testnet

    await run_testnet(args.size, args.port, place.out.line)


async def demo(place: Place, args: Args) -> None:
    from apps.cli.demo import tell

    await tell(place.out)


def version(out: Output) -> None:
    out.line(as_record("Version", {"version": VERSION}))


INIT = Stands(init)
LINK = Stands(link)
RUN = Stands(run)
PROFILE_ERASE = Stands(profile_erase)
DESKTOP = Window("apps.desktop.main")
PHONE = Window("apps.mobile.main")
TESTNET = Stands(testnet, profile=False)
DEMO = Stands(demo, profile=False)
SHOW_VERSION = Says(version)
