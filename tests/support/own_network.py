"""A network of its own for one test: loopback and one private address, for the calling thread and its children."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import threading
from collections.abc import Callable

PRIVATE_HOST = "10.77.0.1"
CLONE_NEWNET = 0x40000000
COMMANDS = (
    "ip link set lo up",
    "ip link add kithkin0 type veth peer name kithkin1",
    f"ip address add {PRIVATE_HOST}/24 dev kithkin0",
    "ip link set kithkin0 up",
    "ip link set kithkin1 up",
)


def missing_network() -> str:
    """Why no network can be made here, "" where one can."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "a network of one's own needs root"
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        return "a network of one's own needs ip and unshare"
    script = " && ".join(COMMANDS)
    probe = subprocess.run(["unshare", "--net", "sh", "-c", script], capture_output=True, check=False)
    return "" if probe.returncode == 0 else "a network of one's own needs network namespaces and veth"


def in_own_network(story: Callable[[], None]) -> None:
    """Calls `story` in a thread of a new network namespace, which ends with it.  Raises what `story` raises."""
    raised: list[BaseException] = []

    def enter() -> None:
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "no network namespace")
            for command in COMMANDS:
                subprocess.run(command.split(), check=True)
            story()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
