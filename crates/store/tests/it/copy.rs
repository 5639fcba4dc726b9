//! Backups, restores and migrations: whole, as of one moment, verified, or not there at all.

use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use doorward_core::device::{DeviceRequest, DeviceState, Requester};
use doorward_core::directory::Departures;
use doorward_core::federated::FederatedPerson;
use doorward_core::session::{EndReason, Holder, Session, SessionState};
use doorward_core::signing_key::SigningKeys;
use doorward_core::store::Store;
use doorward_core::verdict::Change;
use doorward_store::contract::fixtures::*;
use doorward_store::copy::{self, Copied, CopyError, Progress, Step};
use doorward_store::{EmbeddedStore, Location, OpenError, open};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::postgres::server::Server;
use crate::{Embedded, FIRST_VERSION, SECOND_VERSION, THIRD_VERSION};

/// How many sessions [`fill`] makes.
const SESSIONS: u64 = 8;
const REQUESTS: u64 = 5;

fn quiet(_: Progress) {}

fn all_sessions() -> Vec<Session> {
    let ended =
        |n, why| Session { state: SessionState::Ended { at: later(n), why }, ..session(u64::from(n)) };
    vec![
        session(0),
        Session { generation: u32::MAX, rotated_at: later(9), ..session(1) },
        ended(2, EndReason::Logout),
        ended(3, EndReason::EndedByPerson),
        ended(4, EndReason::RefreshTokenReplayed),
        ended(5, EndReason::CodeReplayed),
        Session { holder: Holder::Browser, person: person("bob"), scopes: scopes(""), ..session(6) },
        Session {
            holder: Holder::Client { id: CLIENT, name: "a\0b '☁\"".into() },
            terms: Some(Arc::new(terms())),
            ..session(7)
        },
    ]
}

fn all_requests() -> Vec<DeviceRequest> {
    let in_state = |n, state| DeviceRequest { state, ..device_request(n) };
    let requester = Requester { address: "2001:db8::7".parse().unwrap(), user_agent: None };
    vec![
        in_state(0, DeviceState::Pending),
        in_state(1, approved()),
        in_state(2, DeviceState::Denied),
        in_state(3, DeviceState::Spent),
        DeviceRequest { requester, client_name: "\0".into(), ..device_request(4) },
    ]
}

fn all_departed() -> Departures {
    [(person("carol"), NOW), (person("Ω\"'"), later(1))].into()
}

/// The terms of the sessions are what schema 4 added to them.
fn without_terms(sessions: Vec<Session>) -> Vec<Session> {
    sessions.into_iter().map(|session| Session { terms: None, ..session }).collect()
}

/// The versions they were made from, and people.
fn all_federated() -> Vec<(u64, FederatedPerson)> {
    let odd = FederatedPerson { subject: "a\0b '☁\"".into(), email: None, ..federated_person("Ω\"'") };
    vec![(0, federated_person("alice")), (4, odd), (1, federated_person("{"))]
}

/// Something of everything that a store can keep.
async fn fill(store: &Arc<dyn Store>) {
    commit(store, [replace_directory(0, &["alice"])]).await;
    let file = Box::new(directory_of(&["alice", "bob"]));
    commit(store, [Change::ReplaceDirectory { from: 1, file, departed: all_departed() }]).await;
    commit(store, all_sessions().into_iter().map(Change::StartSession)).await;
    commit(store, all_requests().into_iter().map(Change::OpenDeviceRequest)).await;
    for (from, person) in all_federated() {
        let person = Box::new(person);
        commit(store, (0..=from).map(|from| Change::PutFederatedPerson { from, person: person.clone() }))
            .await;
    }
    commit(store, [replace_keys(0, &[1]), replace_keys(1, &[1, 2])]).await;
    commit(store, [put_consents(0, "alice", &[]), put_consents(1, "alice", &["shop", "wiki"])]).await;
    commit(store, (0..3).map(use_once)).await;
}

/// Looks whether the store has what [`fill`] wrote, and works.
async fn check(store: &Arc<dyn Store>) {
    assert_eq!(stored_consents(store, "alice").await, (2, consents(&["shop", "wiki"])));
    conflicts(store, [use_once(2)]).await;
    assert_eq!((is_used(store, 0).await, is_used(store, 3).await), (true, false));
    assert_eq!(stored(store, 7).await.terms, Some(Arc::new(terms())));
    check_what_the_third_version_has(store).await;
    // Only now is what was used of no more use.
    let swept = store.sweep(later(60), 100).await;
    assert_eq!((swept, is_used(store, 0).await), (Ok(3), false));
}

async fn check_what_the_third_version_has(store: &Arc<dyn Store>) {
    assert_eq!(stored_directory(store).await.departed(), &all_departed());
    for (from, expected) in all_federated() {
        assert_eq!(stored_federated(store, expected.id.as_str()).await, (from + 1, Some(expected)));
    }
    let keys = vec![signing_key(1), signing_key(2)];
    assert_eq!(stored_keys(store).await, SigningKeys { version: 2, keys });
    check_what_the_first_version_has(store).await;
    commit(store, [put_person(1, "alice"), put_person(0, "carol"), replace_keys(2, &[3])]).await;
}

async fn check_what_the_first_version_has(store: &Arc<dyn Store>) {
    for (n, expected) in (0..SESSIONS).zip(without_terms(all_sessions())) {
        assert_eq!(Session { terms: None, ..stored(store, n).await }, expected);
    }
    for (n, expected) in (0..REQUESTS).zip(all_requests()) {
        assert_eq!(stored_request(store, n).await, expected);
        assert_eq!(store.device_request_by_code(user_code(n)).await, Ok(Some(expected)));
    }
    let directory = stored_directory(store).await;
    assert_eq!((directory.version(), directory.file()), (2, &directory_of(&["alice", "bob"])));
    assert_eq!(store.sessions_of(&person("alice"), NOW, 100).await.unwrap().len(), 3);
    commit(store, [rotate(0, 0), start(100), replace_directory(2, &["alice"])]).await;
    conflicts(store, [start(1)]).await;
}

/// Opens the store at `location` for `look`, and closes it.
async fn with_store(location: &Location, look: impl AsyncFnOnce(&Arc<dyn Store>)) {
    let opened = open(location).unwrap();
    look(&opened.store).await;
    opened.closer.close().await.unwrap();
}

const WHOLE: Copied =
    Copied { sessions: SESSIONS, device_requests: REQUESTS, records: 5, directory_version: 2, bytes: None };

fn count(database: &Path, table: &str) -> u64 {
    let sql = format!("SELECT count(*) FROM {table}");
    let count: i64 = Connection::open(database).unwrap().query_row(&sql, [], |row| row.get(0)).unwrap();
    count.unsigned_abs()
}

fn files(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

/// A directory for backups and for data directories that are made.
struct Scratch(TempDir);

impl Scratch {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("backup")
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn location(&self) -> Location {
        Location::Embedded(self.data())
    }
}

fn at(embedded: &Embedded) -> Location {
    Location::Embedded(embedded.dir.path().to_owned())
}

async fn postgres(server: &Server) -> (String, Location) {
    let database = server.database().await;
    let location = Location::Postgres(Box::new(server.options(&database)));
    (database, location)
}

// --- Whole

#[tokio::test]
async fn a_backup_of_a_store_in_use_is_restored_whole() {
    let (embedded, scratch) = (Embedded::new(), Scratch::new());
    fill(&embedded.store()).await;
    let copied = copy::backup(&at(&embedded), &scratch.file(), &mut quiet).await.unwrap();
    let metadata = std::fs::metadata(scratch.file()).unwrap();
    assert_eq!(copied, Copied { bytes: Some(metadata.len()), ..WHOLE });
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert_eq!(files(scratch.0.path()), ["backup"], "nothing beside it");
    assert_eq!(std::fs::read(scratch.file()).unwrap()[18..20], [1, 1], "no write-ahead log belongs to it");
    // The store goes on, and what it writes now is not in the backup.
    commit(&embedded.store(), [start(50), rotate(0, 0)]).await;

    let before = std::fs::read(scratch.file()).unwrap();
    let restored = copy::restore(&scratch.file(), &scratch.location(), &mut quiet).await.unwrap();
    assert_eq!(restored, copied);
    assert_eq!(std::fs::read(scratch.file()).unwrap(), before);
    assert_eq!(files(&scratch.data()), ["doorward.db", "guests", "lock"]);
    assert_eq!(std::fs::metadata(scratch.data()).unwrap().permissions().mode() & 0o777, 0o700);
    with_store(&scratch.location(), async |store| {
        check(store).await;
        assert_eq!(store.session(session_id(50)).await, Ok(None));
    })
    .await;
    // The indexes are there too.
    let made = |database: &Path| -> Vec<String> {
        let connection = Connection::open(database).unwrap();
        let mut statement = connection.prepare("SELECT sql FROM sqlite_schema ORDER BY name").unwrap();
        let sql = statement.query_map([], |row| Ok(row.get::<_, Option<String>>(0)?.unwrap_or_default()));
        sql.unwrap().collect::<Result<_, _>>().unwrap()
    };
    assert_eq!(made(&scratch.data().join("doorward.db")), made(&embedded.database()));
}

#[tokio::test]
async fn a_migration_to_postgres_and_back_keeps_everything() {
    let (embedded, scratch, server) = (Embedded::new(), Scratch::new(), Server::start().await);
    let (_, shared) = postgres(&server).await;
    fill(&embedded.store()).await;
    embedded.store.close().await.unwrap();
    assert_eq!(copy::migrate(&at(&embedded), &shared, &mut quiet).await.unwrap(), WHOLE);
    let back = copy::migrate(&shared, &scratch.location(), &mut quiet).await.unwrap();
    assert_eq!(Copied { bytes: None, ..back }, WHOLE);
    with_store(&scratch.location(), check).await;
    // What was migrated from is as it was.
    with_store(&shared, check).await;
    with_store(&at(&embedded), check).await;
}

#[tokio::test]
async fn a_backup_of_postgres_is_restored_into_either_backend() {
    let (scratch, server) = (Scratch::new(), Server::start().await);
    let (_, shared) = postgres(&server).await;
    with_store(&shared, fill).await;
    let copied = copy::backup(&shared, &scratch.file(), &mut quiet).await.unwrap();
    assert_eq!(Copied { bytes: None, ..copied }, WHOLE);
    let (_, other) = postgres(&server).await;
    for target in [scratch.location(), other] {
        copy::restore(&scratch.file(), &target, &mut quiet).await.unwrap();
        with_store(&target, check).await;
    }
}

#[tokio::test]
async fn many_pages_are_copied_in_order_and_their_progress_is_told() {
    let (embedded, scratch, server) = (Embedded::new(), Scratch::new(), Server::start().await);
    let many = many_sessions(&embedded.store()).await;
    let mut told = Vec::new();
    copy::backup(&at(&embedded), &scratch.file(), &mut |progress| told.push(progress)).await.unwrap();
    for step in [Step::Copying, Step::Verifying] {
        let done: Vec<_> = told.iter().filter(|told| told.step == step).map(|told| told.sessions).collect();
        assert!(done.len() > 3 && done.is_sorted() && done.ends_with(&[many]), "{step:?}: {done:?}");
    }
    assert!(told.iter().all(|told| told.total == many));
    assert_eq!(count(&scratch.file(), "head"), many);

    let (database, shared) = postgres(&server).await;
    assert_eq!(copy::restore(&scratch.file(), &shared, &mut quiet).await.unwrap().sessions, many);
    assert_eq!(server.number(&database, "SELECT count(*) FROM session").await.unsigned_abs(), many);
    let back = copy::migrate(&shared, &scratch.location(), &mut quiet).await.unwrap();
    assert_eq!(back.sessions, many);
    // Filled in order, a file is no larger than one that grew.
    assert!(back.bytes.unwrap() / many <= 250, "{back:?}");
}

/// The first and the last of all ids, at which a page could begin or end.
#[tokio::test]
async fn the_first_and_the_last_id_are_copied() {
    let (scratch, server) = (Scratch::new(), Server::start().await);
    let (_, shared) = postgres(&server).await;
    let extremes = [[0; 16], [0xff; 16]]
        .map(|id| Session { id: doorward_core::ids::SessionId::from_bytes(id), ..session(0) });
    with_store(&shared, async |store| commit(store, extremes.clone().map(Change::StartSession)).await).await;
    assert_eq!(copy::migrate(&shared, &scratch.location(), &mut quiet).await.unwrap().sessions, 2);
    let (_, other) = postgres(&server).await;
    assert_eq!(copy::migrate(&scratch.location(), &other, &mut quiet).await.unwrap().sessions, 2);
}

/// More than a few pages of them.
async fn many_sessions(store: &Arc<dyn Store>) -> u64 {
    let many = 20_000;
    for batch in 0..many / 1000 {
        commit(store, (batch * 1000..(batch + 1) * 1000).map(start)).await;
    }
    many
}

// --- As of one moment

/// Commits pairs of changes without a pause until told to stop.
struct Pairs {
    stop: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Pairs {
    /// Rotates sessions 0 and 1 together, and starts two more together.
    fn start(store: Arc<dyn Store>) -> Self {
        let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let task = tokio::spawn({
            let (stop, made) = (stop.clone(), made.clone());
            async move {
                for generation in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let new = 1_000_000 + 2 * u64::from(generation);
                    commit(&store, [rotate(0, generation), rotate(1, generation)]).await;
                    commit(&store, [start(new), start(new + 1)]).await;
                    made.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self { stop, made, task }
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
    }
}

/// Backs up `location` while pairs are committed to `store`; what is in the backup must be of one moment.
async fn backed_up_while_written(location: &Location, store: Arc<dyn Store>) {
    let scratch = Scratch::new();
    let many = many_sessions(&store).await;
    let pairs = Pairs::start(store);
    while pairs.made.load(Ordering::Relaxed) < 3 {
        tokio::task::yield_now().await;
    }
    let (mut first, mut last, made) = (None, 0, pairs.made.clone());
    let mut report = |_| {
        last = made.load(Ordering::Relaxed);
        first.get_or_insert(last);
    };
    let copied = copy::backup(location, &scratch.file(), &mut report).await.unwrap();
    pairs.end().await;
    assert!(last > first.unwrap(), "the writer went on while the backup was made");
    let pairs = (copied.sessions - many) / 2;
    assert!(pairs >= 3 && (copied.sessions - many).is_multiple_of(2), "{copied:?}");
    copy::restore(&scratch.file(), &scratch.location(), &mut quiet).await.unwrap();
    with_store(&scratch.location(), async |store| {
        let (one, other) = (stored(store, 0).await.generation, stored(store, 1).await.generation);
        assert_eq!(one, other);
        // A rotation comes before its start, and only the last may be without it.
        assert!(u64::from(one) == pairs || u64::from(one) == pairs + 1, "{one}, {pairs}");
        let last = 1_000_000 + 2 * (pairs - 1);
        for n in [last, last + 1] {
            stored(store, n).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_made_while_others_write_is_of_one_moment() {
    let embedded = Embedded::new();
    backed_up_while_written(&at(&embedded), embedded.store()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_postgres_made_while_others_write_is_of_one_moment() {
    let server = Server::start().await;
    let (database, shared) = postgres(&server).await;
    backed_up_while_written(&shared, Arc::new(server.node(&database))).await;
}

/// The close cannot cut back the log that the backup still reads, and leaves it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_while_it_is_backed_up_disturbs_nothing() {
    let (embedded, scratch) = (Embedded::new(), Scratch::new());
    fill(&embedded.store()).await;
    let mut closed = false;
    let mut report = |progress: Progress| {
        if progress.step == Step::Verifying && !std::mem::replace(&mut closed, true) {
            let closing = embedded.store.close();
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(closing)).unwrap();
        }
    };
    let copied = copy::backup(&at(&embedded), &scratch.file(), &mut report).await.unwrap();
    assert_eq!(Copied { bytes: None, ..copied }, WHOLE);
    with_store(&at(&embedded), check).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_finds_out_that_a_node_still_writes() {
    let (scratch, server) = (Scratch::new(), Server::start().await);
    let (database, shared) = postgres(&server).await;
    let node: Arc<dyn Store> = Arc::new(server.node(&database));
    fill(&node).await;
    let mut written = false;
    let mut report = |progress: Progress| {
        if progress.step == Step::Verifying && !std::mem::replace(&mut written, true) {
            let write = commit(&node, [rotate(0, 0)]);
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(write));
        }
    };
    let refused = copy::migrate(&shared, &scratch.location(), &mut report).await.unwrap_err();
    assert!(matches!(refused, CopyError::Changed { .. }), "{refused}");
    let said = refused.to_string();
    assert!(said.contains(&session_id(0).to_string()) && said.contains("stop all nodes"), "{said}");
    assert_eq!(files(&scratch.data()), ["guests", "lock"]);
}

// --- Verified

#[tokio::test]
async fn a_row_that_cannot_be_read_ends_the_copy_and_is_named() {
    let session_1 = format!("table session, row {}", session_id(1));
    let edits = [
        ("UPDATE session SET person = 'no such name!' WHERE seq = 2", &*session_1, "the user name must be"),
        ("UPDATE session SET client = NULL WHERE seq = 2", &session_1, "client"),
        ("UPDATE head SET ended_at = 1, end_reason = 'boredom' WHERE seq = 2", &session_1, "boredom"),
        ("UPDATE session SET terms = '[]' WHERE seq = 2", &session_1, "terms"),
        ("DELETE FROM session WHERE seq = 2", &session_1, "person"),
        ("DELETE FROM head WHERE seq = 2", &session_1, "head has no row"),
        ("UPDATE device_request SET state = 'lost'", "table device_request", "lost"),
        ("UPDATE directory SET content = '{'", "table directory", "EOF"),
        ("UPDATE directory SET departed = '{'", "table directory", "EOF"),
        ("UPDATE record SET content = '{}' WHERE key = '{'", "row federated_person {", "missing field"),
        ("UPDATE record SET content = '[{}]' WHERE key = ''", "row signing_keys", "missing field"),
        (
            "UPDATE used_once SET id = x'00' WHERE id = (SELECT min(id) FROM used_once)",
            "table used_once",
            "id",
        ),
        ("UPDATE record SET content = '[]' WHERE kind = 'consents'", "row consents alice", "invalid type"),
        (
            "UPDATE record SET version = 0 WHERE key = 'alice' AND kind = 'federated_person'",
            "row federated_person alice",
            "version",
        ),
        (
            "UPDATE record SET key = 'bob' WHERE key = 'alice' AND kind = 'federated_person'",
            "row federated_person bob",
            "alice",
        ),
        ("UPDATE record SET kind = 'photo' WHERE key = ''", "table record, row photo", "kind"),
    ];
    for (edit, row, complaint) in edits {
        let (embedded, scratch) = (Embedded::new(), Scratch::new());
        fill(&embedded.store()).await;
        embedded.store.close().await.unwrap();
        embedded.sqlite().execute_batch(edit).unwrap();
        let refused = copy::backup(&at(&embedded), &scratch.file(), &mut quiet).await.unwrap_err();
        assert!(matches!(refused, CopyError::Row { .. }), "{edit}: {refused}");
        let (said, database) = (refused.to_string(), embedded.database().display().to_string());
        for part in [row, complaint, &database] {
            assert!(said.contains(part), "{edit}: {said}");
        }
        assert!(files(scratch.0.path()).is_empty(), "{edit}");
    }
}

#[tokio::test]
async fn a_row_of_postgres_that_cannot_be_read_ends_the_copy_and_is_named() {
    let (scratch, server) = (Scratch::new(), Server::start().await);
    let (database, shared) = postgres(&server).await;
    with_store(&shared, fill).await;
    let edit = "UPDATE session SET ended_at = 1, end_reason = 'boredom' WHERE generation > 0";
    server.sql(&database, edit).await;
    let refused = copy::backup(&shared, &scratch.file(), &mut quiet).await.unwrap_err().to_string();
    for part in [&format!("table session, row {}", session_id(1)), "boredom", &*database] {
        assert!(refused.contains(part), "{refused}");
    }
    assert!(files(scratch.0.path()).is_empty());
}

/// A disk that gives back something else than it was given: the bytes are changed behind SQLite's back, after it has
/// written and checked them.
#[tokio::test]
async fn what_was_not_written_as_it_was_read_is_not_kept() {
    let (embedded, scratch) = (Embedded::new(), Scratch::new());
    many_sessions(&embedded.store()).await;
    let mut report = |progress: Progress| {
        if (progress.step, progress.sessions) == (Step::Verifying, 0) {
            let [unfinished] = &files(scratch.0.path())[..] else { panic!("one file") };
            let unfinished = scratch.0.path().join(unfinished);
            let bytes = std::fs::read(&unfinished).unwrap();
            let (scope, other) = (b"sso:account:access", b"sso:account:excess");
            let found: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(scope)).collect();
            let file = std::fs::File::options().write(true).open(&unfinished).unwrap();
            for at in found {
                file.write_all_at(other, at as u64).unwrap();
            }
        }
    };
    let refused = copy::backup(&at(&embedded), &scratch.file(), &mut report).await.unwrap_err();
    assert!(matches!(refused, CopyError::Differs { .. }), "{refused}");
    assert!(refused.to_string().contains("is another"), "{refused}");
    assert!(files(scratch.0.path()).is_empty());
}

#[tokio::test]
async fn a_backup_with_a_damaged_page_is_refused() {
    let (embedded, scratch) = (Embedded::new(), Scratch::new());
    commit(&embedded.store(), (0..2000).map(start)).await;
    copy::backup(&at(&embedded), &scratch.file(), &mut quiet).await.unwrap();
    let mut bytes = std::fs::read(scratch.file()).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 4096].fill(0x5e);
    std::fs::write(scratch.file(), bytes).unwrap();
    let refused = copy::restore(&scratch.file(), &scratch.location(), &mut quiet).await.unwrap_err();
    assert!(matches!(refused, CopyError::Damaged { .. } | CopyError::Database { .. }), "{refused}");
    assert!(refused.to_string().contains(&scratch.file().display().to_string()), "{refused}");
    assert!(!scratch.data().exists());
}

// --- Refused

#[tokio::test]
async fn a_target_that_holds_anything_is_refused_and_left_alone() {
    let (source, scratch, server) = (Embedded::new(), Scratch::new(), Server::start().await);
    fill(&source.store()).await;
    copy::backup(&at(&source), &scratch.file(), &mut quiet).await.unwrap();
    let again = copy::backup(&at(&source), &scratch.file(), &mut quiet).await.unwrap_err();
    assert!(matches!(again, CopyError::Exists { .. }), "{again}");

    for (change, what) in [
        (start(60), "sessions (1)"),
        (open_request(60), "device requests (1)"),
        (replace_directory(0, &["carol"]), "a directory (version 1)"),
        (replace_keys(0, &[1]), "signing keys, consents or people of identity sources (1)"),
        (put_person(0, "alice"), "signing keys, consents or people of identity sources (1)"),
        (use_once(1), "what was used once (1)"),
    ] {
        let embedded = Embedded::new();
        commit(&embedded.store(), [change.clone()]).await;
        embedded.store.close().await.unwrap();
        let (database, shared) = postgres(&server).await;
        let node: Arc<dyn Store> = Arc::new(server.node(&database));
        commit(&node, [change]).await;
        let before = std::fs::read(embedded.database()).unwrap();
        for target in [at(&embedded), shared] {
            let refused = copy::restore(&scratch.file(), &target, &mut quiet).await.unwrap_err();
            assert!(matches!(refused, CopyError::NotEmpty { .. }), "{refused}");
            assert!(refused.to_string().contains(what), "{refused}");
        }
        assert_eq!(std::fs::read(embedded.database()).unwrap(), before);
        // The lock of the directory and the one in the database are gone.
        commit(&node, [replace_directory(stored_directory(&node).await.version(), &["dave"])]).await;
        EmbeddedStore::open(embedded.dir.path()).unwrap();
    }

    let running = Embedded::new();
    let refused = copy::restore(&scratch.file(), &at(&running), &mut quiet).await.unwrap_err();
    assert!(matches!(refused, CopyError::Open(OpenError::InUse { .. })), "{refused}");
    // One that was used and never written to is empty.
    running.store.close().await.unwrap();
    copy::restore(&scratch.file(), &at(&running), &mut quiet).await.unwrap();
    with_store(&at(&running), check).await;
}

/// The write-ahead log of an empty database does not know that it belongs to another file than the restored one.
#[tokio::test]
async fn the_log_of_a_killed_empty_server_does_not_come_over_what_was_restored() {
    let (source, empty, killed) = (Embedded::new(), Embedded::new(), TempDir::new().unwrap());
    let scratch = Scratch::new();
    fill(&source.store()).await;
    copy::backup(&at(&source), &scratch.file(), &mut quiet).await.unwrap();
    for file in ["doorward.db", "doorward.db-wal"] {
        std::fs::copy(empty.dir.path().join(file), killed.path().join(file)).unwrap();
    }
    assert!(std::fs::metadata(killed.path().join("doorward.db-wal")).unwrap().len() > 0);
    let killed_at = Location::Embedded(killed.path().to_owned());
    copy::restore(&scratch.file(), &killed_at, &mut quiet).await.unwrap();
    assert_eq!(files(killed.path()), ["doorward.db", "guests", "lock"]);
    with_store(&killed_at, check).await;
}

/// A directory that looks empty because everything is in the write-ahead log of a server that was killed.
#[tokio::test]
async fn what_is_only_in_the_log_counts_too() {
    let (embedded, killed, scratch) = (Embedded::new(), TempDir::new().unwrap(), Scratch::new());
    fill(&embedded.store()).await;
    for file in ["doorward.db", "doorward.db-wal"] {
        std::fs::copy(embedded.dir.path().join(file), killed.path().join(file)).unwrap();
    }
    let killed = Location::Embedded(killed.path().to_owned());
    copy::backup(&killed, &scratch.file(), &mut quiet).await.unwrap();
    let refused = copy::restore(&scratch.file(), &killed, &mut quiet).await.unwrap_err();
    assert!(refused.to_string().contains("sessions (8)"), "{refused}");
    with_store(&killed, check).await;
}

#[tokio::test]
async fn rotations_that_are_not_folded_into_the_heads_are_copied() {
    let (embedded, scratch) = (Embedded::new(), Scratch::new());
    commit(&embedded.store(), [start(1), start(2)]).await;
    for generation in 0..3 {
        commit(&embedded.store(), [rotate(1, generation)]).await;
    }
    copy::backup(&at(&embedded), &scratch.file(), &mut quiet).await.unwrap();
    assert_eq!((count(&embedded.database(), "rotation"), count(&scratch.file(), "rotation")), (3, 0));
    copy::restore(&scratch.file(), &scratch.location(), &mut quiet).await.unwrap();
    with_store(&scratch.location(), async |store| {
        let session = stored(store, 1).await;
        assert_eq!((session.generation, session.rotated_at), (3, later(62)));
        assert_eq!(stored(store, 2).await.generation, 0);
    })
    .await;
}

#[tokio::test]
async fn a_backup_of_a_version_before_is_restored() {
    for (older, records) in [(THIRD_VERSION, 5), (SECOND_VERSION, 0), (FIRST_VERSION, 0)] {
        let (embedded, scratch, server) = (Embedded::new(), Scratch::new(), Server::start().await);
        let (_, shared) = postgres(&server).await;
        fill(&embedded.store()).await;
        embedded.store.close().await.unwrap();
        let older = format!("{older} PRAGMA journal_mode = DELETE");
        embedded.sqlite().execute_batch(&older).unwrap();
        std::fs::copy(embedded.database(), scratch.file()).unwrap();
        for target in [scratch.location(), shared] {
            let restored = copy::restore(&scratch.file(), &target, &mut quiet).await.unwrap();
            assert_eq!(Copied { bytes: None, ..restored }, Copied { records, ..WHOLE });
            with_store(&target, async |store| {
                assert_eq!(stored(store, 7).await, without_terms(all_sessions())[7]);
                assert!(!is_used(store, 0).await);
                match records {
                    0 => check_what_the_first_version_has(store).await,
                    _ => check_what_the_third_version_has(store).await,
                }
            })
            .await;
        }
    }
}

/// Limits that have come since are for new directories: what an older doorward wrote is loaded, and copied, as it is.
#[tokio::test]
async fn a_stored_directory_beyond_the_limits_of_new_ones_is_used_and_copied() {
    let name = "R".repeat(64);
    let content = format!(
        r#"{{"people": [{{"user_name": "alice", "display_name": "", "email": "a"}}],
            "accounts": [{{"id": "111122223333", "name": "{}"}}],
            "permission_sets": [{{"name": "{name}", "description": ""}}],
            "assignments": [{{"people": ["alice"], "accounts": ["111122223333"], "permission_sets": ["{name}"]}}]}}"#,
        "N".repeat(60)
    );
    let (embedded, scratch, server) = (Embedded::new(), Scratch::new(), Server::start().await);
    let (_, shared) = postgres(&server).await;
    let sql = format!("UPDATE directory SET version = 1, content = '{content}'");
    let embedded = embedded.edited(&sql).await;
    let file = stored_directory(&embedded.store()).await.file().clone();
    assert_eq!(file.permission_sets[0].name.as_str(), name);
    assert!(!file.problems().is_empty(), "nobody could write it now");
    copy::backup(&at(&embedded), &scratch.file(), &mut quiet).await.unwrap();
    for target in [scratch.location(), shared] {
        copy::restore(&scratch.file(), &target, &mut quiet).await.unwrap();
        let read = doorward_store::open_directory(&target).await.unwrap().read().await.unwrap();
        assert_eq!((read.version(), read.file()), (1, &file));
        with_store(&target, async |store| {
            assert_eq!(stored_directory(store).await.file(), &file);
            // What does not fit together is refused all the same.
            let twice = replace_directory(1, &["alice", "alice"]);
            assert!(store.commit(vec![twice]).await.is_err());
        })
        .await;
    }
}

#[tokio::test]
async fn a_source_that_is_not_ours_or_not_there_is_refused() {
    let (scratch, server) = (Scratch::new(), Server::start().await);
    let missing = |error: &CopyError| matches!(error, CopyError::Nothing { .. });
    let refused = copy::backup(&scratch.location(), &scratch.file(), &mut quiet).await.unwrap_err();
    assert!(missing(&refused), "{refused}");
    let refused = copy::migrate(&scratch.location(), &Location::Memory, &mut quiet).await.unwrap_err();
    assert!(missing(&refused) && !scratch.data().exists(), "{refused}");
    let (database, shared) = postgres(&server).await;
    let refused = copy::backup(&shared, &scratch.file(), &mut quiet).await.unwrap_err();
    assert!(missing(&refused), "{refused}");
    assert_eq!(
        server.number(&database, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").await,
        0
    );
    server.node(&database).ready().await.unwrap();
    server.sql(&database, "INSERT INTO doorward_schema VALUES (5, 4, 'x')").await;
    let refused = copy::backup(&shared, &scratch.file(), &mut quiet).await.unwrap_err();
    assert!(matches!(refused, CopyError::Schema { found: 5, .. }), "{refused}");

    let restore = async || copy::restore(&scratch.file(), &scratch.location(), &mut quiet).await.unwrap_err();
    assert!(missing(&restore().await));
    Connection::open(scratch.file()).unwrap().execute_batch("CREATE TABLE photos (id)").unwrap();
    let refused = restore().await;
    assert!(matches!(refused, CopyError::Open(OpenError::Foreign { .. })), "{refused}");
    let known = "DROP TABLE photos; CREATE TABLE meta (schema_version); INSERT INTO meta VALUES (77)";
    Connection::open(scratch.file()).unwrap().execute_batch(known).unwrap();
    let refused = restore().await;
    assert!(matches!(refused, CopyError::Open(OpenError::UnknownSchema { found: 77, .. })), "{refused}");
    std::fs::write(scratch.file(), "no database at all, whoever named it".repeat(99)).unwrap();
    let refused = restore().await;
    assert!(refused.to_string().contains(&scratch.file().display().to_string()), "{refused}");
    assert!(!scratch.data().exists(), "nothing was made");
}

#[tokio::test]
async fn a_migration_from_a_directory_in_use_is_refused() {
    let (embedded, scratch) = (Embedded::new(), Scratch::new());
    fill(&embedded.store()).await;
    let refused = copy::migrate(&at(&embedded), &scratch.location(), &mut quiet).await.unwrap_err();
    assert!(matches!(refused, CopyError::Open(OpenError::InUse { .. })), "{refused}");
    embedded.store.close().await.unwrap();
    let refused = copy::migrate(&at(&embedded), &at(&embedded), &mut quiet).await.unwrap_err();
    assert!(matches!(refused, CopyError::Same { .. }), "{refused}");
}

/// No server may start on a directory while it is copied from, or to.
#[tokio::test]
async fn nobody_can_use_the_directories_of_a_migration_meanwhile() {
    let (embedded, scratch) = (Embedded::new(), Scratch::new());
    fill(&embedded.store()).await;
    embedded.store.close().await.unwrap();
    let mut tried = 0;
    let mut report = |_| {
        for dir in [embedded.dir.path(), &scratch.data()] {
            let refused = EmbeddedStore::open(dir).err().expect("the directory is taken");
            assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
            tried += 1;
        }
    };
    copy::migrate(&at(&embedded), &scratch.location(), &mut report).await.unwrap();
    assert!(tried >= 6);
}

// --- Or not there at all

/// Runs a copy up to its first page and drops it there.
async fn broken_off(
    copying: impl Future<Output = Result<Copied, CopyError>>,
    reached: Arc<tokio::sync::Notify>,
) {
    tokio::select! {
        done = copying => panic!("it went on: {done:?}"),
        () = reached.notified() => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_broken_off_leaves_an_empty_target() {
    let (embedded, scratch, server) = (Embedded::new(), Scratch::new(), Server::start().await);
    let many = many_sessions(&embedded.store()).await;
    let source = at(&embedded);
    let (database, shared) = postgres(&server).await;
    let kept = scratch.0.path().join("kept");
    copy::backup(&source, &kept, &mut quiet).await.unwrap();
    for step in [Step::Copying, Step::Verifying] {
        let reached = Arc::new(tokio::sync::Notify::new());
        let mut report = |progress: Progress| {
            if progress.step == step && progress.sessions > 0 {
                reached.notify_one();
            }
        };
        broken_off(copy::backup(&source, &scratch.file(), &mut report), reached.clone()).await;
        assert_eq!(files(scratch.0.path()), ["kept"]);
        broken_off(copy::restore(&kept, &scratch.location(), &mut report), reached.clone()).await;
        assert_eq!(files(&scratch.data()), ["guests", "lock"]);
        std::fs::remove_dir_all(scratch.data()).unwrap();
        broken_off(copy::restore(&kept, &shared, &mut report), reached.clone()).await;
        assert_eq!(server.number(&database, "SELECT count(*) FROM session").await, 0);
    }
    let restored = copy::restore(&kept, &shared, &mut quiet).await.unwrap();
    assert_eq!(restored.sessions, many);
}

/// While it is filled, the database is empty to everybody else, and no node comes in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_starts_on_a_database_being_filled_is_kept_out() {
    let (embedded, scratch, server) = (Embedded::new(), Scratch::new(), Server::start().await);
    fill(&embedded.store()).await;
    copy::backup(&at(&embedded), &scratch.file(), &mut quiet).await.unwrap();
    let (database, shared) = postgres(&server).await;
    let node: Arc<dyn Store> = Arc::new(server.node(&database));
    let mut tried = false;
    let mut report = |progress: Progress| {
        if progress.step == Step::Verifying && !std::mem::replace(&mut tried, true) {
            let starting = async {
                assert_eq!(stored_directory(&node).await.version(), 0);
                assert_eq!(node.session(session_id(1)).await, Ok(None));
                node.commit(vec![replace_directory(0, &["carol"])]).await.unwrap_err();
            };
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(starting));
        }
    };
    copy::restore(&scratch.file(), &shared, &mut report).await.unwrap();
    assert!(tried);
    with_store(&shared, check).await;
}
