"""Network namespaces that a test makes and removes.

A name contains the process that made it, `kithkin.PID.START.NAME`, which tells leftovers of a killed run from
namespaces that a concurrent run uses: `sweep` removes the namespaces of processes that are gone, and ends what runs in
them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PREFIX = "kithkin"
FOLDER = Path("/run/netns")
TOOLS = ("ip", "nft", "conntrack")
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def missing() -> str:
    """Why network namespaces cannot be made here, "" where they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        return f"network namespaces need {' and '.join(absent)}"
    if not Path("/dev/net/tun").exists():
        return "network namespaces need /dev/net/tun"
    probe = subprocess.run(["unshare", "--net", "nft", "list", "tables"], capture_output=True, check=False)
    return "" if probe.returncode == 0 else "this kernel makes no network namespace with nftables"


@dataclass(frozen=True, slots=True)
class Namespace:
    """One network namespace; everything in it dies with `remove`."""

    name: str

    @classmethod
    def make(cls, label: str) -> Namespace:
        made = cls(f"{PREFIX}.{os.getpid()}.{_started(os.getpid())}.{label}")
        _run("ip", "netns", "add", made.name)
        made.ip("link set lo up")
        # Half of them forward packets; answers may come back on another path.
        made.write("ipv4/ip_forward", "1")
        made.write("ipv4/conf/all/rp_filter", "0")
        made.write("ipv4/conf/default/rp_filter", "0")
        return made

    @property
    def label(self) -> str:
        return self.name.split(".", 3)[-1]

    def ip(self, *lines: str) -> None:
        """Commands of ip(8), one a line, in one process."""
        _run("ip", "-netns", self.name, "-batch", "-", stdin="\n".join(lines))

    def nft(self, script: str) -> None:
        """Loads nftables rules, whole or not at all."""
        _run("ip", "netns", "exec", self.name, "nft", "-f", "-", stdin=script)

    def write(self, path: str, value: str) -> None:
        """Sets a value below /proc/sys/net, which shows the namespace of the thread that opens it."""
        with self.entered():
            Path("/proc/sys/net", path).write_text(value)

    def run(self, *words: str) -> str:
        """Runs a command inside to its end; returns its output."""
        return _run(*self.command(*words))

    def command(self, *words: str) -> tuple[str, ...]:
        """The arguments of a command that runs inside."""
        return ("ip", "netns", "exec", self.name, *words)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Enters the namespace with this thread; sockets opened inside stay in it.  Not across an `await`."""
        with Path("/proc/thread-self/ns/net").open() as outside, (FOLDER / self.name).open() as inside:
            _set(inside.fileno())
            try:
                yield
            finally:
                _set(outside.fileno())

    def socket(self, host: str = "0.0.0.0", port: int = 0) -> socket.socket:
        """A UDP socket bound inside, usable anywhere in this process."""
        with self.entered():
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((host, port))
        return made

    def remove(self) -> None:
        """Ends the processes inside and removes the namespace.  May be called twice."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True, check=False)

    def processes(self) -> list[int]:
        found = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True, check=False)
        return [int(word) for word in found.stdout.split() if int(word) != os.getpid()]


def sweep() -> list[str]:
    """Removes the namespaces of processes that are gone; returns their names."""
    gone = []
    for path in FOLDER.glob(f"{PREFIX}.*.*.*") if FOLDER.is_dir() else ():
        _, pid, start, _ = path.name.split(".", 3)
        if _started(int(pid)) != start:
            Namespace(path.name).remove()
            gone.append(path.name)
    return gone


@contextlib.contextmanager
def together() -> Iterator[list[Namespace]]:
    """A list for namespaces, which are removed at the end, newest first; removes leftovers of older runs first."""
    sweep()
    made: list[Namespace] = []
    try:
        yield made
    finally:
        for one in reversed(made):
            one.remove()


def cable(one: Namespace, port: str, other: Namespace, other_port: str) -> None:
    """An ethernet cable between two namespaces, both ends up."""
    one.ip(f"link add {port} type veth peer name {other_port} netns {other.name}", f"link set {port} up")
    other.ip(f"link set {other_port} up")


def _started(pid: int) -> str:
    """When a process began, in clock ticks since boot: with the pid, a name that is not given twice."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[19]


def _set(descriptor: int) -> None:
    if LIBC.setns(descriptor, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _run(*words: str, stdin: str = "") -> str:
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}\n{stdin}")
    return done.stdout


__all__: Sequence[str] = ("Namespace", "cable", "missing", "sweep", "together")
