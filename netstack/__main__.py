"""`python -m netstack COMMAND`: reads arguments, prints JSON lines."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from typing import NoReturn, TextIO

from identity.errors import DecodeError, KithkinError
from identity.keys import check_point
from netstack.shell import commands
from netstack.udp.port import Address
from netstack.wire.address import parse_address

COMMANDS = {
    "node": commands.node,
    "echo": commands.echo,
    "connect": commands.connect,
    "announce": commands.announce,
    "lookup": commands.lookup,
    "throughput": commands.throughput,
    "testnet": commands.testnet,
}


class Parser(argparse.ArgumentParser):
    """Raises KithkinError `usage` instead of exiting."""

    def error(self, message: str) -> NoReturn:
        raise KithkinError("usage", message)


# the types of arguments; each raises ArgumentTypeError with a sentence


def fixed_hex(text: str) -> bytes:
    """32 bytes as 64 hexadecimal digits."""
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if len(data) != 32:
        raise argparse.ArgumentTypeError(f"not 64 hexadecimal digits: {text!r}")
    return data


def public_key(text: str) -> bytes:
    """A public key as 64 hexadecimal digits."""
    try:
        return check_point(fixed_hex(text))
    except DecodeError as error:
        raise argparse.ArgumentTypeError(f"{error}: {text!r}") from None


def address(text: str) -> Address:
    """An address as "host:port"."""
    try:
        return parse_address(text)
    except DecodeError as error:
        raise argparse.ArgumentTypeError(f"{error}: {text!r}") from None


def port(text: str) -> int:
    """A UDP port, 0 for any."""
    if not (text.isascii() and text.isdigit() and int(text[:6]) <= 0xFFFF):
        raise argparse.ArgumentTypeError(f"not a port: {text!r}")
    return int(text)


def megabytes(text: str) -> int:
    """A number of MiB, at most 2**20."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:8]) <= 1 << 20):
        raise argparse.ArgumentTypeError(f"not a number of MiB: {text!r}")
    return int(text)


def count(text: str) -> int:
    """A number of nodes, at most 10,000."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 10_000):
        raise argparse.ArgumentTypeError(f"not a number of nodes: {text!r}")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """The parser of every command and its options."""
    common = Parser(add_help=False)
    common.add_argument("--bootstrap", action="append", metavar="H:P", help="a DHT bootstrap node; may be repeated")
    common.add_argument("--host", default="0.0.0.0", metavar="A", help="the local address to bind")
    common.add_argument("--port", type=port, default=0, metavar="P", help="the local port to bind")
    top = Parser(prog="netstack", description="Kithkin's network layer alone, without a profile.")
    command = top.add_subparsers(dest="command", required=True, parser_class=Parser)

    node = command.add_parser("node", parents=[common], help="run a DHT node that stores for others")
    node.add_argument(
        "--public-host", default="", metavar="A", help="where strangers reach it, if not where it is bound"
    )
    node.add_argument("--relay", type=fixed_hex, metavar="HEX", help="also a blind relay, under the key of this seed")
    echo = command.add_parser("echo", parents=[common], help="echo bytes on every connection")
    echo.add_argument("--seed", type=fixed_hex, metavar="HEX", help="64 hexadecimal digits that make the key")
    echo.add_argument("--relay-through", type=public_key, metavar="KEY", help="a blind relay to name to peers")
    connect = command.add_parser("connect", parents=[common], help="pipe standard input and output to a peer")
    connect.add_argument("key", type=public_key, metavar="KEY")
    connect.add_argument("--address", type=address, action="append", metavar="H:P", help="where the peer is")
    connect.add_argument("--relay-through", type=public_key, metavar="KEY", help="a blind relay to name to the peer")
    connect.add_argument("--tell", action="store_true", help="say on standard error how the peer was reached")
    announce = command.add_parser("announce", parents=[common], help="echo, announced under a topic")
    announce.add_argument("topic", type=fixed_hex, metavar="TOPIC")
    announce.add_argument("--seed", type=fixed_hex, metavar="HEX")
    lookup = command.add_parser("lookup", parents=[common], help="find the peers of a topic")
    lookup.add_argument("topic", type=fixed_hex, metavar="TOPIC")
    throughput = command.add_parser("throughput", parents=[common], help="measure one stream on loopback")
    throughput.add_argument("--mb", type=megabytes, default=256, metavar="N")
    throughput.add_argument("--source", type=public_key, help=argparse.SUPPRESS)
    throughput.add_argument("--address", type=address, action="append", help=argparse.SUPPRESS)
    testnet = command.add_parser("testnet", help="run a private DHT on loopback")
    testnet.add_argument("--size", type=count, default=10, metavar="N", help="how many nodes, at most 10,000")
    testnet.add_argument("--port", type=port, default=0, metavar="P", help="the port of the bootstrap node")
    testnet.set_defaults(bootstrap=[])
    return top


def bootstrap(options: argparse.Namespace) -> list[Address]:
    """The bootstrap nodes of the options, else those of KITHKIN_BOOTSTRAP (comma-separated; empty: none)."""
    texts = options.bootstrap
    if texts is None:
        texts = os.environ.get("KITHKIN_BOOTSTRAP", "").split(",")
    try:
        return [parse_address(text) for text in texts if text.strip()]
    except DecodeError as error:
        raise KithkinError("usage", f"--bootstrap: {error}") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status: 0, 1 for an error, 2 for wrong arguments."""
    errors: TextIO = sys.stdout
    try:
        options = parser().parse_args(arguments)
        if options.command == "connect":
            errors = sys.stderr  # standard output is the peer's
        command = COMMANDS[options.command]
        options.bootstrap = bootstrap(options)
        return asyncio.run(command(options))
    except KithkinError as error:
        print(json.dumps({"error": {"code": error.code, "message": error.message}}), file=errors, flush=True)
        return 2 if error.code == "usage" else 1
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
