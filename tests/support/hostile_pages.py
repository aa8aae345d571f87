"""A page process whose native code does what a marked word in an update says: for tests of the limits around it."""

from __future__ import annotations

import sys

_SCRIPT = """
import os, resource, signal, sys
from crdt.docs import page
from sync.pages import worker

class Panic(BaseException): pass
class Told(Exception): pass

def tell():
    ours = sorted(name for name in os.environ if name.startswith("KITHKIN"))
    try:
        os.open(os.devnull, os.O_RDONLY)
        file = "opened"
    except OSError:
        file = "refused"
    raise Told(f"environment {ours}, file {file}, core {resource.getrlimit(resource.RLIMIT_CORE)[0]}")

def hang():
    while True:
        pass

def eat():
    held = []
    while True:
        held.append(bytes(1 << 24))

def panic():
    raise Panic("a panic of native code")

def answer(data):
    for number in range(3, 64):
        try:
            os.write(number, data)
        except OSError:
            continue

ACTS = {
    b"KILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    b"ABORT": os.abort,
    b"CRASH": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    b"EXIT": lambda: os._exit(3),
    b"PANIC": panic,
    b"GARBAGE": lambda: answer(b"\\x03\\x00\\x00\\x00\\xff\\xff\\xff"),
    b"FLOOD": lambda: answer(b"\\xff\\xff\\xff\\x7f"),
    b"HANG": hang,
    b"EAT": eat,
    b"TELL": tell,
}

def apply_updates(updates, kind, progress=lambda place: None):
    def watched(place):
        progress(place)
        if place == len(updates) > 1 and any(b"MANY" in update.update for update in updates):
            os.abort()
        if place < len(updates):
            for word, act in ACTS.items():
                if word in updates[place].update:
                    act()
    return page.apply_updates(updates, kind, watched)

worker.apply_updates = apply_updates
worker.main(*map(int, sys.argv[1:4]))
"""

HOSTILE = (sys.executable, "-P", "-c", _SCRIPT)
