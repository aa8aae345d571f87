"""The calls that bring somebody in: a device of mine by approval, a contact by an invite."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from identity.errors import KithkinError
from sync.engine.effects import ContactMet
from sync.service import models
from sync.service.api import INVITE_SECONDS, WAIT_SECONDS, Approval
from sync.service.approval import PendingApproval
from sync.service.domain import Domain, OpenedProfile, deadline_in
from sync.service.ids import chat_id, identity_id
from sync.service.network import address_of, hints_of
from sync.service.node import Node
from sync.service.steps import next_step, refusal
from sync.service.times import moment

MAX_HINTS = 6  # addresses in an invite
MAX_EXPIRES = 366 * 86_400


class OnboardingCalls(Domain):
    """Waits for others, so it needs the node and not only what the node has opened."""

    def __init__(self, node: Node) -> None:
        super().__init__(OpenedProfile(node.engine, node.clock, node.tick, node.changed))
        self._node = node

    @contextlib.asynccontextmanager
    async def device_approve(
        self, text: str, *, history: models.History = "all", wait: float = WAIT_SECONDS
    ) -> AsyncIterator[Approval]:
        payload = self._node.engine.onboarding.approvals.check(text, self._node.clock())
        grants = [
            "It can read and write everything that this device can.",
            "It gets your contacts, your profile and your chats.",
            "It gets your message history." if history == "all" else "It gets no past messages.",
            "Your other devices will be notified, and any of them can shut it out again.",
        ]
        grant = models.AccessGrant(grants=grants, history=history, expires=moment(payload.expires * 1000))

        def start() -> int:
            return self._node.engine.onboarding.approvals.begin(payload, history == "all", self._node.clock())

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
        code = self._opened.commit(
            lambda: node.engine.onboarding.invites.create(node.clock(), int(expires), hints[:MAX_HINTS])
        )
        return models.Invite(invite=code.payload.text, expires=moment(code.payload.expires * 1000))

    async def contact_accept(self, text: str, *, wait: float = WAIT_SECONDS) -> models.Accepted:
        onboarding, node = self._node.engine.onboarding, self._node
        deadline = deadline_in(wait)
        # The engine tries again for all the time we were given: the inviter's node may start in it.
        conversation = onboarding.invites.accept(text, node.clock(), wait)
        with node.steps(conversation) as steps:
            node.tick()
            step = await next_step(steps, deadline)
        if not isinstance(step, ContactMet):
            raise refusal(step)
        await self._let_in(step.space, deadline)
        return models.Accepted(contact=identity_id(step.identity), chat=chat_id(step.space))

    async def _let_in(self, id_: bytes, deadline: float) -> None:
        """Waits for the entry that lets this device write in a chat, so that who accepts can write at once."""
        while True:
            space = self._profile.spaces.get(id_)
            if space is None or (space.mine is not None and space.state.open(space.mine.core)):
                return
            if not await self._change_of(id_, deadline):
                return
