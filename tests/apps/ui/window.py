"""A window under test: the real command in a real process, and a socket that tells a test what is where.

    python -m tests.apps.ui.window SOCKET kithkin-words...

Answers every connection to SOCKET with one JSON list: the visible widgets that have a text, a hint or an icon, with
their places in pixels from the upper left of the window.
"""

from __future__ import annotations

import json
import queue
import socket
import sys
import threading
from typing import Any


def main() -> int:
    door, words = sys.argv[1], sys.argv[2:]
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(door)
    server.listen(4)
    threading.Thread(target=serve, args=(server,), daemon=True).start()
    from apps.cli.main import main as kithkin

    return kithkin(words)


def serve(server: socket.socket) -> None:
    while True:
        connection, _ = server.accept()
        with connection:
            connection.sendall(json.dumps(look()).encode())


def look() -> list[dict[str, Any]]:
    """[] while there is no window yet."""
    shell = sys.modules.get("kivymd.app")
    app = shell.MDApp.get_running_app() if shell is not None and hasattr(shell, "MDApp") else None
    if app is None or app.root is None:
        return []
    from kivy.clock import Clock

    answer: queue.Queue[list[dict[str, Any]]] = queue.Queue()
    # In the window's thread, between two frames.
    Clock.schedule_once(lambda _: answer.put(widgets()))
    try:
        return answer.get(timeout=20)
    except queue.Empty:
        return []


def widgets() -> list[dict[str, Any]]:
    from kivy.core.window import Window

    found: list[dict[str, Any]] = []
    for child in reversed(Window.children):
        _walk(child, Window.height, found)
    return found


def _walk(widget: Any, height: float, found: list[dict[str, Any]]) -> None:
    if widget.opacity == 0:
        return
    x, y = widget.to_window(widget.center_x, widget.center_y)
    drawn = getattr(widget, "_drawn", None)
    if drawn is not None:  # a message: its bubble is where one clicks, not the middle of the row
        bubble = next(box for box in drawn.boxes if box.name == "bubble")
        x, y = widget.to_window(widget.x + bubble.x + bubble.width / 2, widget.y + bubble.y + bubble.height / 2)
    said = next((value for name in ("said", "title", "spoken", "text") if (value := getattr(widget, name, ""))), "")
    line = {
        "kind": type(widget).__name__,
        "said": str(said),
        "hint": getattr(widget, "hint", "") or getattr(widget, "hint_text", "") or "",
        "icon": getattr(widget, "icon", "") or "",
        "focus": bool(getattr(widget, "focus", False)),
        "x": round(x),
        "y": round(height - y),
        "width": round(widget.width),
        "height": round(widget.height),
    }
    if (line["said"] or line["hint"] or line["icon"]) and widget.width > 0 and widget.height > 0:
        found.append(line)
    for box in drawn.boxes if drawn is not None else ():
        if box.name == "more":
            right, up = widget.to_window(widget.x + box.x + 40, widget.y + box.y + box.height / 2)
            found.append({**line, "kind": "More", "said": "Read more", "x": round(right), "y": round(height - up)})
    for child in reversed(widget.children):
        _walk(child, height, found)


if __name__ == "__main__":
    sys.exit(main())
