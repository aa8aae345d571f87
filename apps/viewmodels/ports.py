"""Where the windows get profiles from: `sync.service.profiles`, or what a test puts in its place."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Literal, Protocol

from sync.service import models
from sync.service.api import WAIT_SECONDS, Linking, Network, Service

DeviceKind = Literal["phone", "desktop"]


class Profiles(Protocol):
    """`api.Profiles`, and the kind of device that is made (its name until it is renamed)."""

    async def create_profile(
        self, folder: Path, passphrase: str | None, *, name: str, kind: str = "device"
    ) -> models.Created: ...

    async def recover_profile(
        self, folder: Path, passphrase: str | None, phrase: str, *, name: str, kind: str = "device"
    ) -> models.Recovered: ...

    def link_profile(
        self,
        folder: Path,
        passphrase: str | None,
        *,
        name: str | None = None,
        kind: str = "device",
        network: Network | None = None,
        wait: float = WAIT_SECONDS,
    ) -> AbstractAsyncContextManager[Linking]: ...

    async def erase_profile(self, folder: Path) -> models.ProfileErased: ...

    async def restore_backup(
        self,
        folder: Path,
        passphrase: str | None,
        path: Path,
        secret: str,
        *,
        salvage: bool = False,
        progress: Callable[[int, int], None] = ...,
    ) -> models.Restored: ...

    def open_service(
        self, folder: Path, passphrase: str | None, *, network: Network | None = None
    ) -> AbstractAsyncContextManager[Service]: ...


def real_profiles() -> Profiles:
    """The profiles of this machine.  Imported here: the engine takes longer to load than a window to appear."""
    from sync.service import profiles as profile

    return profile
