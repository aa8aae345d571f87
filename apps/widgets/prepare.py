"""Settings that Kivy needs before its window exists: importing `kivy.core.window` opens it."""

from __future__ import annotations

from importlib.util import find_spec

from kivy.config import Config

from apps.viewmodels.ports import DeviceKind

# Importing this module fails at once if the extra is incomplete; importing KivyMD itself would open the window.
if find_spec("kivymd") is None:
    raise ModuleNotFoundError("No module named 'kivymd'", name="kivymd")

SIZES: dict[DeviceKind, tuple[int, int]] = {"phone": (400, 800), "desktop": (1200, 800)}
SMALLEST: dict[DeviceKind, tuple[int, int]] = {"phone": (320, 480), "desktop": (720, 480)}


def prepare(kind: DeviceKind) -> None:
    """Sets the size of the window, and turns off what Kivy would do with keys and pointers by itself."""
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
