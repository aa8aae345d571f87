"""Reads the command line, finds the profile's service, runs one command, answers with its exit code.

0 done, 1 refused with a reason, 2 usage (130 on Ctrl-C is `apps.cli.main`'s).
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path

from apps.cli import parser, streams
from apps.cli.command import Args, Asks, Later, Place, Says, Stands, Window
from apps.cli.opening import network_of, real_profiles, service_of
from apps.cli.output import Output
from sync.service.api import KithkinError, Profiles

DONE, REFUSED, USAGE = 0, 1, 2


def run(words: list[str], profiles: Profiles | None) -> int:
    """One command line to its exit code.  KeyboardInterrupt goes through."""
    streams.prepare()
    os.umask(0o077)  # whatever a command writes (a log, an export) is for the eyes of its user
    out = Output(json_lines=parser.wants_json(words))
    try:
        return attempt(words, out, profiles)
    except streams.OutputLost as lost:
        if not lost.quiet:
            streams.write_aside(f"kithkin: Standard output takes nothing: {lost.reason}.\n")
        return REFUSED


def attempt(words: list[str], out: Output, profiles: Profiles | None) -> int:
    try:
        args = read_arguments(words, out)
        if args is None:
            return DONE
        if isinstance(args.command, Says):
            args.command.run(out)
            return DONE
        folder = folder_of(args)
        if isinstance(args.command, Window):
            open_window(args.command, folder, args)
        else:
            import asyncio

            # The loop first: where the system gives none, no coroutine is left that nobody awaits.
            with asyncio.Runner() as runner:
                runner.get_loop()
                runner.run(perform(args, folder, out, profiles))
    except KithkinError as error:
        out.failure(error)
        if not words:
            streams.write_aside("\n" + parser.build().format_help())
        return USAGE if error.code == "usage" else REFUSED
    except (KeyboardInterrupt, streams.OutputLost):
        raise
    except Exception as error:
        out.failure(unexpected(error))
        return REFUSED
    return REFUSED if out.failed else DONE


def folder_of(args: Args) -> Path:
    """The profile that a command line means.  Raises KithkinError `usage` where nothing says which."""
    concerned = not isinstance(args.command, Later) and not (
        isinstance(args.command, Stands) and not args.command.profile
    )
    return Path(args.profile or (parser.default_profile() if concerned else "")).absolute()


def unexpected(error: Exception) -> KithkinError:
    """The system may refuse anywhere, tasks may fail in groups; everything else that arrives here is a defect."""
    if isinstance(error, ExceptionGroup):
        reasons, _ = error.split(KithkinError)
        first = (reasons or error).exceptions[0]
        return first if isinstance(first, KithkinError) else unexpected(first)
    if isinstance(error, streams.OutputLost):
        raise error
    from sync.service.system import refusal_of

    if (refusal := refusal_of(error)) is not None:
        return refusal
    if os.environ.get("KITHKIN_DEBUG"):
        import traceback

        traceback.print_exception(error, file=sys.stderr)
    return KithkinError("internal", f"A defect of ours: {type(error).__name__}: {error}")


def read_arguments(words: list[str], out: Output) -> Args | None:
    """None once help or the version was shown."""
    shown = io.StringIO()
    try:
        with contextlib.redirect_stdout(shown):
            return parser.parse(words)
    except SystemExit:
        out.help(shown.getvalue())
        return None


def open_window(window: Window, folder: Path, args: Args) -> None:
    """KivyMD takes seconds to import and is an extra, so nothing else pays for it.  A window owns thread and loop."""
    from importlib import import_module

    try:
        app = import_module(window.module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("kivy", "kivymd"):
            raise
        sentence = "The windows need more packages: pip install kithkin[ui]."
        raise KithkinError("not_available_yet", sentence) from error
    app.main(folder, network_of(args))


async def perform(args: Args, folder: Path, out: Output, profiles: Profiles | None) -> None:
    command = args.command
    match command:
        case Later(sentence):
            raise KithkinError("not_available_yet", sentence)
        case Stands(run):
            await run(Place(profiles or real_profiles(), folder, out), args)
        case Asks(run, meets, check):
            check(args)
            network = network_of(args) if meets(args) else None
            async with service_of(profiles, folder, network) as service:
                await run(service, args, out)
