"""What a hub keeps on its machine: made once, and brought up to date when a newer hub starts. Keys, and the tables of its store."""

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.engine import make_url

from hub.model.errors import HubError
from hub.observe.failpoints import failpoint
from hub.settings import MASTER_KEY_EPOCH, Settings
from hub.store.act_chain import has_signatures
from hub.store.acts import Act, Actor, new_ulid, record_act
from hub.store.engine import open_engine
from hub.store.keys import RESTORE, create_keys, has_keys, load_officer_key
from hub.store.lease import serve_lease
from hub.store.tables import STORE_VERSION, has_acts, require_scope
from hub.store.upgrade import Upgraded, require_current, standing, upgrade


def initialise(settings: Settings, *, tell: Callable[[Upgraded], None] = lambda _: None) -> bool:
    """Make the state folder and the tables where they are missing, and the keys of a new hub; True when keys were made.

    Tables of an older hub are brought up to date, which is told. HUB-KEY-001 where keys are missing and the state is that of a hub that
    had them: nothing is written then.
    """
    settings.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not has_keys(settings.keys_folder) and _was_used(settings):
        what = f"`{settings.keys_folder}` holds no keys, and `{settings.state}` is the state of a hub that had them"
        raise HubError("HUB-KEY-001", what, RESTORE)
    made = create_keys(settings.keys_folder, epoch=MASTER_KEY_EPOCH, comment=f"{settings.officer.person}@{settings.scope}")
    bring_up_to_date(settings, tell=tell)
    return made


def bring_up_to_date(settings: Settings, *, told: bool = False, tell: Callable[[Upgraded], None] = lambda _: None) -> Upgraded:
    """Bring the store's tables up to date: the embedded one always, after a copy, another one where the caller was ``told`` to.

    An act, and told, where there were tables before. HUB-STORE-004 where another one is behind and nobody said so, HUB-STORE-007 while a
    serve leads.
    """
    engine = open_engine(settings.store_url)
    try:
        found = standing(engine)
        if found.revision is not None:
            require_scope(engine, settings.scope)
        if not found.pending:
            return Upgraded(before=found.revision, after=found.newest, run=())
        if not (told or found.embedded):
            require_current(engine)
        settings.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        lease = serve_lease(state=settings.state, url=settings.store_url)
        if not lease.take():
            fix = "stop it first (`cityhub down`), then start this one: the tables cannot change under it"
            raise HubError("HUB-STORE-007", f"a serve leads on this store, and it lacks {len(found.pending)} revisions", fix)
        try:
            done = upgrade(engine, keep=settings.ledger.backups_kept, record=_upgrade_act(settings), tell=_stop_here)
        finally:
            lease.release()
        if done.run and done.before is not None:
            tell(done)
        return done
    finally:
        engine.dispose()


def _upgrade_act(settings: Settings) -> Callable[[Connection, str, str], None]:
    """Return what records an upgrade among the acts: signed, but where nothing was ever signed and no anchor stands behind it."""

    def record(connection: Connection, before: str, after: str) -> None:
        act = Act(verb="upgrade.store", object_type="store", object_id="tables", object_version=STORE_VERSION)
        key = load_officer_key(settings.keys_folder) if has_signatures(connection) else None
        actor = Actor(person_id=settings.officer.person, org_id=settings.officer.org)
        correlation_id, reason = new_ulid(), f"from {before} to {after}"
        for outcome in ("intended", "done"):
            record_act(
                connection,
                act,
                actor=actor,
                scope=settings.scope,
                outcome=outcome,
                correlation_id=correlation_id,
                reason=reason,
                key=key,
            )

    return record


def _stop_here(step: str) -> None:
    failpoint("store.upgrade", detail=step)


def _was_used(settings: Settings) -> bool:
    """Tell whether a hub has worked with this state: its broker's folder, or acts in its database."""
    folder = settings.state / "broker"
    if folder.is_dir() and any(folder.iterdir()):
        return True
    url = make_url(settings.store_url)
    if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).exists():
        return False
    engine = open_engine(settings.store_url)
    try:
        return has_acts(engine)
    finally:
        engine.dispose()
