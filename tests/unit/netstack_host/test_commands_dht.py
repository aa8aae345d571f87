"""`python -m netstack` in a DHT of three processes: announced, looked up, connected by key, and through a relay."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from identity.keys import SigningKey
from tests.unit.netstack_host.test_commands import BOB, LIMIT, TOPIC, spawn

RELAY = SigningKey.from_seed(b"r" * 32)


@contextmanager
def running(*arguments: str) -> Iterator[dict[str, Any]]:
    """A command that runs until a signal, and the line in which it said that it was ready."""
    process = spawn(*arguments)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.terminate()
        process.communicate(timeout=LIMIT)
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


def ended(*arguments: str, data: bytes = b"") -> tuple[int, bytes, bytes]:
    process = spawn(*arguments, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    out, errors = process.communicate(data, timeout=LIMIT)
    return process.returncode, out, errors


def test_commands_announce_look_up_connect_and_relay_in_a_dht_of_three_processes() -> None:
    with ExitStack() as stack:
        first = stack.enter_context(running("node", "--host", "127.0.0.1"))
        assert first["ready"]
        there = ["--bootstrap", first["address"]]
        here = [*there, "--host", "127.0.0.1"]
        stack.enter_context(running("node", *here))
        relay = stack.enter_context(running("node", *here, "--relay", RELAY.seed.hex()))
        assert relay["relay"] == RELAY.public.hex()
        told = stack.enter_context(running("announce", TOPIC, *here, "--seed", BOB.seed.hex()))
        assert (told["ready"], told["key"]) == (True, BOB.public.hex())
        code, out, _ = ended("lookup", TOPIC, *here)
        peer, found = map(json.loads, out.splitlines())
        assert (code, peer["peer"], found) == (0, BOB.public.hex(), {"found": 1})
        assert peer["relays"]
        code, out, errors = ended("connect", BOB.public.hex(), *here, "--tell", data=b"by key alone")
        assert (code, out, json.loads(errors)["path"]) == (0, b"by key alone", "direct")
        nobody = SigningKey.from_seed(b"n" * 32).public.hex()
        code, out, errors = ended("connect", nobody, *here)
        assert (code, out, json.loads(errors)["error"]["code"]) == (1, b"", "not_found")
