"""What a command is: a coroutine over its arguments, and whether it needs an opened service or stands before one."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from apps.cli.output import Output
from sync.service.api import Profiles, Service


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command that stands before a service works: the way to profiles, the profile's folder, the output."""

    profiles: Profiles
    folder: Path
    out: Output


Args = argparse.Namespace
OnService = Callable[[Service, Args, Output], Awaitable[None]]
OnPlace = Callable[[Place, Args], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Asks:
    """Needs the profile's service: the running node's, else one opened here.  `meets`: whether that one must meet
    peers.  `check` refuses, before anything is opened, what argparse cannot."""

    run: OnService
    meets: Callable[[Args], bool] = lambda args: False
    check: Callable[[Args], None] = lambda args: None


@dataclass(frozen=True, slots=True)
class Stands:
    """Makes, links or runs a profile, or needs none."""

    run: OnPlace
    profile: bool = True  # whether it concerns a profile at all


@dataclass(frozen=True, slots=True)
class Says:
    """Answers at once, from the program alone."""

    run: Callable[[Output], None]


@dataclass(frozen=True, slots=True)
class Later:
    """Not there yet; the sentence says what there is instead."""

    sentence: str


@dataclass(frozen=True, slots=True)
class Window:
    """Starts an app: `main(folder, network)` of that module, which returns when its window is closed."""

    module: str


Command = Asks | Stands | Says | Later | Window
