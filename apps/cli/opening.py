"""How a command comes to a service: the running node's, else the profile opened in this process."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from apps.cli.command import Args
from apps.cli.record import as_record
from apps.cli.terminal import ask_passphrase, given_passphrase
from sync.service.api import ANY_HOST, KithkinError, Network, Profiles, Service

NONE = "none"  # no DHT: addresses known, and the local network


def bootstrap_of(named: list[str] | None) -> tuple[str, ...] | None:
    """`--bootstrap`, else the environment; None (the public network) where neither says anything.

    An empty variable, and `none` in either place, is no DHT at all.
    """
    if named is None:
        environment = os.environ.get("KITHKIN_BOOTSTRAP")
        if environment is None:
            return None
        named = environment.split(",")
    return tuple(_host_and_port(text.strip()) for text in named if text.strip() not in ("", NONE))


def _host_and_port(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise KithkinError("usage", f"{text!r} is not host:port.")
    return text


def network_of(args: Args) -> Network:
    """The network of a command that meets others: `run`, the windows, and whatever opens a profile to be met."""
    return Network(
        host=getattr(args, "host", None) or ANY_HOST,
        port=getattr(args, "port", 0),
        advertise=getattr(args, "advertise", None),
        bootstrap=bootstrap_of(getattr(args, "bootstrap", None)),
        lan=os.environ.get("KITHKIN_LAN") != "off",
    )


@contextlib.asynccontextmanager
async def service_of(profiles: Profiles | None, folder: Path, network: Network | None) -> AsyncIterator[Service]:
    """The running node's service; where none runs, the profile is this process's until the block ends."""
    from sync.service.remote import connect  # late: help and usage errors need no socket

    node = await connect(folder, as_record)
    if node is not None:
        async with node:
            yield node
        return
    async with opened(profiles or real_profiles(), folder, network) as service:
        yield service


@contextlib.asynccontextmanager
async def opened(profiles: Profiles, folder: Path, network: Network | None) -> AsyncIterator[Service]:
    """Opens with the passphrase that the environment names, else by the keyring, else asks."""
    given = given_passphrase()
    async with contextlib.AsyncExitStack() as stack:
        try:
            service = await stack.enter_async_context(profiles.open_service(folder, given, network=network))
        except KithkinError as error:
            # The keyring comes first: who turned it on does not want to be asked.
            if error.code != "no_passphrase" or given is not None or (typed := ask_passphrase(new=False)) is None:
                raise
            service = await stack.enter_async_context(profiles.open_service(folder, typed, network=network))
        yield service


def real_profiles() -> Profiles:
    """Imported late: the engine and its libraries take longer to load than many a command takes to run."""
    from sync.service import profiles as profile

    return profile
