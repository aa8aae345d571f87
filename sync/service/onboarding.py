"""The calls that bring somebody in: a device of mine by approval, a contact by an invite."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from identity.errors import KithkinError
from identity.inner import Failed
from identity.invite import InviteDone
from sync.engine.onboarding.onboarding import Flow
from sync.service import models
from sync.service.api import INVITE_SECONDS, WAIT_SECONDS, Approval
from sync.service.approval import PendingApproval
from sync.service.domain import Domain, OpenedProfile, deadline_in
from sync.service.ids import chat_id, identity_id
from sync.service.messages import moment
from sync.service.node import Node, address_of, hints_of
from sync.service.steps import TIMEOUT, failure_of, next_step

MAX_HINTS = 6  # addresses in an invite
MAX_EXPIRES = 366 * 86_400
RETRY = 0.3  # seconds between two attempts to reach whoever made an invite


class Onboarding(Domain):
    """Waits for others, so it needs the node and not only what the node has opened."""

    def __init__(self, node: Node) -> None:
        super().__init__(OpenedProfile(node.engine, node.clock, node.turn, node.changed))
        self._node = node

    @contextlib.asynccontextmanager
    async def device_approve(
        self, text: str, *, history: models.History = "all", wait: float = WAIT_SECONDS
    ) -> AsyncIterator[Approval]:
        payload = self._node.engine.onboarding.check_approve(text, self._node.clock())
        grants = [
            "It becomes a device of yours: it reads and writes everything that this device does.",
            "It gets your contacts, your profile and your list of chats.",
            "It gets your whole message history." if history == "all" else "It gets no messages from before now.",
            "Your other devices are told, and any of them can undo this.",
        ]
        grant = models.Grant(grants=grants, history=history, expires=moment(payload.expires * 1000))

        def start() -> int:
            return self._node.engine.onboarding.approve(payload, history == "all", self._node.clock())

        async with contextlib.AsyncExitStack() as stack:
            yield PendingApproval(self._node, grant, start, stack, wait)

    async def contact_invite(self, *, expires: float = INVITE_SECONDS) -> models.Invite:
        if not 1 <= expires <= MAX_EXPIRES:
            raise KithkinError("usage", "An invite lasts between a second and a year.")
        node = self._node
        if node.network is not None and node.address is not None:
            told = hints_of(node.network, node.address)
        else:
            told = tuple(self._profile.last_hints())
        hints = [address for text in told if (address := address_of(text)) is not None]
        code = self._opened.commit(lambda: node.engine.onboarding.invite(node.clock(), int(expires), hints[:MAX_HINTS]))
        return models.Invite(invite=code.payload.text, expires=moment(code.payload.expires * 1000))

    async def contact_accept(self, text: str, *, wait: float = WAIT_SECONDS) -> models.Accepted:
        onboarding, node = self._node.engine.onboarding, self._node
        deadline = deadline_in(wait)
        while True:
            flow = onboarding.accept(text, node.clock())
            with node.steps(flow) as steps:
                node.turn()
                step = await next_step(steps, deadline)
            if isinstance(step, tuple) and isinstance(step[0], InviteDone):
                met = step[1]
                if not isinstance(met, Flow) or met.person is None:
                    raise TIMEOUT
                await self._let_in(met.space, deadline)
                return models.Accepted(contact=identity_id(met.person.identity), chat=chat_id(met.space))
            failure = failure_of(step)
            if isinstance(failure, Failed) and failure.code != "timeout":
                raise KithkinError(failure.code, failure.sentence)
            # Nobody there yet: the inviter's node may start in the time we were given.
            if deadline_in(RETRY) >= deadline:
                raise TIMEOUT
            await asyncio.sleep(RETRY)

    async def _let_in(self, id_: bytes, deadline: float) -> None:
        """Waits for the entry that lets this device write in a chat, so that who accepts can write at once."""
        while True:
            space = self._profile.spaces.get(id_)
            if space is None or (space.mine is not None and space.state.open(space.mine.core)):
                return
            if not await self._change_of(id_, deadline):
                return
