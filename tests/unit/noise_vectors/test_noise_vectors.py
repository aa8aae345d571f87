"""All published Noise vectors that `noiseprotocol` supports, through our own wrapper."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from identity.noise import NoiseSession
from tests.support.shared import shared

# of 944 and 408; what noiseprotocol does not speak are the deferred patterns (NK1, X1X1 ...)
SUPPORTED = {"cacophony": 576, "snow": 224}


def session(vector: dict[str, Any], side: str) -> NoiseSession:
    """The session of one side; its only draw of randomness is the vector's ephemeral key."""

    def rng(size: int) -> bytes:
        ephemeral = bytes.fromhex(vector[f"{side}_ephemeral"])
        assert len(ephemeral) == size
        return ephemeral

    make = NoiseSession.initiate if side == "init" else NoiseSession.respond
    static, remote = vector.get(f"{side}_static"), vector.get(f"{side}_remote_static")
    return make(
        vector["protocol_name"],
        bytes.fromhex(vector[f"{side}_prologue"]),
        bytes.fromhex(static) if static else None,
        rng,
        remote_static=bytes.fromhex(remote) if remote else None,
        psk=b"".join(map(bytes.fromhex, vector.get(f"{side}_psks", []))),
    )


def supported(vector: dict[str, Any]) -> bool:
    pattern = vector["protocol_name"].split("_")[1]
    return "fallback" not in pattern and not any(letter == "1" for letter in pattern.split("psk")[0])


def run(vector: dict[str, Any]) -> None:
    init, resp = session(vector, "init"), session(vector, "resp")
    one_way = len(vector["protocol_name"].split("_")[1].split("psk")[0]) == 1
    for index, message in enumerate(vector["messages"]):
        payload, ciphertext = bytes.fromhex(message["payload"]), bytes.fromhex(message["ciphertext"])
        sender, receiver = (init, resp) if one_way or index % 2 == 0 else (resp, init)
        if sender.done:
            assert sender.encrypt(payload) == ciphertext
            assert receiver.decrypt(ciphertext) == payload
        else:
            assert sender.write(payload) == ciphertext
            assert receiver.read(ciphertext) == payload
    assert init.done and resp.done
    assert init.hash == resp.hash
    if "handshake_hash" in vector:
        assert init.hash == bytes.fromhex(vector["handshake_hash"])


@pytest.mark.parametrize("name", SUPPORTED)
def test_handshakes_equal_the_published_noise_vectors(name: str) -> None:
    vectors = json.loads(gzip.decompress(shared(f"data/noise/{name}.json.gz").read_bytes()))["vectors"]
    chosen = [vector for vector in vectors if supported(vector)]
    assert len(chosen) == SUPPORTED[name]
    for vector in chosen:
        run(vector)
