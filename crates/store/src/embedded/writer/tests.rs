//! What the writer does to the disk, crashes and damage included.

use std::os::unix::fs::FileExt;

use tempfile::TempDir;

use super::*;
use crate::contract::fixtures::{
    address, end, later, open_request, rotate, session, session_id, session_with_terms, start, use_once,
};
use crate::embedded::answers::Deliveries;
use crate::embedded::schema;

fn writer() -> (TempDir, Writer) {
    let dir = TempDir::new().unwrap();
    let directory = DataDirectory::open(dir.path()).unwrap();
    let connection = directory.connect().unwrap();
    let (published, logged) = schema::load(&connection).unwrap();
    // Nobody hands answers out, so they come at once.
    let (answers, _) = Deliveries::channel();
    (dir, Writer::new(connection, directory, Arc::new(published), logged, answers).unwrap())
}

/// One turn with these commits; their outcomes.
fn turn(writer: &mut Writer, commits: Vec<Vec<Change>>) -> Vec<Result<(), CommitError>> {
    let (jobs, answers): (Vec<_>, Vec<_>) = commits
        .into_iter()
        .map(|changes| {
            let (answer, answered) = oneshot::channel();
            (Job::Commit { changes, answer }, answered)
        })
        .unzip();
    writer.turn(jobs.into_iter());
    answers.into_iter().map(|answered| answered.blocking_recv().unwrap()).collect()
}

fn pragma(writer: &Writer, name: &str) -> i64 {
    writer.connection.pragma_query_value(None, name, |row| row.get(0)).unwrap()
}

fn revoke(n: u64) -> Change {
    match use_once(n) {
        Change::Use { id, until, .. } => Change::Use { id, until, durable: true },
        other => other,
    }
}

#[test]
fn only_a_group_without_durable_changes_does_not_wait_for_the_disk() {
    let (_dir, mut writer) = writer();
    let (normal, full) = (1, 2);
    assert_eq!(pragma(&writer, "synchronous"), full);
    let groups = [
        (vec![vec![open_request(1)], vec![open_request(2)]], normal),
        (vec![vec![open_request(3)], vec![start(1)]], full),
        (vec![vec![open_request(4), start(2)]], full),
        (vec![vec![open_request(5)]], normal),
        (vec![vec![rotate(1, 0)]], full),
        (vec![vec![open_request(6)]], normal),
        (vec![vec![end(2)]], full),
        (vec![vec![use_once(1)], vec![open_request(7), use_once(2)]], normal),
        (vec![vec![use_once(3)], vec![use_once(4), start(3)]], full),
        (vec![vec![use_once(5)]], normal),
        (vec![vec![use_once(6)], vec![revoke(7)]], full),
        (vec![vec![use_once(8)]], normal),
    ];
    for (group, expected) in groups {
        let asked = format!("{group:?}");
        assert!(turn(&mut writer, group).iter().all(Result::is_ok), "{asked}");
        assert_eq!(pragma(&writer, "synchronous"), expected, "{asked}");
    }
}

#[test]
fn the_connection_is_set_up() {
    let (_dir, writer) = writer();
    for (name, value) in [("mmap_size", 0), ("trusted_schema", 0), ("wal_autocheckpoint", 0)] {
        assert_eq!(pragma(&writer, name), value, "{name}");
    }
    let mode: String = writer.connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
    assert!(writer.connection.execute_batch("PRAGMA writable_schema=ON; DELETE FROM sqlite_schema").is_err());
}

#[test]
fn a_full_disk_is_an_outage_to_its_group_and_then_over() {
    let (_dir, mut writer) = writer();
    assert_eq!(turn(&mut writer, vec![vec![start(1)]]), [Ok(())]);
    writer.connection.pragma_update(None, "max_page_count", pragma(&writer, "page_count") + 2).unwrap();
    let many = (100..1000).map(start).collect();
    let outcomes = turn(&mut writer, vec![vec![rotate(1, 0)], many]);
    for outcome in &outcomes {
        let Err(CommitError::Outage(outage)) = outcome else { panic!("{outcome:?}") };
        assert!(outage.0.contains("full"), "{outage}");
    }
    assert_eq!(writer.load(session_id(1)).unwrap(), Some(session(1)));
    assert_eq!(writer.load(session_id(100)).unwrap(), None);
    writer.connection.pragma_update(None, "max_page_count", 1_000_000).unwrap();
    assert_eq!(turn(&mut writer, vec![vec![rotate(1, 0)], vec![start(100)]]), [Ok(()), Ok(())]);
    assert_eq!(writer.load(session_id(100)).unwrap(), Some(session(100)));
}

#[test]
fn a_group_has_an_outcome_for_each_of_its_callers() {
    let (_dir, mut writer) = writer();
    let conflict = Err(CommitError::Conflict);
    let group = vec![
        vec![start(1)],
        vec![start(1)],
        vec![start(2), start(1)],
        vec![rotate(1, 0)],
        vec![rotate(1, 0)],
        vec![start(2), rotate(1, 1)],
    ];
    let expected = [Ok(()), conflict.clone(), conflict.clone(), Ok(()), conflict, Ok(())];
    assert_eq!(turn(&mut writer, group), expected);
    assert_eq!(writer.published.session(session_id(1)).unwrap().generation, 2);
}

/// The sessions as a server finds them that starts with what is on the disk now.
fn after_a_crash(dir: &TempDir, sessions: std::ops::Range<u64>) -> Vec<Session> {
    let copy = TempDir::new().unwrap();
    for file in ["doorward.db", "doorward.db-wal"] {
        std::fs::copy(dir.path().join(file), copy.path().join(file)).unwrap();
    }
    let directory = DataDirectory::open(copy.path()).unwrap();
    let connection = directory.connect().unwrap();
    let (published, logged) = schema::load(&connection).unwrap();
    let (answers, _) = Deliveries::channel();
    let mut writer = Writer::new(connection, directory, Arc::new(published), logged, answers).unwrap();
    let sessions = sessions.map(|n| writer.load(session_id(n)).unwrap().unwrap()).collect();
    // And goes on from there.
    for n in [1, 2] {
        let generation = writer.published.session(session_id(n)).unwrap().generation;
        let commits = vec![vec![rotate(n, generation + 1)], vec![rotate(n, generation)]];
        assert_eq!(turn(&mut writer, commits), [Err(CommitError::Conflict), Ok(())]);
    }
    sessions
}

#[test]
fn a_crash_at_any_step_of_a_fold_loses_no_rotation() {
    let (dir, mut writer) = writer();
    writer.fold_after = usize::MAX;
    let sessions = 0..700;
    assert!(turn(&mut writer, sessions.clone().map(|n| vec![start(n)]).collect()).iter().all(Result::is_ok));
    // Some sessions rotate once, some often, and the log has many rows.
    let mut generations = vec![0; 700];
    let mut rotate_some = |writer: &mut Writer, step: usize| {
        let rotations = (0..700).step_by(step).map(|n| {
            generations[usize::try_from(n).unwrap()] += 1;
            vec![rotate(n, generations[usize::try_from(n).unwrap()] - 1)]
        });
        assert!(turn(writer, rotations.collect()).iter().all(Result::is_ok));
        generations.clone()
    };
    for step in [1, 2, 3, 5, 7].repeat(60) {
        rotate_some(&mut writer, step);
    }
    writer.fold_after = 1;
    let (mut steps, mut longest) = (0, 0);
    loop {
        let expected =
            if steps % 3 == 0 { rotate_some(&mut writer, 11) } else { rotate_some(&mut writer, 700) };
        let found = after_a_crash(&dir, sessions.clone());
        let found: Vec<_> = found.iter().map(|session| session.generation).collect();
        assert_eq!(found, expected, "at {:?}", writer.fold);
        let rows = changes::end_of_log(&writer.connection).unwrap();
        longest = longest.max(rows);
        steps += 1;
        if matches!(writer.fold, Fold::Idle) {
            break;
        }
    }
    // Begun, 700 heads, the end of them, and 300 rows of the log.
    assert!(steps >= 6, "{steps}");
    let left: i64 =
        writer.connection.query_row("SELECT count(*) FROM rotation", [], |row| row.get(0)).unwrap();
    assert!(left < 10 && longest >= 300, "{left} of {longest}");
    let generation: u32 = writer
        .connection
        .query_row("SELECT generation FROM head WHERE id = ?1", [session_id(1).as_bytes()], |row| row.get(0))
        .unwrap();
    assert!(generation >= 60, "{generation}");
}

#[test]
fn a_fold_and_a_crash_leave_the_terms_of_a_session() {
    let (dir, mut writer) = writer();
    let begun = |n| if n % 2 == 0 { session_with_terms(n) } else { session(n) };
    let starts = (0..100).map(|n| vec![Change::StartSession(begun(n))]).collect();
    assert!(turn(&mut writer, starts).iter().all(Result::is_ok));
    writer.fold_after = 1;
    assert!(turn(&mut writer, (0..100).map(|n| vec![rotate(n, 0)]).collect()).iter().all(Result::is_ok));
    let expected: Vec<_> =
        (0..100).map(|n| Session { generation: 1, rotated_at: later(60), ..begun(n) }).collect();
    // Unfolded, and then folded.
    assert!(!matches!(writer.fold, Fold::Idle));
    assert_eq!(after_a_crash(&dir, 0..100), expected);
    while !matches!(writer.fold, Fold::Idle) {
        writer.tidy(0);
    }
    assert_eq!(changes::end_of_log(&writer.connection).unwrap(), 0);
    assert_eq!(after_a_crash(&dir, 0..100), expected);
}

#[test]
fn a_rotation_that_was_taken_back_is_neither_known_to_the_group_nor_in_the_log() {
    let (dir, mut writer) = writer();
    assert_eq!(turn(&mut writer, vec![vec![start(1)], vec![start(2)]]), [Ok(()), Ok(())]);
    let taken_back = || vec![rotate(1, 0), rotate(1, 1), end(2), start(2)];
    let commits = vec![taken_back(), vec![rotate(1, 0), rotate(2, 0)], taken_back()];
    let conflict = Err(CommitError::Conflict);
    assert_eq!(turn(&mut writer, commits), [conflict.clone(), Ok(()), conflict.clone()]);
    assert_eq!(turn(&mut writer, vec![vec![rotate(1, 1), start(2)]]), [conflict]);
    let generations: Vec<_> = after_a_crash(&dir, 1..3).iter().map(|session| session.generation).collect();
    assert_eq!(generations, [1, 1]);
}

/// Overwrites a page of a table behind SQLite's back. Answers where it is and what it was.
fn damage(dir: &TempDir, writer: &mut Writer, table: &str) -> (u64, Vec<u8>) {
    writer.checkpoint("TRUNCATE");
    let sql = "SELECT pgoffset FROM dbstat WHERE name = ?1 AND pagetype = 'leaf' LIMIT 1 OFFSET 3";
    let offset: i64 = writer.connection.query_row(sql, [table], |row| row.get(0)).unwrap();
    let (offset, mut page) = (offset.unsigned_abs(), vec![0; 4096]);
    std::fs::File::open(dir.path().join("doorward.db")).unwrap().read_exact_at(&mut page, offset).unwrap();
    overwrite(dir, writer, offset, &[0; 4096]);
    (offset, page)
}

fn overwrite(dir: &TempDir, writer: &Writer, offset: u64, page: &[u8]) {
    let file = std::fs::File::options().write(true).open(dir.path().join("doorward.db")).unwrap();
    file.write_all_at(page, offset).unwrap();
    // Or it would not be read from the file.
    writer.connection.execute_batch("PRAGMA shrink_memory").unwrap();
}

#[test]
fn a_damaged_page_fails_those_who_need_it_and_nobody_else() {
    let (dir, mut writer) = writer();
    let sessions = 0..2000;
    assert!(turn(&mut writer, sessions.clone().map(|n| vec![start(n)]).collect()).iter().all(Result::is_ok));
    damage(&dir, &mut writer, "head");
    let outcomes = turn(&mut writer, sessions.clone().map(|n| vec![end(n)]).collect());
    let failed: Vec<_> =
        sessions.zip(outcomes).filter_map(|(n, outcome)| outcome.err().map(|error| (n, error))).collect();
    assert!((1..200).contains(&failed.len()), "{}", failed.len());
    for (_, error) in &failed {
        assert!(error.to_string().contains("restore it from a backup"), "{error}");
    }
    let commits = vec![vec![start(9000)], vec![end(failed[0].0)], vec![start(9001)]];
    let outcomes = turn(&mut writer, commits);
    assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
}

#[test]
fn rotations_of_a_damaged_page_stay_in_the_log_and_the_others_are_folded() {
    let (dir, mut writer) = writer();
    writer.fold_after = 2000;
    assert!(turn(&mut writer, (0..2000).map(|n| vec![start(n)]).collect()).iter().all(Result::is_ok));
    for some in [0..1000, 1000..1999] {
        assert!(turn(&mut writer, some.map(|n| vec![rotate(n, 0)]).collect()).iter().all(Result::is_ok));
    }
    let (offset, page) = damage(&dir, &mut writer, "head");
    assert_eq!(turn(&mut writer, vec![vec![rotate(1999, 0)]]), [Ok(())]);
    let mut steps = 0;
    while !matches!(writer.fold, Fold::Idle) {
        writer.tidy(0);
        steps += 1;
        assert!(steps < 100);
    }
    let left = (0..2000).filter(|&n| writer.published.unfolded().get(session_id(n)).is_some()).count();
    assert!((1..200).contains(&left) && writer.logged == left, "{left}");
    let rows = "SELECT count(*) FROM rotation";
    let rows: i64 = writer.connection.query_row(rows, [], |row| row.get(0)).unwrap();
    assert_eq!(rows, i64::try_from(left).unwrap());
    // It was the reading that failed, and not the page.
    overwrite(&dir, &writer, offset, &page);
    assert!(after_a_crash(&dir, 0..2000).iter().all(|session| session.generation == 1));
}

#[test]
fn a_rotation_while_the_old_log_is_taken_away_is_in_the_new_one() {
    let (dir, mut writer) = writer();
    writer.fold_after = LOG_ROWS;
    assert_eq!(turn(&mut writer, vec![vec![start(1)], vec![start(2)]]), [Ok(()), Ok(())]);
    for generation in (0..).take(LOG_ROWS) {
        assert_eq!(turn(&mut writer, vec![vec![rotate(1, generation)]]), [Ok(())]);
    }
    let mut steps = 0;
    while !matches!(writer.fold, Fold::Log { .. }) || changes::end_of_log(&writer.connection).unwrap() > 0 {
        writer.tidy(0);
        steps += 1;
        assert!(steps < 100);
    }
    assert_eq!(turn(&mut writer, vec![vec![rotate(2, 0)]]), [Ok(())]);
    let generations: Vec<_> = after_a_crash(&dir, 1..3).iter().map(|session| session.generation).collect();
    assert_eq!(generations, [256, 1]);
}

#[test]
fn a_damaged_page_does_not_keep_what_has_expired_from_being_forgotten() {
    let (dir, mut writer) = writer();
    assert!(turn(&mut writer, (0..2000).map(|n| vec![start(n)]).collect()).iter().all(Result::is_ok));
    assert_eq!(turn(&mut writer, vec![vec![open_request(1)]]), [Ok(())]);
    damage(&dir, &mut writer, "session");
    let mut gone = 0;
    for _ in 0..20 {
        gone += writer.sweep(later(100_000), 256).unwrap();
    }
    assert!((1800..2001).contains(&gone), "{gone}");
    assert_eq!(writer.published.devices().kept(address(1)).total, 0);
}

#[test]
fn a_fold_goes_on_without_anybody_asking_for_anything() {
    let (_dir, mut writer) = writer();
    writer.fold_after = 600;
    assert!(turn(&mut writer, (0..600).map(|n| vec![start(n)]).collect()).iter().all(Result::is_ok));
    assert!(turn(&mut writer, (0..600).map(|n| vec![rotate(n, 0)]).collect()).iter().all(Result::is_ok));
    assert!(!matches!(writer.fold, Fold::Idle));
    let (jobs, mut queue) = mpsc::channel(1);
    drop(jobs);
    while !matches!(writer.fold, Fold::Idle) {
        writer.tidy(0);
    }
    assert!(writer.wait(&mut queue).is_none());
    assert_eq!(writer.published.unfolded().get(session_id(1)), None);
    assert_eq!(
        turn(&mut writer, vec![vec![rotate(1, 1)], vec![rotate(1, 0)]]),
        [Ok(()), Err(CommitError::Conflict)]
    );
}

#[test]
fn the_log_is_folded_in_before_it_grows_long() {
    let (dir, mut writer) = writer();
    for group in 0..40 {
        let starts = (group * 500..(group + 1) * 500).map(|n| vec![start(n)]).collect();
        assert!(turn(&mut writer, starts).iter().all(Result::is_ok));
    }
    let log = std::fs::metadata(dir.path().join("doorward.db-wal")).unwrap().len();
    assert!(log < 32 << 20, "{log}");
}
