//! Whoever replaces the directory of a store that a server may be using: `doorward directory apply`.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use doorward_core::directory::Directory;
use doorward_core::store::{CommitError, Store};
use doorward_core::verdict::Change;
use doorward_store::contract::fixtures::*;
use doorward_store::copy::{self, CopyError, Progress, Step};
use doorward_store::postgres::Schema;
use doorward_store::{DirectoryAccess, EmbeddedStore, Location, OpenError, open_directory};
use rusqlite::TransactionBehavior;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::postgres::server::Server;
use crate::{Embedded, FIRST_VERSION, SECOND_VERSION, THIRD_VERSION};

fn at(dir: &Path) -> Location {
    Location::Embedded(dir.to_owned())
}

async fn guest(dir: &Path) -> DirectoryAccess {
    open_directory(&at(dir)).await.unwrap()
}

async fn refusal(location: &Location) -> OpenError {
    open_directory(location).await.err().expect("the guest is refused")
}

/// Waits until the store shows the directory of this version; a second is what is promised.
async fn shown(store: &dyn Store, version: u64) -> Arc<Directory> {
    let began = Instant::now();
    loop {
        let directory = store.directory().await.unwrap();
        if directory.version() == version {
            return directory;
        }
        assert!(began.elapsed() < Duration::from_secs(1), "version {} is shown", directory.version());
        sleep(Duration::from_millis(5)).await;
    }
}

fn names(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

// --- Beside a server

#[tokio::test]
async fn a_server_shows_within_a_second_what_a_guest_has_written() {
    let embedded = Embedded::new();
    let store = &embedded.store();
    commit(store, [replace_directory(0, &["alice"]), start(1)]).await;
    let guest = guest(embedded.dir.path()).await;
    let read = guest.read().await.unwrap();
    assert_eq!((read.version(), read.file()), (1, &directory_of(&["alice"])));
    let change = read.replaced_by(directory_of(&["bob"]), NOW);
    guest.replace(change).await.unwrap();
    let directory = shown(&**store, 2).await;
    assert_eq!(directory.file(), &directory_of(&["bob"]));
    assert_eq!(directory.departed().get(&person("alice")), Some(&NOW));
    // The server goes on with it, and the guest with what the server writes.
    commit(store, [rotate(1, 0), replace_directory(2, &["carol"])]).await;
    assert_eq!(guest.read().await.unwrap().file(), &directory_of(&["carol"]));
    guest.replace(replace_directory(3, &["dave"])).await.unwrap();
    shown(&**store, 4).await;
    drop(guest);
    let embedded = embedded.reopened().await;
    assert_eq!(stored_directory(&embedded.store()).await.file(), &directory_of(&["dave"]));
    assert_eq!(stored(&embedded.store(), 1).await.generation, 1);
}

/// Whoever loses the race reads the directory that won it, however soon.
#[tokio::test]
async fn the_guard_of_a_server_and_that_of_a_guest_are_the_same() {
    let embedded = Embedded::new();
    let store = &embedded.store();
    let guest = guest(embedded.dir.path()).await;
    for version in (0..40).step_by(2) {
        assert_eq!(
            guest.replace(replace_directory(version + 1, &["mallory"])).await,
            Err(CommitError::Conflict)
        );
        guest.replace(replace_directory(version, &["alice"])).await.unwrap();
        conflicts(store, [replace_directory(version, &["mallory"])]).await;
        assert_eq!(stored_directory(store).await.version(), version + 1);
        commit(store, [replace_directory(version + 1, &["bob"])]).await;
        assert_eq!(guest.replace(replace_directory(version, &["mallory"])).await, Err(CommitError::Conflict));
        assert_eq!(guest.read().await.unwrap().version(), version + 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_guests_and_servers_that_replace_one_version_one_wins() {
    let embedded = Embedded::new();
    let mut guests = Vec::new();
    for _ in 0..8 {
        guests.push(Arc::new(guest(embedded.dir.path()).await));
    }
    for version in 0..10 {
        let mut tasks = JoinSet::new();
        for (n, guest) in guests.iter().cloned().enumerate() {
            let change = replace_directory(version, &[&format!("guest-{n}")]);
            tasks.spawn(async move { guest.replace(change).await });
            let (store, change) = (embedded.store(), replace_directory(version, &[&format!("server-{n}")]));
            tasks.spawn(async move { store.commit(vec![change]).await });
        }
        let outcomes = tasks.join_all().await;
        let wins = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        let conflicts = outcomes.iter().filter(|outcome| **outcome == Err(CommitError::Conflict)).count();
        assert_eq!((wins, conflicts), (1, 15), "{outcomes:?}");
        shown(&*embedded.store, version + 1).await;
    }
}

/// A guest may be another user, such as root, and a file of theirs would be closed to the server.
#[tokio::test]
async fn who_reads_makes_no_file_and_a_server_makes_what_guests_need() {
    let embedded = Embedded::new();
    let lock = embedded.dir.path().join("guests");
    assert_eq!(std::fs::metadata(&lock).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::remove_file(&lock).unwrap();
    let guest = guest(embedded.dir.path()).await;
    assert_eq!(guest.read().await.unwrap().version(), 0);
    guest.signing_keys().await.unwrap();
    assert!(!lock.exists(), "a reader made it");
    guest.replace(replace_directory(0, &["alice"])).await.unwrap();
    assert!(lock.exists(), "who writes keeps copies away");
}

#[tokio::test]
async fn signing_keys_are_replaced_beside_a_server_with_the_same_guard() {
    let embedded = Embedded::new();
    let store = &embedded.store();
    commit(store, [replace_keys(0, &[1])]).await;
    let guest = guest(embedded.dir.path()).await;
    assert_eq!(guest.replace(replace_keys(0, &[2])).await, Err(CommitError::Conflict));
    guest.replace(replace_keys(1, &[2])).await.unwrap();
    // Whoever loses the race reads the keys that won it, however soon.
    conflicts(store, [replace_keys(1, &[3])]).await;
    assert_eq!(stored_keys(store).await.keys, [signing_key(2)]);
    assert_eq!(guest.signing_keys().await.unwrap().keys, [signing_key(2)]);
    drop(guest);
    let kept = stored_keys(&embedded.reopened().await.store()).await;
    assert_eq!((kept.version, kept.keys), (2, vec![signing_key(2)]));
}

#[tokio::test]
async fn a_server_shows_within_a_second_which_signing_keys_a_guest_has_written() {
    let embedded = Embedded::new();
    let store = &embedded.store();
    let guest = guest(embedded.dir.path()).await;
    // That there are none is known to the server too.
    for version in 0..3 {
        assert_eq!(stored_keys(store).await.version, version);
        let n = u8::try_from(version).unwrap();
        guest.replace(replace_keys(version, &[n])).await.unwrap();
        let began = Instant::now();
        while stored_keys(store).await.version == version {
            assert!(began.elapsed() < Duration::from_secs(1), "version {version} is shown");
            sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(stored_keys(store).await.keys, [signing_key(n)]);
        commit(store, [start(version)]).await;
    }
}

#[tokio::test]
async fn a_guest_replaces_nothing_but_directory_and_signing_keys_and_by_nothing_wrong() {
    let embedded = Embedded::new();
    let guest = guest(embedded.dir.path()).await;
    for (change, why) in [
        (start(1), "only the directory"),
        (replace_directory(0, &["alice", "alice"]), "person alice occurs twice"),
    ] {
        let Err(CommitError::Outage(outage)) = guest.replace(change).await else { panic!("{why}") };
        assert!(outage.0.contains(why), "{outage}");
    }
    assert_eq!(guest.read().await.unwrap().version(), 0);
}

#[tokio::test]
async fn servers_come_and_go_while_a_guest_is_there() {
    let embedded = Embedded::new();
    commit(&embedded.store(), [start(1)]).await;
    let guest = guest(embedded.dir.path()).await;
    embedded.store.close().await.unwrap();
    guest.replace(replace_directory(0, &["alice"])).await.unwrap();
    let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(embedded.dir.path()).unwrap());
    assert_eq!(stored_directory(&store).await.version(), 1);
    commit(&store, [rotate(1, 0), replace_directory(1, &["bob"])]).await;
    assert_eq!(guest.read().await.unwrap().version(), 2);
    guest.replace(replace_directory(2, &["carol"])).await.unwrap();
    shown(&*store, 3).await;
}

/// A transaction that is left open, as by a guest that is stopped in the middle of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_waits_for_a_guest_and_for_ten_seconds_at_most() {
    let embedded = Embedded::new();
    let store = &embedded.store();
    commit(store, [start(1), start(2)]).await;
    let mut other = embedded.sqlite();
    let transaction = other.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    transaction.execute("UPDATE directory SET content = 'half'", []).unwrap();
    let commits: Vec<_> = (0..50)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move { store.commit(vec![start(100 + n), rotate(1, 0)]).await })
        })
        .collect();
    sleep(Duration::from_secs(2)).await;
    assert!(commits.iter().all(|commit| !commit.is_finished()));
    assert_eq!(stored_directory(store).await.version(), 0);
    transaction.rollback().unwrap();
    let mut went = 0;
    for commit in commits {
        went += usize::from(commit.await.unwrap().is_ok());
    }
    assert_eq!(went, 1);

    let transaction = other.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    let began = Instant::now();
    let outage = store.commit(vec![rotate(2, 0)]).await.unwrap_err().to_string();
    assert!((10..15).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert!(outage.contains("another process has been writing to it"), "{outage}");
    drop(transaction);
    // That was all.
    commit(store, [rotate(2, 0)]).await;
}

/// A server never pauses, and a guest still gets its turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_gets_its_turn_beside_a_busy_server() {
    let embedded = Embedded::new();
    let mut tasks = JoinSet::new();
    for n in 0..64 {
        let store = embedded.store();
        tasks.spawn(async move {
            commit(&store, [start(n)]).await;
            for generation in 0.. {
                commit(&store, [rotate(n, generation)]).await;
            }
        });
    }
    let guest = guest(embedded.dir.path()).await;
    let mut longest = Duration::ZERO;
    for version in 0..20 {
        let began = Instant::now();
        guest.replace(replace_directory(version, &["alice"])).await.unwrap();
        longest = longest.max(began.elapsed());
        shown(&*embedded.store, version + 1).await;
    }
    println!("a guest waited for {longest:?} at most");
    assert!(longest < Duration::from_secs(5), "{longest:?}");
    tasks.shutdown().await;
}

#[tokio::test]
async fn a_directory_that_cannot_be_read_is_shown_to_nobody_until_it_can() {
    let embedded = Embedded::new();
    let store = &embedded.store();
    commit(store, [replace_directory(0, &["alice"]), start(1)]).await;
    let other = embedded.sqlite();
    other.execute_batch("UPDATE directory SET version = 2, content = '{'").unwrap();
    sleep(Duration::from_secs(1)).await;
    let outage = store.directory().await.unwrap_err();
    assert!(outage.0.contains("table directory, row version 2") && outage.0.contains("EOF"), "{outage}");
    commit(store, [rotate(1, 0)]).await;
    other.execute_batch("UPDATE directory SET content = '{}'").unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(stored_directory(store).await.version(), 2);
}

// --- Without a server

#[tokio::test]
async fn a_guest_makes_what_a_server_would_when_it_writes_and_nothing_when_it_reads() {
    let parent = TempDir::new().unwrap();
    let dir = parent.path().join("var/doorward");
    let guest = guest(&dir).await;
    assert_eq!(guest.read().await.unwrap().version(), 0);
    assert!(names(parent.path()).is_empty());
    assert_eq!(guest.replace(replace_directory(1, &["mallory"])).await, Err(CommitError::Conflict));
    guest.replace(replace_directory(0, &["alice"])).await.unwrap();
    assert_eq!(guest.read().await.unwrap().version(), 1);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for name in names(&dir) {
        assert_eq!(mode(&dir.join(&name)), 0o600, "{name}");
    }
    drop(guest);
    assert_eq!(names(&dir), ["doorward.db", "guests", "lock"]);
    let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(&dir).unwrap());
    assert_eq!(stored_directory(&store).await.file(), &directory_of(&["alice"]));
    commit(&store, [start(1), replace_directory(1, &["bob"])]).await;
}

/// A server that starts has the file before its tables.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn guests_and_a_server_that_start_at_once_all_start() {
    for _ in 0..10 {
        let parent = TempDir::new().unwrap();
        let dir = parent.path().join("data");
        let mut guests = JoinSet::new();
        for n in 0..4 {
            let dir = dir.clone();
            guests.spawn(async move {
                guest(&dir).await.replace(replace_directory(0, &[&format!("guest-{n}")])).await
            });
        }
        let opened = tokio::task::spawn_blocking({
            let dir = dir.clone();
            move || EmbeddedStore::open(&dir).unwrap()
        });
        let outcomes = guests.join_all().await;
        let wins = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        let conflicts = outcomes.iter().filter(|outcome| **outcome == Err(CommitError::Conflict)).count();
        assert_eq!((wins, conflicts), (1, 3), "{outcomes:?}");
        shown(&opened.await.unwrap(), 1).await;
    }
}

#[tokio::test]
async fn without_a_server_the_log_does_not_grow_from_guest_to_guest() {
    let dir = TempDir::new().unwrap();
    let people: Vec<_> = (0..2000).map(|n| format!("person-{n}")).collect();
    let people: Vec<_> = people.iter().map(String::as_str).collect();
    for version in 0..5 {
        guest(dir.path()).await.replace(replace_directory(version, &people)).await.unwrap();
        assert_eq!(names(dir.path()), ["doorward.db", "guests", "lock"]);
    }
}

#[tokio::test]
async fn a_database_of_another_version_is_refused_and_left_as_it_is() {
    let reads = "PRAGMA journal_mode = DELETE;";
    let later = "UPDATE meta SET schema_version = 9;";
    for (edit, why) in [
        (THIRD_VERSION, "has schema version 3, and this doorward writes version 4; start the server"),
        (SECOND_VERSION, "has schema version 2, and this doorward writes version 4; start the server"),
        (FIRST_VERSION, "has schema version 1, and this doorward writes version 4; start the server"),
        (later, "has schema version 9, and this doorward knows version 4"),
        ("DROP TABLE meta;", "is not a database of doorward"),
    ] {
        let embedded = Embedded::new();
        commit(&embedded.store(), [replace_directory(0, &["alice"])]).await;
        embedded.store.close().await.unwrap();
        embedded.sqlite().execute_batch(&format!("{edit} {reads}")).unwrap();
        let before = std::fs::read(embedded.database()).unwrap();
        let refused = refusal(&at(embedded.dir.path())).await.to_string();
        assert!(refused.contains(why), "{refused}");
        assert!(refused.contains(&embedded.database().display().to_string()), "{refused}");
        assert_eq!(std::fs::read(embedded.database()).unwrap(), before);
    }
    let refused = refusal(&Location::Memory).await;
    assert!(matches!(refused, OpenError::Memory), "{refused}");
}

/// A database that was brought forward under the hands of a guest.
#[tokio::test]
async fn a_guest_does_not_write_into_a_later_schema() {
    let embedded = Embedded::new();
    let guest = guest(embedded.dir.path()).await;
    embedded.sqlite().execute_batch("UPDATE meta SET schema_version = 5").unwrap();
    let Err(CommitError::Outage(outage)) = guest.replace(replace_directory(0, &["alice"])).await else {
        panic!("it wrote");
    };
    assert!(outage.0.contains("schema version 5"), "{outage}");
    assert_eq!(stored_directory(&embedded.store()).await.version(), 0);
}

// --- Beside a copy

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_and_a_backup_do_not_wait_for_each_other() {
    let (embedded, scratch) = (Embedded::new(), TempDir::new().unwrap());
    commit(&embedded.store(), [replace_directory(0, &["alice"])]).await;
    let guest = guest(embedded.dir.path()).await;
    let mut replaced = false;
    let mut report = |progress: Progress| {
        if progress.step == Step::Copying && !std::mem::replace(&mut replaced, true) {
            let replace = async { guest.replace(replace_directory(1, &["bob"])).await.unwrap() };
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(replace));
        }
    };
    let file = scratch.path().join("backup");
    let copied = copy::backup(&at(embedded.dir.path()), &file, &mut report).await.unwrap();
    assert_eq!((replaced, copied.directory_version), (true, 1));
    shown(&*embedded.store, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_and_a_migration_keep_each_other_out() {
    let (embedded, scratch) = (Embedded::new(), TempDir::new().unwrap());
    commit(&embedded.store(), [replace_directory(0, &["alice"])]).await;
    embedded.store.close().await.unwrap();
    let (source, target) = (at(embedded.dir.path()), at(&scratch.path().join("data")));
    let working = guest(embedded.dir.path()).await;
    let mut quiet = |_| {};
    let refused = copy::migrate(&source, &target, &mut quiet).await.unwrap_err();
    assert!(matches!(refused, CopyError::Open(OpenError::Guests { .. })), "{refused}");
    working.replace(replace_directory(1, &["bob"])).await.unwrap();
    drop(working);

    let mut tried = 0;
    let mut report = |progress: Progress| {
        if progress.step == Step::Verifying {
            let enter = async {
                let refused = refusal(&source).await;
                assert!(matches!(refused, OpenError::Copying { .. }), "{refused}");
                // There is no database yet, and none is made.
                let early = guest(&scratch.path().join("data")).await;
                assert_eq!(early.read().await.unwrap().version(), 0);
                let refused = early.replace(replace_directory(0, &["mallory"])).await.unwrap_err();
                assert!(refused.to_string().contains("is being restored or migrated"), "{refused}");
            };
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(enter));
            tried += 1;
        }
    };
    copy::migrate(&source, &target, &mut report).await.unwrap();
    assert!(tried > 0);
    assert_eq!(guest(&scratch.path().join("data")).await.read().await.unwrap().version(), 2);
}

/// An empty database is replaced by the restored one; what a guest still wrote into it would be lost.
#[tokio::test]
async fn a_guest_keeps_a_restore_out() {
    let (embedded, empty, scratch) = (Embedded::new(), Embedded::new(), TempDir::new().unwrap());
    commit(&embedded.store(), [replace_directory(0, &["alice"])]).await;
    let file = scratch.path().join("backup");
    let mut quiet = |_| {};
    copy::backup(&at(embedded.dir.path()), &file, &mut quiet).await.unwrap();
    empty.store.close().await.unwrap();
    let working = guest(empty.dir.path()).await;
    let refused = copy::restore(&file, &at(empty.dir.path()), &mut quiet).await.unwrap_err();
    assert!(matches!(refused, CopyError::Open(OpenError::Guests { .. })), "{refused}");
    drop(working);
    copy::restore(&file, &at(empty.dir.path()), &mut quiet).await.unwrap();
}

// --- Killed

const KILLED: &str = "guests::a_guest_that_is_killed_leaves_the_old_directory_or_the_new_one";
const WORKPLACE: &str = "DOORWARD_STORE_GUEST_OF";

/// So large that it is being written most of the time.
fn crowd(version: u64) -> Change {
    let people: Vec<_> = (0..500).map(|n| format!("person-{n}-of-{version}")).collect();
    let people: Vec<_> = people.iter().map(String::as_str).collect();
    let mut file = directory_of(&people);
    for person in &mut file.people {
        person.display_name = Some(format!("{version:01000}"));
    }
    let departed = [(person(&format!("nobody-of-{version}")), NOW)].into();
    Change::ReplaceDirectory { from: version - 1, file: Box::new(file), departed }
}

/// That all of it is of one version.
fn is_whole(directory: &Directory) {
    if directory.version() > 0 {
        let Change::ReplaceDirectory { file, departed, .. } = crowd(directory.version()) else {
            unreachable!()
        };
        assert_eq!(directory.file(), &*file, "version {}", directory.version());
        assert_eq!(directory.departed(), &departed);
    }
}

/// Replaces the directory without end.
async fn replace_without_end(dir: &Path) {
    let guest = guest(dir).await;
    loop {
        let version = guest.read().await.unwrap().version() + 1;
        guest.replace(crowd(version)).await.unwrap();
    }
}

fn process_of_a_guest(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", KILLED, "--nocapture"])
        .env(WORKPLACE, dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_is_killed_leaves_the_old_directory_or_the_new_one() {
    if let Some(dir) = std::env::var_os(WORKPLACE) {
        return replace_without_end(Path::new(&dir)).await;
    }
    let embedded = Embedded::new();
    let store = &embedded.store();
    commit(store, [start(1)]).await;
    let mut generation = 0;
    for round in 0..25 {
        let before = stored_directory(store).await.version();
        let mut process = process_of_a_guest(embedded.dir.path());
        let began = Instant::now();
        while stored_directory(store).await.version() == before {
            assert!(began.elapsed() < Duration::from_secs(30), "the guest writes nothing");
            sleep(Duration::from_millis(1)).await;
        }
        sleep(Duration::from_millis(round * 37 % 120)).await;
        process.kill().unwrap();
        assert_eq!(process.wait().unwrap().signal(), Some(9));
        // What it had of the database is free.
        commit(store, [rotate(1, generation)]).await;
        generation += 1;
        let left = guest(embedded.dir.path()).await.read().await.unwrap();
        is_whole(&left);
        is_whole(&*shown(&**store, left.version()).await);
    }
    embedded.store.examine().await.unwrap();
    let last = stored_directory(store).await.version();
    assert!(last >= 25, "{last}");
    let embedded = embedded.reopened().await;
    assert_eq!(stored(&embedded.store(), 1).await.generation, generation);
    let directory = stored_directory(&embedded.store()).await;
    is_whole(&directory);
    assert_eq!(directory.version(), last);
}

/// There is nobody else, so what the guest had begun is found out by whoever comes next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_is_killed_without_a_server_leaves_the_old_directory_or_the_new_one() {
    let parent = TempDir::new().unwrap();
    let dir = parent.path().join("data");
    let mut version = 0;
    for round in 0..20 {
        let mut process = process_of_a_guest(&dir);
        // The first are killed while they make the database.
        sleep(Duration::from_millis(20 * (round + 1))).await;
        process.kill().unwrap();
        process.wait().unwrap();
        let left = guest(&dir).await.read().await.unwrap();
        is_whole(&left);
        assert!(left.version() >= version);
        version = left.version();
    }
    assert!(version > 0, "no guest came so far as to write");
    let store = EmbeddedStore::open(&dir).unwrap();
    store.examine().await.unwrap();
    assert_eq!(store.directory().await.unwrap().version(), version);
}

// --- On PostgreSQL

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_a_guest_does_the_same() {
    let server = Server::start().await;
    let database = server.database().await;
    let location = Location::Postgres(Box::new(server.options(&database)));
    let one = open_directory(&location).await.unwrap();
    assert_eq!(one.read().await.unwrap().version(), 0);
    let node = Arc::new(server.node(&database));
    assert_eq!(node.schema().await, Ok(Schema::None), "nothing was made");
    one.replace(replace_directory(0, &["alice"])).await.unwrap();
    assert_eq!(node.schema().await, Ok(Schema::Current));
    let other = open_directory(&location).await.unwrap();
    let node: Arc<dyn Store> = node;
    shown(&*node, 1).await;
    let read = other.read().await.unwrap();
    let (first, second) = tokio::join!(
        one.replace(read.replaced_by(directory_of(&["bob"]), NOW)),
        other.replace(read.replaced_by(directory_of(&["carol"]), NOW))
    );
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
    assert!([first, second].contains(&Err(CommitError::Conflict)));
    let directory = shown(&*node, 2).await;
    assert_eq!(directory.departed().get(&person("alice")), Some(&NOW));
    assert!(other.replace(start(1)).await.is_err());

    let back = "DROP TABLE used_once; ALTER TABLE session DROP COLUMN terms; \
                DELETE FROM doorward_schema WHERE version = 4";
    server.sql(&database, back).await;
    let refused = refusal(&location).await;
    assert!(matches!(refused, OpenError::Behind { found: 3, known: 4, .. }), "{refused}");
    assert!(refused.to_string().contains(&database), "{refused}");
}
