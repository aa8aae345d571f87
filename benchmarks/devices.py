"""Verifying the device list of a person with six devices: from bytes never seen before to the devices that stand.

python -m benchmarks.devices [rounds=50]

Six certificates, twelve signatures; then the same list with a lost phone: a revocation and a certificate more.  CPU
milliseconds, medians; `again` is the list as it comes in the next chat, remembered by its bytes.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from identity.device_set import MAX_DEVICES, active_devices
from identity.keys import check_point
from identity.statement import decode_statement, decode_statements, encode_statements, revoke
from tests.support.people import BORN, certify, family

LIMIT_MS = 1.0


def devices(rounds: int = 50) -> dict[str, Any]:
    """Medians of the rounds."""
    ada = family("bench", MAX_DEVICES)
    first, lost, *_ = ada.devices
    signer = first.signing.public, first.agreement.public
    gone = revoke(ada.identity, lost.id, created=BORN + 99, generation=BORN, signer=signer, key=first.signing)
    newer = certify(ada.identity, first, family("bench newer").devices[0], BORN + 100)
    whole = encode_statements(ada.statements)
    after = encode_statements([*ada.statements, gone, newer])
    return {
        "devices": len(active_devices(ada.statements, ada.identity)),
        "bytes": len(whole),
        "list_ms": _median(lambda: _verified(whole, ada.identity, fresh=True), rounds),
        "after_loss_ms": _median(lambda: _verified(after, ada.identity, fresh=True), rounds),
        "again_ms": _median(lambda: _verified(whole, ada.identity, fresh=False), rounds),
    }


def _verified(data: bytes, identity: bytes, *, fresh: bool) -> float:
    if fresh:
        decode_statement.cache_clear()
        check_point.cache_clear()
    began = time.process_time()
    found = active_devices(decode_statements(data), identity)
    took = time.process_time() - began
    if len(found) != MAX_DEVICES:
        raise RuntimeError("devices are missing")
    return took * 1000


def _median(measure: Callable[[], float], rounds: int) -> float:
    return round(statistics.median(measure() for _ in range(rounds)), 3)


if __name__ == "__main__":
    print(json.dumps(devices(*map(int, sys.argv[1:]))))
