"""A service over a store in memory, without a network: Ada's profile and her notes to herself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from identity.errors import KithkinError
from identity.process import forbid_core_dumps
from sync.engine.engine import Engine
from sync.search.memory import MemorySearch
from sync.service.indexing import Indexing
from sync.service.local import LocalService
from sync.service.node import Node
from sync.store.memory import MemoryStore
from sync.store.port import Batch
from tests.support.kem import SIMULATED
from tests.support.streams import stream
from tests.unit.engine.test_space import NOW, founded


class Disk(MemoryStore):
    """A disk that refuses the next writes, as many as it is told to."""

    refusals = 0

    def write(self, batch: Batch, *, durable: bool) -> None:
        if self.refusals and durable:
            self.refusals -= 1
            raise KithkinError("disk_full", "The disk is full.")
        super().write(batch, durable=durable)


@dataclass
class OfflineService:
    """The service, what it stands on, and `notes`: the id of her chat with herself."""

    service: LocalService
    node: Node
    indexing: Indexing
    search: MemorySearch
    disk: Disk
    notes: str
    clock: list[float] = field(default_factory=list)  # the one number is Unix seconds

    def disk_fails_once(self) -> None:
        """A tick is refused, so the profile is read again from the store."""
        profile = self.node.engine.profile
        profile.keep_port(profile.port() + 1)
        self.disk.refusals = 1
        try:
            self.node.tick()
        except KithkinError:
            return
        raise AssertionError("the disk was not asked")


@asynccontextmanager
async def offline_service(folder: Path, seed: str, search: MemorySearch | None = None) -> AsyncIterator[OfflineService]:
    """A new profile, the same for the same seed."""
    forbid_core_dumps()  # as whoever opens a profile does
    disk = Disk()
    founded(seed, disk)
    clock = [float(NOW)]
    engine = Engine(disk, stream(seed + "/engine"), NOW, SIMULATED)
    search = search or MemorySearch()
    async with Node(engine, None, clock=lambda: clock[0]) as node:
        indexing = Indexing(engine.profile, search, lambda: int(clock[0] * 1000))
        async with LocalService(node, indexing, lambda new, keyring: None, folder) as service:
            (chat,) = (await service.chats()).chats
            yield OfflineService(service, node, indexing, search, disk, chat.id, clock)
