"""Devices behind routers, without any known address: link, invite, chat; and a local network without a DHT."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.network.parties import Stack, dht
from tests.network.router import Nat
from tests.network.topology import Host, Internet
from tests.support.processes import Profile, Stage

ANY = "0.0.0.0"
APART = ("--advertise", "none")


def at(stage: Stage, name: str, host: Host, bootstrap: str) -> Profile:
    """A profile whose commands run on that machine."""
    made = stage.profile(name)
    made.machine = host.space.command()
    made.environment["KITHKIN_BOOTSTRAP"] = bootstrap
    return made


async def begin(one: Profile) -> None:
    await one.ask("init", "--name", one.name.capitalize())
    await one.run(*APART, host=ANY)


async def meet(one: Profile, other: Profile) -> str:
    invite = (await one.ask("contact", "invite"))["invite"]
    chat: str = (await other.ask("contact", "accept", invite))["chat"]
    return chat


def test_devices_behind_three_routers_link_invite_and_chat(net: Internet, tmp_path: Path) -> None:
    homes = {name: net.site(name, Nat.MASQUERADE) for name in ("ada", "desk", "bob")}

    async def story() -> None:
        async with dht(Stack.OURS, net) as middle, Stage(tmp_path / "stage") as stage:
            ada, desk, bob = (at(stage, name, home, middle.bootstrap) for name, home in homes.items())
            await begin(ada)
            await begin(bob)
            async with desk.dialogue("link", *APART) as new:
                payload = (await new.line())["payload"]
                async with ada.dialogue("device", "approve", payload, "--yes") as old:
                    new.type((await old.line())["code"])
                    assert (await new.line())["linked"] and (await old.line())["approved"]
            await desk.run(*APART, host=ANY)
            chat = await meet(ada, bob)
            await bob.ask("send", chat, "through three routers")
            for one in (ada, desk):
                assert [message.text for message in await one.holds(chat, 1)] == ["through three routers"]
            await ada.stop()
            await desk.ask("send", chat, "the phone is off")
            await bob.holds(chat, 2)
            status = await bob.ask("status")
            assert [peer["path"] for peer in status["peers"]] == ["punched"]
            assert (status["dht"]["nat"], status["dht"]["reachable"]) == ("consistent", False)
            assert status["dht"]["address"].startswith(homes["bob"].public)

    asyncio.run(story())


def test_peers_of_one_network_chat_without_a_dht(net: Internet, tmp_path: Path) -> None:
    """The peers met while there was a DHT; then it is gone, and no address is remembered."""
    router = net.router("house", Nat.MASQUERADE)
    rooms = {name: net.host(router, name) for name in ("ada", "bob")}

    async def story() -> None:
        async with Stage(tmp_path / "stage") as stage:
            async with dht(Stack.OURS, net) as middle:
                ada, bob = (at(stage, name, room, middle.bootstrap) for name, room in rooms.items())
                await begin(ada)
                await begin(bob)
                chat = await meet(ada, bob)
                (peer,) = (await bob.ask("status"))["peers"]
                assert peer["path"] == "lan" and peer["address"].startswith(rooms["ada"].address)
                await ada.stop()
                await bob.stop()
            for one in (ada, bob):
                one.environment["KITHKIN_LAN"] = "on"
                await one.run(*APART, host=ANY)
            await bob.ask("send", chat, "who needs a DHT")
            assert [message.text for message in await ada.holds(chat, 1)] == ["who needs a DHT"]
            assert (await ada.ask("status"))["dht"]["lan"] is True

    asyncio.run(story())
