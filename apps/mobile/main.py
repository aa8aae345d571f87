"""`kithkin phone`: one pane at a time."""

from __future__ import annotations

from pathlib import Path

from apps.widgets.prepare import prepare
from sync.service.api import Network


def main(folder: Path, network: Network) -> None:
    """Returns when the window was closed."""
    prepare("phone")
    from apps.widgets.window import launch_options, open_window

    open_window(launch_options(folder, "phone", network), wide=False)
