//! The verification: two snapshots, row by row.

use std::cmp::Ordering;
use std::vec;

use super::ends::Snapshot;
use super::error::CopyError;
use super::row::{Counts, Place, Row};

/// Compares all rows of two snapshots in the order of their keys. Answers how many there are, or in which row `other`
/// first differs from `one`.
///
/// `report` is given how many sessions were compared.
pub(super) async fn compare(
    one: &Snapshot,
    other: &Snapshot,
    mut report: impl FnMut(u64),
) -> Result<Result<Counts, String>, CopyError> {
    let (mut ones, mut others) = (Rows::new(one), Rows::new(other));
    let mut counts = Counts::default();
    loop {
        let filled = tokio::try_join!(ones.fill(), others.fill());
        filled?;
        let (left, right) = match (ones.next(), others.next()) {
            (None, None) => return Ok(Ok(counts)),
            (Some(left), None) => return Ok(Err(format!("{} is missing", left.key()))),
            (None, Some(right)) => return Ok(Err(format!("{} is there, and should not be", right.key()))),
            (Some(left), Some(right)) => (left, right),
        };
        match left.key().cmp(&right.key()) {
            Ordering::Less => return Ok(Err(format!("{} is missing", left.key()))),
            Ordering::Greater => return Ok(Err(format!("{} is there, and should not be", right.key()))),
            Ordering::Equal if left != right => return Ok(Err(format!("{} is another", left.key()))),
            Ordering::Equal => counts.add(&left),
        }
        if ones.page.len() == 0 {
            report(counts.sessions);
        }
    }
}

/// The rows of a snapshot, one after the other.
struct Rows<'s> {
    snapshot: &'s Snapshot,
    page: vec::IntoIter<Row>,
    next: Option<Place>,
}

impl<'s> Rows<'s> {
    fn new(snapshot: &'s Snapshot) -> Self {
        Self { snapshot, page: Vec::new().into_iter(), next: Some(Place::Directory) }
    }

    /// Reads on until there is a row, or the end.
    async fn fill(&mut self) -> Result<(), CopyError> {
        while self.page.len() == 0
            && let Some(place) = self.next.take()
        {
            let rows = self.snapshot.page(&place).await?;
            self.next = place.next(&rows);
            self.page = rows.into_iter();
        }
        Ok(())
    }

    fn next(&mut self) -> Option<Row> {
        self.page.next()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use doorward_core::store::Store;
    use rusqlite::Connection;
    use tempfile::TempDir;

    use super::*;
    use crate::contract::fixtures::*;
    use crate::copy::backup;
    use crate::embedded::copy::Snapshot as File;
    use crate::{EmbeddedStore, Location};

    /// A backup of sessions 1 to 3 and two device requests, and what `edit` makes of it, compared.
    async fn compared(edit: &str) -> Result<Counts, String> {
        let dir = TempDir::new().unwrap();
        let data = dir.path().join("data");
        let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(&data).unwrap());
        commit(&store, [start(1), start(2), start(3), open_request(1), open_request(2)]).await;
        let location = Location::Embedded(data);
        let [one, other] = ["one", "other"].map(|name| dir.path().join(name));
        for file in [&one, &other] {
            backup(&location, file, &mut |_| {}).await.unwrap();
        }
        Connection::open(&other).unwrap().execute_batch(edit).unwrap();
        let [one, other] = [File::of_file(&one).await.unwrap(), File::of_file(&other).await.unwrap()];
        compare(&Snapshot::Embedded(one), &Snapshot::Embedded(other), |_| {}).await.unwrap()
    }

    #[tokio::test]
    async fn the_first_row_that_differs_is_named() {
        let whole = Counts { sessions: 3, device_requests: 2, records: 0, used: 0, directory_version: 0 };
        assert_eq!(compared("").await, Ok(whole));
        let mut ids = [1, 2, 3].map(session_id);
        ids.sort();
        let hex = |at: usize| format!("x'{}'", ids[at]);
        let session = |at: usize, how: &str| Err(format!("session {} {how}", ids[at]));
        let extra = "is there, and should not be";
        for at in 0..3 {
            let id = hex(at);
            let edit = format!("UPDATE head SET generation = 1 WHERE id = {id}");
            assert_eq!(compared(&edit).await, session(at, "is another"), "{edit}");
            let edit = format!("DELETE FROM head WHERE id = {id}; DELETE FROM session WHERE id = {id}");
            assert_eq!(compared(&edit).await, session(at, "is missing"), "{edit}");
        }
        for (id, edit) in ["00000000000000000000000000000000", "ffffffffffffffffffffffffffffffff"].map(|id| {
            let edit = format!(
                "INSERT INTO head SELECT x'{id}', 9, 0, 0, NULL, NULL; INSERT INTO session SELECT 9, x'{id}', person, \
                 client, client_name, scopes, created_at, authenticated_at, expires_at, terms FROM session WHERE seq = 1"
            );
            (id, edit)
        }) {
            assert_eq!(compared(&edit).await, Err(format!("session {id} {extra}")), "{edit}");
        }
        let edit =
            "UPDATE device_request SET state = 'denied' WHERE id = (SELECT min(id) FROM device_request)";
        let first = [1, 2].map(request_id).into_iter().min().unwrap();
        assert_eq!(compared(edit).await, Err(format!("device request {first} is another")));
        let edit = "UPDATE directory SET version = 4";
        assert_eq!(compared(edit).await, Err("the directory is another".into()));
    }
}
