"""Approving one new device twice: the second approval is refused while the first is under way."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from identity.errors import KithkinError
from identity.pairing_code import new_pair_code
from tests.support.streams import stream
from tests.unit.service.offline import offline_service


def test_a_second_approval_of_a_device_is_refused_at_once_while_the_first_waits(tmp_path: Path) -> None:
    async def story() -> None:
        async with offline_service(tmp_path, "approving") as d:
            text, other = (new_pair_code(stream(name), d.clock[0], []).payload.text for name in ("new", "other"))
            async with (
                d.service.device_approve(text) as first,
                d.service.device_approve(text) as beside,
                d.service.device_approve(other),
            ):
                waiting = asyncio.create_task(first.confirm())
                await asyncio.sleep(0)
                with pytest.raises(KithkinError) as refusal:
                    async with d.service.device_approve(text):
                        pass
                assert refusal.value.code == "not_allowed" and "already" in refusal.value.message
                with pytest.raises(KithkinError) as refusal:
                    await beside.confirm()  # it was shown what is granted before the first one began
                assert refusal.value.code == "not_allowed"
                async with d.service.device_approve(other):
                    assert not waiting.done()
                waiting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await waiting
            async with d.service.device_approve(text):  # the first one has ended
                pass

    asyncio.run(story())
