"""Profiles on disk: making one, linking one, opening one (`api.Profiles`, as a module).

A profile is a folder of its own: `keystore` (the wrapped database key), `store.db` (encrypted), `index/` (encrypted,
rebuildable), and a socket while a node runs.  The keystore is written last, so a folder with one is a whole profile.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

from identity.digest import derive
from identity.errors import DecodeError, KithkinError
from identity.kem import installed
from identity.keyring_shell import forget_secret, make_secret, read_secret
from identity.keystore import change_keystore, create_keystore, open_keystore
from identity.keystore_file import read_keystore, replace_keystore
from identity.labels import Label
from identity.phrase import new_phrase, phrase_keys
from identity.process import forbid_core_dumps
from identity.statement import root_certificate
from netstack.shell.connection import Connection
from netstack.shell.host import Host
from sync.account.account import Account, new_account, recovered_account
from sync.backup.file import DAMAGED, BackupFile, Progress, silent
from sync.backup.format import Part
from sync.backup.target import open_backup
from sync.engine import effects as e
from sync.engine.engine import Engine
from sync.engine.onboarding.link import Linking as Core
from sync.engine.perform import Driver
from sync.engine.profile import Profile, found_profile, has_account
from sync.engine.salvage import list_again
from sync.engine.salvage import salvage as salvage_store
from sync.engine.succession import become_new_device
from sync.search.backend import SETTING, open_search
from sync.search.port import Search
from sync.service import models
from sync.service.api import WAIT_SECONDS, Linking, Network
from sync.service.backups import load, lost_chats, verify_file, whole
from sync.service.folder import close_to_others, refuse_own_files
from sync.service.ids import device_id, identity_id
from sync.service.indexing import Indexing
from sync.service.local import LocalService
from sync.service.network import address_of, hints_of, new_host, start_host
from sync.service.node import Node, up
from sync.service.place import keep_place, place_of, put_place, was_copied
from sync.service.plural import counted
from sync.service.removal import INDEX, STORE, erase
from sync.service.removal import KEYSTORE as KEYSTORE
from sync.service.steps import TIMEOUT
from sync.service.system import system_refusals
from sync.service.text import check_name
from sync.store.sqlite import SqliteStore

KINDS = ("phone", "desktop")


async def create_profile(folder: Path, passphrase: str | None, *, name: str, kind: str = "device") -> models.Created:
    """See `api.Profiles`.  Everything is durable when it returns."""
    name = check_name(name)
    async with _drafted(folder, passphrase) as (store, keystore):
        now, rng = time.time(), os.urandom
        phrase = new_phrase(rng)
        keys = await asyncio.to_thread(phrase_keys, phrase, installed())
        account = new_account(keys.root.public, kind, rng, now, kem=installed())
        certificate = root_certificate(
            keys.root,
            account.keys.signing,
            account.keys.agreement.public,
            created=int(now),
            generation=int(now),
        )
        keep_place(store, store.seen)
        found_profile(store, account, [certificate], keys.recovery.public, name, int(now * 1000), rng, installed())
        _keep_keystore(folder, keystore)
        return models.Created(identity=identity_id(account.identity), device=device_id(account.device), phrase=phrase)


async def recover_profile(
    folder: Path, passphrase: str | None, phrase: str, *, name: str, kind: str = "device"
) -> models.Recovered:
    """See `api.Profiles`.  Everything is durable when it returns."""
    name, kem = check_name(name), installed()
    keys = await asyncio.to_thread(phrase_keys, phrase, kem)
    async with _drafted(folder, passphrase) as (store, keystore):
        now, rng = time.time(), os.urandom
        account, certificate = recovered_account(keys, kind, rng, now, kem)
        recovery, now_ms = keys.recovery, int(now * 1000)
        found_profile(store, account, [certificate], recovery.public, name, now_ms, rng, kem, recovering=recovery)
        _keep_keystore(folder, keystore)
        return models.Recovered(identity=identity_id(account.identity), device=device_id(account.device))


@contextlib.asynccontextmanager
async def _drafted(folder: Path, passphrase: str | None) -> AsyncIterator[tuple[SqliteStore, bytes]]:
    """`_draft` in a thread: to wrap a key is meant to take long, and a disk takes its time."""
    forbid_core_dumps()
    draft = _draft(folder, passphrase)
    begun = asyncio.ensure_future(asyncio.to_thread(draft.__enter__))
    try:
        made = await asyncio.shield(begun)
    except asyncio.CancelledError:
        # A thread is not stopped half-way: it ends what it is at, and that is swept away.
        with contextlib.suppress(KithkinError):
            await begun
            await asyncio.to_thread(draft.__exit__, None, None, None)
        raise
    try:
        yield made
    finally:
        await asyncio.to_thread(draft.__exit__, None, None, None)


async def erase_profile(folder: Path) -> models.ProfileErased:
    """See `api.Profiles`."""
    return await asyncio.to_thread(erase, folder)


async def verify_backup(path: Path, passphrase: str, *, progress: Progress = silent) -> models.BackedUp:
    """See `api.Profiles`."""
    return await asyncio.to_thread(verify_file, path, passphrase, progress)


async def restore_backup(
    folder: Path,
    passphrase: str | None,
    path: Path,
    secret: str,
    *,
    salvage: bool = False,
    progress: Progress = silent,
) -> models.Restored:
    """See `api.Profiles`.  The keystore is written last: a folder with one was restored as a whole."""
    refuse_own_files(path)
    opened = await asyncio.to_thread(open_backup, path, secret)
    with opened.file:
        survey = await asyncio.to_thread(opened.survey, progress)
        contents = survey.contents if salvage and survey.contents is not None else whole(opened, survey)
        gone = {part.offset for part in survey.lost}
        parts = [part for part in contents.parts if part.offset not in gone]
        lost = lost_chats(opened, contents, survey.lost) if gone else ""
        async with _drafted(folder, passphrase) as (store, keystore):
            if gone:
                missing = await _salvage(folder, opened, parts, store, progress)
                lost += f"; {counted(missing, 'entry', 'entries')} may come from other devices" if missing else ""
            else:
                await load(opened, parts, store, progress)
            account = await asyncio.to_thread(_take_over, store)
            _keep_keystore(folder, keystore)
            return models.Restored(
                ok=True, identity=identity_id(account.identity), device=device_id(account.device), lost=lost
            )


async def _salvage(
    folder: Path, opened: BackupFile, parts: Sequence[Part], store: SqliteStore, progress: Progress
) -> int:
    """What still opens is put into a store beside, out of which the feeds are taken in anew.  Returns how many entries
    are missing."""
    path = folder / f"{STORE}.salvage"
    spare = await asyncio.to_thread(SqliteStore, path, os.urandom(32))
    try:
        await load(opened, parts, spare, progress)
        now_ms = int(time.time() * 1000)
        return await asyncio.to_thread(
            salvage_store, spare, store, os.urandom, installed(), now_ms, lambda taken: progress(taken, 0)
        )
    except (DecodeError, LookupError) as error:
        sentence = "What is left of that backup is no profile: its account or its list of chats is lost."
        raise KithkinError(DAMAGED, sentence) from error
    finally:
        await asyncio.to_thread(spare.close)
        for piece in folder.glob(f"{path.name}*"):
            piece.unlink(missing_ok=True)


def _take_over(store: SqliteStore) -> Account:
    """What was restored goes on as a new device, here.  Raises `backup_damaged` for rows that are no profile."""
    try:
        profile = Profile(store, os.urandom, installed())
    except (DecodeError, LookupError) as error:
        raise KithkinError(DAMAGED, f"What that backup holds is no profile of this version: {error}.") from None
    put_place(profile.context.batch, store.seen)
    now_ms = int(time.time() * 1000)
    become_new_device(profile, now_ms)
    if not profile.personal.may_write:
        raise KithkinError(DAMAGED, "What is left of that backup is no profile: the list of your chats is lost.")
    list_again(profile, now_ms)
    return profile.account


def _settle(store: SqliteStore) -> None:
    """A store that was copied since it was opened last goes on as a new device: the other copy may be in use."""
    here = store.seen
    if not was_copied(store, here):
        keep_place(store, here)
        return
    profile = Profile(store, os.urandom, installed())
    put_place(profile.context.batch, here)
    become_new_device(profile, int(time.time() * 1000))


def refuse_existing(folder: Path) -> None:
    """Raises `profile_exists` where the folder holds a profile: a look that needs no passphrase."""
    with contextlib.suppress(OSError):  # what is wrong with the folder is said when it is used
        if (folder / KEYSTORE).exists():
            raise KithkinError("profile_exists", "There is a profile here already.")


@contextlib.contextmanager
def _draft(folder: Path, passphrase: str | None) -> Iterator[tuple[SqliteStore, bytes]]:
    """(store, keystore bytes) of a profile about to be made in `folder`; what is unfinished is swept away."""
    made = _check_folder(folder)
    refuse_existing(folder)
    strangers = [child for child in folder.iterdir() if child.name not in _ours(folder)]
    if strangers:
        raise KithkinError("profile_unreadable", "That folder holds other files; choose an empty one.")
    close_to_others(folder)
    database_key, rng = os.urandom(32), os.urandom
    secret = None if passphrase is not None else make_secret(folder, rng)
    keystore = create_keystore(database_key, rng=rng, passphrase=passphrase, keyring_secret=secret)
    # A store without a keystore is what a crash left: nobody has its key.
    with _refuse_in_use(folder):
        for child in list(folder.iterdir()):
            child.unlink() if not child.is_dir() else shutil.rmtree(child)
    store: SqliteStore | None = None
    try:
        store = SqliteStore(folder / STORE, derive(database_key, Label.DATABASE), look=place_of)
        yield store, keystore
    finally:
        if store is not None:
            store.close()
        if not (folder / KEYSTORE).exists():
            for child in list(folder.iterdir()):
                child.unlink() if not child.is_dir() else shutil.rmtree(child)
            if made:
                folder.rmdir()


def _keep_keystore(folder: Path, keystore: bytes) -> None:
    with system_refusals():
        replace_keystore(folder / KEYSTORE, keystore)


def _ours(folder: Path) -> set[str]:
    return {KEYSTORE, KEYSTORE + ".new", INDEX, "node.log"} | {c.name for c in folder.glob(STORE + "*")}


@contextlib.contextmanager
def _refuse_in_use(folder: Path) -> Iterator[None]:
    """Raises `profile_in_use` where another process is making or holding a profile here."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise KithkinError("profile_in_use", "Another process is using that profile.") from None
        yield
    finally:
        os.close(descriptor)


def _check_folder(folder: Path) -> bool:
    """Makes the folder if need be; whether it did.  Raises `profile_unreadable`."""
    try:
        made = not folder.exists()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        list(folder.iterdir())
        return made
    except FileExistsError:
        raise KithkinError("profile_unreadable", "That is a file, not a folder.") from None
    except NotADirectoryError:
        raise KithkinError("profile_unreadable", "That is a file, not a folder.") from None
    except OSError as error:
        raise KithkinError("profile_unreadable", f"That folder cannot be used: {error.strerror}.") from None


def _database_key(folder: Path, passphrase: str | None) -> bytes:
    with contextlib.suppress(OSError):  # the keystore says what is wrong with the folder
        if folder.exists() and not folder.is_dir():
            raise KithkinError("profile_unreadable", "That is a file, not a folder.")
    data = read_keystore(folder / KEYSTORE)
    close_to_others(folder)
    secret = read_secret(folder)
    return open_keystore(data, passphrase=passphrase, keyring_secret=secret)


@contextlib.asynccontextmanager
async def open_service(
    folder: Path, passphrase: str | None, *, network: Network | None = None
) -> AsyncIterator[LocalService]:
    """See `api.Profiles`."""
    forbid_core_dumps()
    database_key = await asyncio.to_thread(_database_key, folder, passphrase)
    store = SqliteStore(folder / STORE, derive(database_key, Label.DATABASE), look=place_of)
    search: Search | None = None
    try:
        if not has_account(store):
            raise KithkinError(
                "profile_unreadable", "This profile was never linked to the end; delete its folder and link again."
            )
        try:
            _settle(store)
            engine = Engine(store, os.urandom, time.time(), installed())
        except (DecodeError, LookupError) as error:
            # Pages are authenticated, so this is no flipped bit but a row that this version does not know.
            raise KithkinError(
                "profile_unreadable", f"The store of this profile holds what this version cannot read: {error}."
            ) from error
        with system_refusals():
            (folder / INDEX).mkdir(mode=0o700, exist_ok=True)
        search = open_search(folder / INDEX, derive(database_key, Label.INDEX), wanted=os.environ.get(SETTING))
        async with Node(engine, network) as node:
            indexing = Indexing(engine.profile, search, lambda: int(node.clock() * 1000))

            def rewrap(new: str | None, keyring: bool | None) -> None:
                _rewrap(folder, database_key, new, keyring)

            async with LocalService(node, indexing, rewrap, folder) as service:
                yield service
    finally:
        if search is not None:
            await asyncio.to_thread(search.close)
        store.close()


def _rewrap(folder: Path, database_key: bytes, new: str | None, keyring: bool | None) -> None:
    """Wraps the same database key anew; the file is replaced whole."""
    data = read_keystore(folder / KEYSTORE)
    secret = make_secret(folder, os.urandom) if keyring else None
    changed = change_keystore(
        data,
        database_key,
        rng=os.urandom,
        passphrase=new,
        keyring_secret=secret,
        drop_keyring=keyring is False,
    )
    _keep_keystore(folder, changed)
    if keyring is False:
        forget_secret(folder)


class _Linking:
    """A new device that shows its text: the shell around `sync.engine.onboarding.link` (`api.Linking`, and the driver's
    port)."""

    def __init__(self, core: Core, host: Host, wait: float) -> None:
        self._core = core
        self._host = host
        self._driver = Driver(core, self, time.time)
        self._deadline = asyncio.get_running_loop().time() + wait
        self._connections: dict[int, Connection] = {}
        self._end: asyncio.Future[models.Linked] = asyncio.get_running_loop().create_future()
        self._asked = asyncio.Event()
        self._answer: asyncio.Future[models.Wrong | None] | None = None
        host.on_connection = self._incoming
        self._timer = asyncio.get_running_loop().call_at(self._deadline, self._expire)
        self._driver.tick()

    @property
    def payload(self) -> str:
        return self._core.text

    async def submit(self, code: str) -> models.Wrong | None:
        asked = asyncio.create_task(self._asked.wait())
        try:
            futures: set[asyncio.Future[Any]] = {asked, self._end}
            await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
        if self._end.done():
            self._end.result()
            return None
        self._asked.clear()
        answer: asyncio.Future[models.Wrong | None] = asyncio.get_running_loop().create_future()
        self._answer = answer
        self._core.submit(code, time.time())
        self._driver.tick()
        ends: set[asyncio.Future[Any]] = {answer, self._end}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        self._end.result()
        return None

    async def done(self) -> models.Linked:
        return await asyncio.shield(self._end)

    def close(self) -> None:
        self._timer.cancel()
        if not self._end.done():
            self._end.cancel()
        elif not self._end.cancelled():
            self._end.exception()  # nobody may have asked

    # -- what the core asks for (`sync.engine.perform.Port`) -----------------------------------------------------

    def transmit(self, conn: int, frame: bytes) -> None:
        """Sends a frame on an open connection."""
        connection = self._connections.get(conn)
        if connection is not None:
            connection.send(frame)

    def disconnect(self, conn: int, reason: str) -> None:
        """Ends an open connection."""
        connection = self._connections.pop(conn, None)
        if connection is not None:
            connection.close()

    def dial(self, dial: e.Dial) -> None:
        """A new device waits to be dialled."""

    def listen(self, listen: e.Listen) -> None:
        """Answers handshakes for the key in the text."""
        self._host.listen(listen.key, listen.announce)

    def unlisten(self, public: bytes) -> None:
        """Somebody has the text: no second one is answered."""
        self._host.unlisten(public)

    def join_topic(self, join: e.JoinTopic) -> None:
        """A new device is at no topic."""

    def leave_topic(self, topic: bytes) -> None:
        """A new device is at no topic."""

    def put_record(self, put: e.PutRecord) -> None:
        """A new device has nothing to store."""

    def seek_record(self, public: bytes) -> None:
        """A new device looks for nothing."""

    def advance(self, step: e.OnboardingStep) -> None:
        """Answers whoever waits in `submit` or `done`."""
        match step:
            case e.CodeWrong(left=left):
                if left and self._answer is not None and not self._answer.done():
                    self._answer.set_result(models.Wrong(left=left))
            case e.DeviceLinked():
                self._finish(None)
            case e.OnboardingFailed(code=code, sentence=sentence):
                self._finish(KithkinError(code, sentence))
            case _:
                self._asked.set()

    def tell(self, event: e.Event) -> None:
        """There is no profile yet of which anything could be told."""

    def refused(self, error: KithkinError) -> None:
        """The store refused: linking is over."""
        self._finish(error)

    def ticked(self) -> None:
        """The host sends by itself, and only the deadline waits."""

    def _finish(self, error: KithkinError | None) -> None:
        if self._end.done():
            return
        if error is not None:
            self._end.set_exception(error)
        else:
            self._end.set_result(
                models.Linked(identity=identity_id(self._core.identity), device=device_id(self._core.device))
            )

    def _expire(self) -> None:
        self._finish(TIMEOUT)

    def _incoming(self, connection: Connection) -> None:
        conn = connection.id
        if connection.closed:
            return
        self._connections[conn] = connection
        connection.on_close = lambda reason: self._closed(conn)
        self._driver.opened(up(connection))
        connection.on_frames = lambda frames: self._driver.frames(conn, frames)

    def _closed(self, conn: int) -> None:
        self._connections.pop(conn, None)
        self._driver.closed(conn)


@contextlib.asynccontextmanager
async def link_profile(
    folder: Path,
    passphrase: str | None,
    *,
    name: str | None = None,
    kind: str = "device",
    network: Network | None = None,
    wait: float = WAIT_SECONDS,
) -> AsyncIterator[Linking]:
    """See `api.Profiles`.  The folder holds a profile once the other device let us in, and nothing before that."""
    network = network or Network()
    async with _drafted(folder, passphrase) as (store, keystore):
        host = await new_host(network)
        address = await start_host(host, network, 0)
        try:
            hints = [a for text in hints_of(network, address) if (a := address_of(text)) is not None]
            core = Core(
                store,
                kind,
                check_name(name) if name else kind,
                hints[:4],
                os.urandom,
                time.time(),
                installed(),
                granted=lambda: _keep_keystore(folder, keystore),
            )
            linking = _Linking(core, host, wait)
            try:
                yield linking
            finally:
                linking.close()
                for connection in list(host.connections.values()):
                    connection.close()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(connection.wait_closed(), 2.0)
        finally:
            await host.stop()
