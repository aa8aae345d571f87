"""Wycheproof through our own entry points: Ed25519, X25519, XChaCha20-Poly1305."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

from identity.errors import DecodeError
from identity.keys import AgreementKey, check_point, verify_raw
from identity.seal import NONCE, open_sealed, seal
from tests.support.shared import shared


def cases(name: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    with gzip.open(shared(f"data/wycheproof/{name}_test.json.gz"), "rt", encoding="utf-8") as file:
        data = json.load(file)
    for group in data["testGroups"]:
        for case in group["tests"]:
            yield group, case


def test_ed25519_agrees_with_every_wycheproof_vector() -> None:
    seen = 0
    for group, case in cases("ed25519"):
        try:
            key = check_point(bytes.fromhex(group["publicKey"]["pk"]))
            good = verify_raw(key, bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"]))
        except DecodeError:
            good = False
        assert good == (case["result"] == "valid"), case["tcId"]
        seen += 1
    assert seen == 151


def test_x25519_agrees_with_every_wycheproof_vector() -> None:
    """Every result that is not zero is right; zero, which Wycheproof calls acceptable, we refuse."""
    seen, refused = 0, 0
    for _, case in cases("x25519"):
        shared_secret = bytes.fromhex(case["shared"])
        try:
            found = AgreementKey.from_secret(bytes.fromhex(case["private"])).agree(bytes.fromhex(case["public"]))
        except DecodeError:
            assert not any(shared_secret) and case["result"] == "acceptable", case["tcId"]
            refused += 1
        else:
            assert found == shared_secret and any(found), case["tcId"]
        seen += 1
    assert seen == 518 and refused > 0


def test_xchacha20_poly1305_agrees_with_every_wycheproof_vector() -> None:
    seen = 0
    for _, case in cases("xchacha20_poly1305"):
        key, nonce, associated, message, sealed = (
            bytes.fromhex(case[field]) for field in ("key", "iv", "aad", "msg", "ct")
        )
        sealed += bytes.fromhex(case["tag"])
        if case["result"] == "valid":
            assert open_sealed(key, nonce, sealed, associated) == message, case["tcId"]
            assert seal(key, nonce, message, associated) == sealed, case["tcId"]
        else:
            try:
                open_sealed(key, nonce, sealed, associated)
            except DecodeError:
                pass
            else:
                raise AssertionError(f"case {case['tcId']} opened")
            assert len(nonce) == NONCE or case["flags"], case["tcId"]
        seen += 1
    assert seen == 315
