"""The UDP ports of one node, named by small numbers, and how a core asks for more of them.

A core never sees a socket: what it receives says on which port, what it sends says from which.  Ports of its own (for
punching a hole, 256 of them against a random NAT) it asks for by effects that the shell carries out.  What is sent
from a port before it is open waits for it.
"""

from __future__ import annotations

from dataclasses import dataclass

SERVER = 0  # the port that a node keeps, and by which others reach it
CLIENT = 1  # an ephemeral one: asks the DHT while we may be firewalled, so that the server port stays untouched
SERVER6 = 2  # the server port's sibling for IPv6
OWN = 16  # from here on: sockets of a single attempt


@dataclass(frozen=True, slots=True)
class OpenPort:
    """Bind a socket to an ephemeral port and call it `port`."""

    port: int


@dataclass(frozen=True, slots=True)
class ClosePort:
    """Nothing is sent or received on `port` any more: free the socket."""

    port: int


PortEffect = OpenPort | ClosePort
PORT_EFFECTS = (OpenPort, ClosePort)  # for isinstance
