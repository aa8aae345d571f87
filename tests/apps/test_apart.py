"""Machines that know no address of each other find each other in a DHT, by key and by topic, over real UDP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from identity.kem import installed
from identity.phrase import new_phrase, phrase_keys
from identity.statement import root_certificate
from netstack.shell.testnet import Testnet
from sync.account.account import new_account
from sync.engine.effects import ContactMet
from sync.engine.engine import Engine
from sync.engine.profile import found_profile
from sync.service.api import NO_HOST, Network
from sync.service.ids import chat_id
from sync.service.node import Node
from sync.service.testnet import open_testnet
from sync.space import timeline
from sync.space.space import Space
from sync.store.memory import MemoryStore
from sync.store.port import Store
from tests.support.calls import Calls, opened, result_of
from tests.support.processes import HOST, Profile, Stage

MONTH = 33 * 86_400.0
PATIENCE = 60.0  # seconds; the machine is shared, so it says "never", not "slow"
APART = ("--advertise", "none")


@asynccontextmanager
async def stage_in_a_dht(folder: Path) -> AsyncIterator[tuple[Stage, str]]:
    async with open_testnet(8) as net, Stage(folder) as stage:
        yield stage, net.bootstrap


async def person(stage: Stage, name: str, bootstrap: str) -> Profile:
    made = await stage.init(name)
    made.environment["KITHKIN_BOOTSTRAP"] = bootstrap
    await made.run(*APART)
    return made


def test_link_invite_and_chat_without_known_addresses(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage_in_a_dht(tmp_path / "stage") as (stage, bootstrap):
            phone, bob = await person(stage, "ada", bootstrap), await person(stage, "bob", bootstrap)
            desk = stage.profile("desk")
            async with desk.dialogue("link", "--host", HOST, *APART, "--bootstrap", bootstrap) as new:
                payload = (await new.line())["payload"]
                async with phone.dialogue("device", "approve", payload, "--yes") as old:
                    new.type((await old.line())["code"])
                    assert (await new.line())["linked"] and (await old.line())["approved"]
            desk.environment["KITHKIN_BOOTSTRAP"] = bootstrap
            await desk.run(*APART)
            invite = (await phone.ask("contact", "invite"))["invite"]
            chat = (await bob.ask("contact", "accept", invite))["chat"]
            await phone.ask("send", chat, "my desktop knows you too")
            await desk.holds(chat, 1)  # a device that admits the desktop must be running
            await phone.stop()
            await bob.ask("send", chat, "how did you find me?")
            assert [one.text for one in await desk.holds(chat, 2)][1:] == ["how did you find me?"]
            for one in (desk, bob):
                (peer,) = (await one.ask("status"))["peers"]
                assert peer["path"] in ("direct", "punched") and peer["rtt_ms"] > 0
                dht = (await one.ask("status"))["dht"]
                assert dht["enabled"] and dht["bootstrapped"] and dht["nodes"] >= 4 and dht["relays"]

    asyncio.run(story())


def test_node_keeps_its_port_and_rejoins_the_dht_through_known_nodes(tmp_path: Path) -> None:
    """The second start gets the address of a bootstrap node that does not exist."""

    async def story() -> None:
        async with stage_in_a_dht(tmp_path / "stage") as (stage, bootstrap):
            ada, bob = await person(stage, "ada", bootstrap), await person(stage, "bob", bootstrap)
            invite = (await ada.ask("contact", "invite"))["invite"]
            chat = (await bob.ask("contact", "accept", invite))["chat"]
            ports = [one.ready["address"] for one in (ada, bob)]
            for one in (ada, bob):
                await one.stop()
                one.environment["KITHKIN_BOOTSTRAP"] = f"{HOST}:9"
                await one.run(*APART)
            assert [one.ready["address"] for one in (ada, bob)] == ports
            await bob.ask("send", chat, "we connected again")
            await ada.holds(chat, 1)

    asyncio.run(story())


# -- in one process, with a clock that the test sets ----------------------------------------------------------------


class OfflineDevice:
    """One person's device: a profile in memory, run by one node after another, with long times offline between them."""

    def __init__(self, name: str) -> None:
        self.rng: Callable[[int], bytes] = Random(name).randbytes
        self.store: Store = MemoryStore()
        now = time.time()
        keys = phrase_keys(new_phrase(self.rng), installed())
        account = new_account(keys.root.public, "phone", self.rng, now, kem=installed())
        own = account.keys
        born = int(now)
        certificate = root_certificate(keys.root, own.signing, own.agreement.public, created=born, generation=born)
        account = type(account)(keys.root.public, own, account.transports, "phone")
        found_profile(
            self.store, account, [certificate], keys.recovery.public, name, born * 1000, self.rng, installed()
        )

    @asynccontextmanager
    async def online(self, net: Testnet, later: float = 0.0) -> AsyncIterator[Node]:
        (first, *_) = net.bootstrap
        network = Network(HOST, advertise=NO_HOST, bootstrap=(f"{first[0]}:{first[1]}",))
        engine = Engine(self.store, self.rng, time.time() + later, installed())
        engine.profile.keep_port(0)  # another address
        async with Node(engine, network, clock=lambda: time.time() + later) as node:
            yield node


def chat_of(node: Node) -> Space:
    (found,) = [id_ for id_, chat in node.engine.profile.view.chats.items() if chat.kind == "direct"]
    return node.engine.profile.spaces[found]


def say(node: Node, text: str) -> None:
    calls = Calls(opened(node.engine, node.clock, node.tick))
    result_of(calls.send(chat_id(chat_of(node).id), text))


async def next_text(node: Node) -> str:
    """The text of the next new message."""
    space = chat_of(node)
    async with asyncio.timeout(PATIENCE):
        while True:
            changed = node.changed(space.id)
            rows = timeline.page(node.engine.profile.store, space.id, 1)
            if rows:
                return rows[-1].text
            await changed.wait()


def test_contacts_reconnect_by_daily_topic_after_a_month_offline_with_new_addresses() -> None:
    """By then both have transport keys and addresses that the other does not know."""

    async def story() -> None:
        async with Testnet(8) as net:
            ada, bob = OfflineDevice("Ada"), OfflineDevice("Bob")
            async with ada.online(net) as one, bob.online(net) as other:
                text = one.engine.onboarding.invites.create(one.clock(), 86_400, ()).payload.text
                one.tick()
                with other.steps(other.engine.onboarding.invites.accept(text, other.clock())) as steps:
                    other.tick()
                    async with asyncio.timeout(PATIENCE):
                        step = await steps.get()
                assert isinstance(step, ContactMet), step
            async with ada.online(net, MONTH) as one, bob.online(net, MONTH) as other:
                known = [where.transport(one.clock()) for where in one.engine.dialling.whereabouts().values()]
                now = {key.public for _, key in other.engine.profile.account.transports[-2:]}
                assert now.isdisjoint(known)
                say(one, "good morning")
                assert await next_text(other) == "good morning"

    asyncio.run(story())
