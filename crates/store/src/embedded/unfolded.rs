//! Rotations that are in the log and not yet in the table `head`.
//!
//! A rotation is appended to the log: the `head` of its session would be at a random place, and so a page of its own
//! for every rotation. Once the log is long, the newest rotation of each session is folded into `head`, in the order
//! of the ids, so that those on one page share its write. Until then it is known from here.

use std::collections::BTreeMap;
use std::ops::Bound;

use doorward_core::ids::SessionId;
use doorward_core::session::Session;
use doorward_core::time::Timestamp;

/// Bytes of one rotation in the log: the id, the generation, and when.
const RECORD: usize = 16 + 4 + 8;

/// What a rotation makes of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) generation: u32,
    pub(super) rotated_at: Timestamp,
}

impl Head {
    /// Brings a session up to it.
    pub(super) fn advance(self, session: &mut Session) {
        session.generation = self.generation;
        session.rotated_at = self.rotated_at;
    }
}

/// The newest rotation of each session that has one in the log. Ordered, so that folding needs no sorting, which
/// would be a pause.
#[derive(Default)]
pub(super) struct Unfolded {
    newest: BTreeMap<SessionId, Head>,
    /// Those that are being folded. What is also in `newest` has rotated again since.
    folding: BTreeMap<SessionId, Head>,
    folds: u64,
}

impl Unfolded {
    /// What the log says. Of a session's rotations the last counts, as it does when a map is collected, and collecting sorts
    /// once where inserting would search each time.
    pub(super) fn of_log(rotations: Vec<(SessionId, Head)>) -> Self {
        Self { newest: rotations.into_iter().collect(), ..Self::default() }
    }

    /// The newest rotation of the session, unless `head` has it.
    pub(super) fn get(&self, id: SessionId) -> Option<Head> {
        self.newest.get(&id).or_else(|| self.folding.get(&id)).copied()
    }

    /// Whether the session has rotated again since the fold began.
    pub(super) fn has_newer(&self, id: SessionId) -> bool {
        self.newest.contains_key(&id)
    }

    /// Brings sessions up to their newest rotations.
    pub(super) fn advance(&self, sessions: &mut [Session]) {
        for session in sessions {
            if let Some(head) = self.get(session.id) {
                head.advance(session);
            }
        }
    }

    pub(super) fn insert(&mut self, id: SessionId, head: Head) {
        self.newest.insert(id, head);
    }

    /// Forgets a session that is no more.
    pub(super) fn remove(&mut self, id: SessionId) {
        self.newest.remove(&id);
        self.folding.remove(&id);
    }

    /// All there are now are to be folded.
    pub(super) fn begin_fold(&mut self) {
        self.folding = std::mem::take(&mut self.newest);
    }

    /// The next of those that are being folded, after `last`, at most so many.
    pub(super) fn next_to_fold(&self, last: Option<SessionId>, count: usize) -> Vec<(SessionId, Head)> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.folding.range((from, Bound::Unbounded)).take(count).map(|(id, head)| (*id, *head)).collect()
    }

    /// Those that were being folded are in `head`.
    pub(super) fn end_fold(&mut self) {
        self.folds += 1;
        self.folding.clear();
    }

    /// How many folds have ended. Whoever reads `head` and then asks here has missed nothing if it is the same before
    /// and after.
    pub(super) fn folds(&self) -> u64 {
        self.folds
    }
}

/// Rotations as one row of the log has them.
pub(super) fn encode(rotations: &[(SessionId, Head)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(rotations.len() * RECORD);
    for (id, head) in rotations {
        bytes.extend_from_slice(id.as_bytes());
        bytes.extend_from_slice(&head.generation.to_be_bytes());
        bytes.extend_from_slice(&head.rotated_at.millis().to_be_bytes());
    }
    bytes
}

/// The rotations of a row of the log; or what is wrong with it.
pub(super) fn decode(bytes: &[u8]) -> Result<impl Iterator<Item = (SessionId, Head)>, String> {
    let (records, []) = bytes.as_chunks::<RECORD>() else {
        return Err(format!("{} bytes are no rotations of {RECORD} bytes each", bytes.len()));
    };
    Ok(records.iter().map(|record| {
        let (mut id, mut generation, mut rotated_at) = ([0; 16], [0; 4], [0; 8]);
        id.copy_from_slice(&record[..16]);
        generation.copy_from_slice(&record[16..20]);
        rotated_at.copy_from_slice(&record[20..]);
        let head = Head {
            generation: u32::from_be_bytes(generation),
            rotated_at: Timestamp::from_millis(i64::from_be_bytes(rotated_at)),
        };
        (SessionId::from_bytes(id), head)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::fixtures::{later, session_id};

    fn head(generation: u32) -> Head {
        Head { generation, rotated_at: later(generation) }
    }

    #[test]
    fn rotations_read_back_from_their_row_and_damage_is_told() {
        let rotations = [(session_id(1), head(1)), (session_id(2), head(u32::MAX)), (session_id(1), head(2))];
        let bytes = encode(&rotations);
        assert_eq!(decode(&bytes).unwrap().collect::<Vec<_>>(), rotations);
        assert!(decode(&bytes[1..]).is_err_and(|why| why.starts_with("83 bytes")));
    }

    #[test]
    fn a_rotation_during_a_fold_is_the_newest_and_outlives_it() {
        let mut unfolded = Unfolded::default();
        for n in 0..10 {
            unfolded.insert(session_id(n), head(1));
        }
        unfolded.begin_fold();
        unfolded.insert(session_id(3), head(2));
        assert_eq!(unfolded.get(session_id(3)), Some(head(2)));
        assert_eq!(unfolded.get(session_id(4)), Some(head(1)));
        unfolded.remove(session_id(5));
        let (mut folded, mut last) = (Vec::new(), None);
        loop {
            let next = unfolded.next_to_fold(last, 4);
            let Some((id, _)) = next.last() else { break };
            last = Some(*id);
            folded.extend(next);
        }
        assert!(folded.is_sorted_by_key(|(id, _)| *id));
        assert_eq!(folded.len(), 9);
        assert!(folded.iter().all(|(id, as_folded)| *as_folded == head(1) && *id != session_id(5)));
        unfolded.end_fold();
        assert_eq!((unfolded.get(session_id(3)), unfolded.get(session_id(4))), (Some(head(2)), None));
        assert_eq!(unfolded.folds(), 1);
    }
}
