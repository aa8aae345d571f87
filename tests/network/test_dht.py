"""A node detects its kind of NAT from the answers of other nodes."""

from __future__ import annotations

import asyncio
import json
import sys

from netstack import Testnet, parse_address
from netstack.dht.events import Mode, Nat
from tests.network import router
from tests.network.parties import ROOT, Stack, dht
from tests.network.topology import Internet

FOUND = {
    router.Nat.OPEN: (Nat.OPEN, True),
    router.Nat.CONE: (Nat.CONSISTENT, False),  # its server port has sent nothing, so that the router has no mapping
    router.Nat.MASQUERADE: (Nat.CONSISTENT, False),
    router.Nat.RANDOM: (Nat.RANDOM, False),
    router.Nat.FULLY_RANDOM: (Nat.RANDOM, False),
}


def test_node_detects_its_kind_of_nat(net: Internet) -> None:
    hosts = {nat: net.site(nat.value, nat) for nat in router.Nat}

    async def story() -> dict[router.Nat, tuple[Nat, bool]]:
        found = {}
        async with dht(Stack.JS, net) as running:
            for nat, host in hosts.items():
                command = host.space.command(sys.executable, "-m", __name__, running.bootstrap)
                process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
                told, _ = await process.communicate()
                seen = json.loads(told)
                assert seen["address"][0] == host.public and bool(seen["address"][1]) is not nat.symmetric
                found[nat] = Nat[seen["nat"]], seen["reachable"]
        return found

    assert asyncio.run(story()) == FOUND


async def look(bootstrap: str) -> None:
    async with Testnet(0, host="0.0.0.0", bootstrap=[parse_address(bootstrap)]) as net:
        node = await net.join(Mode.ADAPTIVE)
        print(json.dumps({"nat": node.nat.name, "address": node.address, "reachable": node.reachable}))


if __name__ == "__main__":
    asyncio.run(look(sys.argv[1]))
