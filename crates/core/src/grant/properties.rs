//! What holds of every sequence of redemptions, refreshes, races, logouts and waits.
//!
//! A [`World`] applies what the rules decide to plain rows, guards included, and keeps a history of its own in
//! which the promises are easy to check. Requests of one race are all decided on what was there before the first
//! of them was committed, as it happens between processes.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::{
    Decision, Grant, Redemption, TokenRequest, authorization_code, device_code, refresh_token, session_end,
};
use crate::fixtures::{
    Asker, CHALLENGE, CODE, GRANTED, NOW, REDIRECT_URI, REQUEST, Rows, TestStore, approved_by, block_on,
    code, device_request, later, person, scopes, session,
};
use crate::ids::SessionId;
use crate::refusal::Refusal;
use crate::session::{EndReason, Session, SessionState};
use crate::time::{Lifetime, Timestamp};
use crate::verdict::{Change, Issued, Verdict};

/// How a session begins.
#[derive(Clone, Copy, Debug)]
enum Origin {
    Code,
    Device,
}

#[derive(Clone, Debug)]
enum Step {
    /// These are presented at once.
    Race(Vec<Present>),
    Wait(u32),
    Logout,
}

#[derive(Clone, Copy, Debug)]
struct Present {
    /// The refresh token so many generations below the newest one; without it, what the session began with.
    back: Option<u32>,
    scope: &'static str,
}

fn scope() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just(""), 1 => Just("openid"), 1 => Just(GRANTED), 1 => Just("email")]
}

fn present() -> impl Strategy<Value = Present> {
    // Few of those that end the session, or few histories would go far.
    let back = prop_oneof![1 => Just(None), 20 => Just(Some(0)), 10 => Just(Some(1)), 1 => (2..5_u32).prop_map(Some)];
    (back, scope()).prop_map(|(back, scope)| Present { back, scope })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => vec(present(), 1..4).prop_map(Step::Race),
        // Around the grace window, an access token's hour, and the session's eight.
        6 => prop_oneof![4 => 0..3_u32, 6 => 57..63_u32, 2 => 3000..4000_u32, 1 => 28_700..28_900_u32]
            .prop_map(Step::Wait),
        1 => Just(Step::Logout),
    ]
}

struct World {
    origin: Origin,
    asker: Asker,
    rows: Rows,
    now: Timestamp,
    // The history, kept apart from the rows.
    head: Head,
    successors: BTreeMap<u32, u32>,
    written: BTreeSet<u32>,
}

/// Where the chain stands by the history.
#[derive(Clone, Copy)]
struct Head {
    started_at: Option<Timestamp>,
    ended: bool,
    newest: u32,
    rotated_at: Timestamp,
}

type Outcome = Verdict<Result<Issued, Refusal>>;

impl World {
    fn new(origin: Origin) -> Self {
        Self {
            origin,
            asker: Asker::default(),
            rows: Rows::with_people().with_request(device_request(approved_by("ann"))),
            now: NOW,
            head: Head { started_at: None, ended: false, newest: 0, rotated_at: NOW },
            successors: BTreeMap::new(),
            written: BTreeSet::new(),
        }
    }

    fn id(&self) -> SessionId {
        match self.origin {
            Origin::Code => CODE.into(),
            Origin::Device => REQUEST.into(),
        }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Wait(seconds) => self.now = self.now.plus(Lifetime::from_seconds(*seconds)),
            Step::Logout => self.log_out(),
            Step::Race(presented) => {
                let (before, head) = (TestStore::new(self.rows.clone()), self.head);
                for Present { back, scope } in presented {
                    let token = back.map(|back| head.newest.saturating_sub(back));
                    self.settle(token, scope, &before, head);
                }
            }
        }
    }

    /// Decides on what was there before the race, commits, and decides again on what is there now if it was lost.
    fn settle(&mut self, token: Option<u32>, scope: &str, before: &TestStore, head: Head) {
        let mut verdict = self.decide(token, scope, before);
        if verdict.changes.is_empty() {
            // What writes nothing is as if answered at the moment it was read.
            return self.check(token, head, &verdict);
        }
        if self.rows.commit(&verdict.changes).is_err() {
            verdict = self.decide(token, scope, &TestStore::new(self.rows.clone()));
            // Nobody else writes meanwhile, so what is decided on the rows as they are cannot lose again.
            self.rows.commit(&verdict.changes).unwrap();
        }
        self.record(&verdict.changes);
        self.check(token, self.head, &verdict);
    }

    fn decide(&self, token: Option<u32>, scope: &str, seen: &TestStore) -> Outcome {
        let request = &self.asker.asks(scope, self.now);
        match (token, self.origin) {
            (Some(generation), _) => {
                decide(&refresh_token::Redeem { session: self.id(), generation }, request, seen)
            }
            (None, Origin::Device) => decide(&device_code::Redeem { id: REQUEST }, request, seen),
            (None, Origin::Code) => {
                let code = &code();
                let redeemed =
                    authorization_code::Redeem { code, redirect_uri: REDIRECT_URI, proof: CHALLENGE };
                decide(&redeemed, request, seen)
            }
        }
    }

    fn log_out(&mut self) {
        let ann = person("ann");
        let end =
            session_end::End { session: self.id(), person: &ann, why: EndReason::Logout, now: self.now };
        let verdict = end.decide(&self.rows.sessions.get(&self.id()).cloned());
        self.rows.commit(&verdict.changes).unwrap();
        self.head.ended |= verdict.reply;
    }

    /// Adds committed changes to the history.
    fn record(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::EndSession { .. } => self.head.ended = true,
                Change::Rotate { to, at, .. } => {
                    assert!(self.written.insert(*to), "generation {to} was made current twice");
                    assert_eq!(*to, self.head.newest + 1, "the chain has no gap and no fork");
                    (self.head.newest, self.head.rotated_at) = (*to, *at);
                }
                Change::StartSession(_) => {
                    assert_eq!(self.head.started_at, None, "one approval became two sessions");
                    (self.head.started_at, self.head.rotated_at) = (Some(self.now), self.now);
                }
                Change::MoveDeviceRequest { .. } => {}
                Change::OpenDeviceRequest(_)
                | Change::ReplaceDirectory { .. }
                | Change::PutFederatedPerson { .. }
                | Change::PutConsents { .. }
                | Change::Use { .. }
                | Change::ReplaceSigningKeys { .. } => {
                    panic!("no token request may do this: {change:?}")
                }
            }
        }
    }

    /// Holds an answer against the history as it was when the answer became true.
    fn check(&mut self, token: Option<u32>, head: Head, verdict: &Outcome) {
        let Ok(issued) = &verdict.reply else {
            let ends = |change: &Change| matches!(change, Change::EndSession { .. });
            assert!(verdict.changes.iter().all(ends), "a refusal gave something: {:?}", verdict.changes);
            let is_replay = verdict.reply == Err(Refusal::InvalidRefreshToken)
                && token.is_some_and(|token| token + 1 < head.newest)
                && self.rows.sessions[&self.id()].expires_at > self.now;
            assert!(!is_replay || self.head.ended, "a replay went without consequence");
            return;
        };
        let expires_at = head.started_at.expect("tokens need a session").plus(Lifetime::from_seconds(28_800));
        assert!(!head.ended, "issued after the end");
        assert!(self.now < expires_at, "issued after the expiry");
        assert!(issued.access_expires_at <= expires_at, "an access token outlives its session");
        assert!(issued.access_expires_at > self.now, "issued what has expired");
        assert!(issued.scopes.is_subset(&scopes(GRANTED)) && !issued.scopes.is_empty());
        let successor = issued.refresh_generation.expect("a session with scopes always gets a refresh token");
        assert_eq!(successor, head.newest, "what was issued is not the head of the chain");
        let Some(token) = token else { return assert_eq!(successor, 0) };
        let first = *self.successors.entry(token).or_insert(successor);
        assert_eq!(successor, first, "one token had two successors");
        assert!(token + 1 >= head.newest, "older than the previous one, and accepted");
    }

    /// Of all tokens ever issued, which would be accepted now, and which of them would move the chain.
    fn check_live_tokens(&self) {
        let Head { ended, newest, rotated_at, .. } = self.head;
        let store = TestStore::new(self.rows.clone());
        let (mut accepted, mut moving) = (Vec::new(), 0);
        for token in 0..=newest {
            let verdict = self.decide(Some(token), "", &store);
            if verdict.reply.is_ok() {
                accepted.push(token);
                moving += usize::from(!verdict.changes.is_empty());
            }
        }
        let session = self.rows.sessions.get(&self.id());
        assert_eq!(ended, session.is_some_and(|session| session.state != SessionState::Live));
        let is_live = session.is_some_and(|session| session.is_live(self.now));
        let in_grace = newest > 0 && self.now < rotated_at.plus(self.asker.lifetimes.refresh_grace);
        let expected = match (is_live, in_grace) {
            (false, _) => vec![],
            (true, false) => vec![newest],
            (true, true) => vec![newest - 1, newest],
        };
        assert_eq!(accepted, expected);
        assert_eq!(moving, usize::from(is_live), "more than one chain is live");
    }
}

fn decide<G: Grant>(grant: &G, request: &TokenRequest<'_>, seen: &TestStore) -> Outcome {
    let redemption = Redemption { grant, request };
    redemption.decide(&block_on(redemption.load(seen)).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_chain_is_live_and_gives_nothing_past_its_end(
        origin in prop_oneof![Just(Origin::Code), Just(Origin::Device)],
        begins in prop::bool::weighted(0.9),
        steps in vec(step(), 1..24),
    ) {
        let mut world = World::new(origin);
        if begins {
            world.run(&Step::Race(vec![Present { back: None, scope: "" }]));
        }
        for step in &steps {
            world.run(step);
            world.check_live_tokens();
        }
    }

    #[test]
    fn whatever_the_generations_nothing_panics_and_a_success_is_one_further(
        stored in prop_oneof![any::<u32>(), Just(u32::MAX), Just(0)],
        presented in prop_oneof![any::<u32>(), Just(u32::MAX), Just(0)],
        age in 0..200_u32,
    ) {
        let asker = Asker::default();
        let session = Session { generation: stored, ..session() };
        let request = asker.asks("", later(age));
        let grant = refresh_token::Redeem { session: session.id, generation: presented };
        let verdict = grant.decide(&session, &request);
        match verdict.reply {
            Ok(issued) => {
                prop_assert_eq!(issued.refresh_generation.map(u64::from), Some(u64::from(presented) + 1));
                prop_assert!(u64::from(presented) + 1 >= u64::from(stored));
            }
            Err(refusal) => prop_assert_eq!(refusal, Refusal::InvalidRefreshToken),
        }
    }
}
