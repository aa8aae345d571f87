"""Binds a UDP port with the implementation that suits the platform."""

from __future__ import annotations

import sys

from netstack.udp.port import Receive, ShellName, UdpShell, Writable


async def bind(
    host: str,
    port: int,
    receive: Receive,
    *,
    on_writable: Writable | None = None,
    shell: ShellName = "auto",
) -> UdpShell:
    """Binds and starts receiving: `receive(batch)` runs in the event loop for every batch of datagrams.

    `host` is numeric; with port 0 the kernel chooses one.  `on_writable()` is called when a full port takes more.
    `shell` forces an implementation.  Raises OSError as `socket.bind` does.
    """
    if shell in ("linux", "plain") or (shell == "auto" and sys.platform == "linux"):
        from netstack.udp.linux import bind_linux  # other systems lack what it imports

        return await bind_linux(host, port, receive, on_writable, offload=shell != "plain")
    from netstack.udp.portable import bind_portable

    return await bind_portable(host, port, receive, on_writable)
