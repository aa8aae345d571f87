"""What Kivy must know before its window is there: importing `kivy.core.window` opens one."""

from __future__ import annotations

from importlib.util import find_spec

from kivy.config import Config

from apps.viewmodels.ports import DeviceKind

# Whoever imports this module learns at once whether the extra is whole; importing KivyMD itself would open the window.
if find_spec("kivymd") is None:
    raise ModuleNotFoundError("No module named 'kivymd'", name="kivymd")

SIZES: dict[DeviceKind, tuple[int, int]] = {"phone": (400, 800), "desktop": (1200, 800)}
SMALLEST: dict[DeviceKind, tuple[int, int]] = {"phone": (320, 480), "desktop": (720, 480)}


def prepare(kind: DeviceKind) -> None:
    """The size of the window, and what Kivy would do by itself with keys and pointers."""
    (width, height), (narrow, low) = SIZES[kind], SMALLEST[kind]
    for name, value in (
        ("width", width),
        ("height", height),
        ("minimum_width", narrow),
        ("minimum_height", low),
        ("multisamples", 4),
    ):
        Config.set("graphics", name, str(value))
    Config.set("input", "mouse", "mouse,disable_multitouch")
    Config.set("kivy", "exit_on_escape", "0")
