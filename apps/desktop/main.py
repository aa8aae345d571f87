"""`kithkin desktop`: the chats on the left, one of them on the right."""

from __future__ import annotations

from pathlib import Path

from apps.widgets.prepare import prepare
from sync.service.api import Network


def main(folder: Path, network: Network) -> None:
    """Returns when the window was closed."""
    prepare("desktop")
    from apps.widgets.window import launch_options, open_window

    open_window(launch_options(folder, "desktop", network), wide=True)
