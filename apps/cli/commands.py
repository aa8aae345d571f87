"""The commands that ask a profile's service: each is a few lines from arguments to one call and its answer."""

from __future__ import annotations

from pathlib import Path

from apps.cli import later
from apps.cli.command import Args, Asks
from apps.cli.output import Output
from apps.cli.terminal import Lines, ask_passphrase, interactive, passphrase_of, qr_lines, standard_input
from sync.service.api import KithkinError, Service


def text_of(argument: str) -> str:
    """A TEXT argument; `-` stands for standard input."""
    return standard_input() if argument == "-" else argument


# ---- devices


async def device_approve(service: Service, args: Args, out: Output) -> None:
    async with service.device_approve(text_of(args.text), history=args.history, wait=args.wait) as approval:
        for sentence in approval.grant.grants:
            out.note(sentence)
        if not args.yes:
            await agree(out, "Let it in? Type yes:", "Nothing was granted.")
        out.line(await approval.confirm())
        done = await approval.done()
    out.line(done)


def check_device_approve(args: Args) -> None:
    if args.text == "-" and not args.yes:
        raise KithkinError("usage", "With the text on standard input nobody can be asked: add --yes.")


async def agree(out: Output, question: str, otherwise: str) -> None:
    """Asks a person to say yes.  Raises KithkinError `not_allowed`, with `otherwise`, for anything else."""
    out.note(question)
    with Lines() as lines:
        answer = await lines.next()
    if (answer or "").lower() not in ("y", "yes"):
        raise KithkinError("not_allowed", otherwise)


async def device_list(service: Service, args: Args, out: Output) -> None:
    out.line(await service.devices())


async def device_rename(service: Service, args: Args, out: Output) -> None:
    out.line(await service.device_rename(args.id, args.name))


async def phrase_check(service: Service, args: Args, out: Output) -> None:
    from apps.cli.words import read_words
    from sync.service.models import PhraseChecked
    from sync.service.phrase import identity_of

    mine = (await service.profile()).identity
    if identity_of(await read_words(out)) != mine:
        raise KithkinError("phrase_invalid", "These are good words, but of another identity than this profile's.")
    out.line(PhraseChecked(identity=mine))


# ---- people


async def profile_show(service: Service, args: Args, out: Output) -> None:
    out.line(await service.profile())


async def profile_set(service: Service, args: Args, out: Output) -> None:
    out.line(await service.profile_set(name=args.name, about=args.about))


def check_profile_set(args: Args) -> None:
    if args.picture is not None:
        raise KithkinError("not_available_yet", later.PICTURE.sentence)
    if args.name is None and args.about is None:
        raise KithkinError("usage", "Say what to set: --name or --about.")


async def contact_invite(service: Service, args: Args, out: Output) -> None:
    invite = await service.contact_invite(expires=args.expires)
    if interactive() and not out.json:
        out.text("\n".join(qr_lines(invite.invite, colour=out.colour)))
    out.line(invite)
    out.note("A node of yours must run to answer it: `kithkin run`.")


async def contact_accept(service: Service, args: Args, out: Output) -> None:
    out.line(await service.contact_accept(text_of(args.text), wait=args.wait))


async def contact_list(service: Service, args: Args, out: Output) -> None:
    out.line(await service.contacts())


async def contact_rename(service: Service, args: Args, out: Output) -> None:
    out.line(await service.contact_rename(args.id, args.name))


async def contact_block(service: Service, args: Args, out: Output) -> None:
    out.line(await service.contact_block(args.id))


async def contact_unblock(service: Service, args: Args, out: Output) -> None:
    out.line(await service.contact_unblock(args.id))


async def contact_verify(service: Service, args: Args, out: Output) -> None:
    out.line(await service.contact_verify(args.id, confirm=args.confirm))


# ---- chats


async def chat_new(service: Service, args: Args, out: Output) -> None:
    out.line(await service.chat_new(args.title, args.contacts))


async def chat_list(service: Service, args: Args, out: Output) -> None:
    out.line(await service.chats())


async def chat_join(service: Service, args: Args, out: Output) -> None:
    out.line(await service.chat_join(args.id))


async def chat_decline(service: Service, args: Args, out: Output) -> None:
    out.line(await service.chat_decline(args.id))


async def chat_leave(service: Service, args: Args, out: Output) -> None:
    out.line(await service.chat_leave(args.id))


async def chat_rename(service: Service, args: Args, out: Output) -> None:
    out.line(await service.chat_rename(args.id, args.title))


async def chat_members(service: Service, args: Args, out: Output) -> None:
    out.line(await service.chat_members(args.id))


async def chat_add(service: Service, args: Args, out: Output) -> None:
    out.line(await service.chat_add(args.id, args.contact))


async def chat_admin(service: Service, args: Args, out: Output) -> None:
    out.line(await service.chat_admin(args.id, args.contact))


async def chat_remove(service: Service, args: Args, out: Output) -> None:
    out.line(await service.chat_remove(args.id, args.contact))


async def chat_demote(service: Service, args: Args, out: Output) -> None:
    out.line(await service.chat_demote(args.id, args.contact))


async def chat_restart(service: Service, args: Args, out: Output) -> None:
    out.line(await service.chat_restart(args.id, args.without))


async def chat_set(service: Service, args: Args, out: Output) -> None:
    out.line(await service.chat_set(args.id, args.key, args.value))


def check_chat_set(args: Args) -> None:
    seconds = args.value.isascii() and args.value.isdigit() and len(args.value) <= 10
    allowed = {"history": args.value in ("all", "none"), "lifetime": seconds}
    if not allowed.get(args.key, False):
        raise KithkinError("usage", "KEY is `history` (all, none) or `lifetime` (seconds, 0 = for ever).")


async def delete_chat(service: Service, args: Args, out: Output) -> None:
    out.line(await service.delete_chat(args.chat))
    if not out.json:
        out.note(FOR_ME)


# ---- messages

FOR_ME = "It goes from all of your devices; what others hold stays with them."


async def send(service: Service, args: Args, out: Output) -> None:
    out.line(await service.send(args.chat, text_of(args.text), reply=args.reply))


def check_send(args: Args) -> None:
    if args.file is not None:
        raise KithkinError("not_available_yet", later.FILES.sentence)


async def read(service: Service, args: Args, out: Output) -> None:
    out.line(await service.read(args.chat, limit=args.limit, before=args.before, after=args.after, wait=args.wait))


async def mark(service: Service, args: Args, out: Output) -> None:
    out.line(await service.mark(args.chat, upto=args.upto))


async def edit(service: Service, args: Args, out: Output) -> None:
    out.line(await service.edit(args.chat, args.id, text_of(args.text)))


async def delete(service: Service, args: Args, out: Output) -> None:
    out.line(await service.delete(args.chat, args.id, everyone=args.everyone))
    if not args.everyone and not out.json:
        out.note(FOR_ME)


async def react(service: Service, args: Args, out: Output) -> None:
    out.line(await service.react(args.chat, args.id, args.emoji))


async def cancel(service: Service, args: Args, out: Output) -> None:
    out.line(await service.cancel(args.chat, args.id))


async def search(service: Service, args: Args, out: Output) -> None:
    out.line(
        await service.search(
            text_of(args.query),
            chat=args.chat,
            author=args.author,
            since=args.since,
            until=args.until,
            sort=args.sort,
            limit=args.limit,
        )
    )


async def outbox(service: Service, args: Args, out: Output) -> None:
    out.line(await service.outbox())


# ---- files: the node may run in another folder, so paths are made absolute here


async def import_messages(service: Service, args: Args, out: Output) -> None:
    out.line(await service.import_messages(args.chat, Path(args.file).absolute(), skip_bad=args.skip_bad))


async def export(service: Service, args: Args, out: Output) -> None:
    out.line(await service.export(args.chat, Path(args.file).absolute(), format=args.format, force=args.force))


async def forge(service: Service, args: Args, out: Output) -> None:
    file, target = Path(args.file).absolute(), Path(args.out).absolute()
    out.line(await service.forge_transcript(args.chat, file, target, force=args.force))


# ---- the node


async def status(service: Service, args: Args, out: Output) -> None:
    out.line(await service.status())


async def stats(service: Service, args: Args, out: Output) -> None:
    out.line(await service.stats())


async def doctor(service: Service, args: Args, out: Output) -> None:
    checks = await service.doctor(repair=args.repair)
    out.line(checks)
    if not all(check.ok for check in checks.checks):
        out.failed = True


async def passphrase(service: Service, args: Args, out: Output) -> None:
    keyring = {"on": True, "off": False, None: None}[args.keyring]
    new = passphrase_of(args.new_file) if args.new_file is not None else None
    if new is None and keyring is None and (new := ask_passphrase(new=True)) is None:
        raise KithkinError("no_passphrase", "Nobody can be asked here: name a file with --new-file.")
    out.line(await service.passphrase(new, keyring=keyring))


DEVICE_APPROVE = Asks(device_approve, meets=lambda args: True, check=check_device_approve)
DEVICE_LIST = Asks(device_list)
DEVICE_RENAME = Asks(device_rename)
PHRASE_CHECK = Asks(phrase_check)
PROFILE_SHOW = Asks(profile_show)
PROFILE_SET = Asks(profile_set, check=check_profile_set)
CONTACT_INVITE = Asks(contact_invite)
CONTACT_ACCEPT = Asks(contact_accept, meets=lambda args: True)
CONTACT_LIST = Asks(contact_list)
CONTACT_RENAME = Asks(contact_rename)
CONTACT_BLOCK = Asks(contact_block)
CONTACT_UNBLOCK = Asks(contact_unblock)
CONTACT_VERIFY = Asks(contact_verify)
CHAT_NEW = Asks(chat_new)
CHAT_LIST = Asks(chat_list)
CHAT_JOIN = Asks(chat_join)
CHAT_DECLINE = Asks(chat_decline)
CHAT_LEAVE = Asks(chat_leave)
CHAT_RENAME = Asks(chat_rename)
CHAT_MEMBERS = Asks(chat_members)
CHAT_ADD = Asks(chat_add)
CHAT_ADMIN = Asks(chat_admin)
CHAT_DEMOTE = Asks(chat_demote)
CHAT_REMOVE = Asks(chat_remove)
CHAT_RESTART = Asks(chat_restart)
CHAT_SET = Asks(chat_set, check=check_chat_set)
DELETE_CHAT = Asks(delete_chat)
SEND = Asks(send, check=check_send)
READ = Asks(read, meets=lambda args: args.wait > 0)
MARK = Asks(mark)
EDIT = Asks(edit)
DELETE = Asks(delete)
REACT = Asks(react)
CANCEL = Asks(cancel)
SEARCH = Asks(search)
OUTBOX = Asks(outbox)
IMPORT = Asks(import_messages)
EXPORT = Asks(export)
FORGE = Asks(forge)
STATUS = Asks(status)
STATS = Asks(stats)
DOCTOR = Asks(doctor)
PASSPHRASE = Asks(passphrase)
