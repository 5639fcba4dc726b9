//! Each rule on histories made by hand: good ones, and one that breaks it.

use super::*;
use crate::history::{Call, Fault, Gave, Name, Op, Outcome, Part, Reason};

const GRACE: Moment = 60_000;
const TERMS: Terms = Terms { grace: GRACE, slack: 1000, bound: 5000 };
const BROWSER: Name = Name(1);
const DEVICE: Name = Name(2);
const CODE: Name = Name(3);
/// The access token that all answers give: who gave which plays no part in most rules.
const ACCESS: Name = Name(90);

const fn token(generation: u32) -> Name {
    Name(10 + generation)
}

/// A history of operations, each `((begun, ended), call, outcome)`. What has to be asked at the end is no part of them.
fn history(ops: &[((Moment, Moment), Call, Outcome)]) -> History {
    let op = |((begun, ended), call, outcome): &((Moment, Moment), Call, Outcome)| Op {
        client: 0,
        node: 0,
        begun: *begun,
        ended: *ended,
        call: *call,
        outcome: outcome.clone(),
    };
    let fault = Fault { part: Part::Node(0), from: 0, to: Moment::MAX };
    History { ops: ops.iter().map(op).collect(), faults: vec![fault], settled: 0 }
}

/// The rules that a history breaks, but for what is asked at the end.
fn broken(ops: &[((Moment, Moment), Call, Outcome)]) -> Vec<Rule> {
    let mut rules: Vec<_> = check(&history(ops), TERMS).into_iter().map(|violation| violation.rule).collect();
    rules.retain(|rule| *rule != Rule::NotAskedAtTheEnd);
    rules.sort_unstable();
    rules.dedup();
    rules
}

const fn gave(generation: u32) -> Outcome {
    Outcome::Ok(Gave::Tokens { refresh: token(generation), access: ACCESS })
}

const DONE: Outcome = Outcome::Ok(Gave::Nothing);
const DENIED: Outcome = Outcome::Refused(Reason::InvalidRefreshToken);
const SPENT: Outcome = Outcome::Refused(Reason::InvalidGrant);
const APPROVE: Call = Call::Approve { browser: BROWSER, device: DEVICE };
const POLL: Call = Call::Poll { device: DEVICE };
const REDEEM: Call = Call::Redeem { code: CODE };
const LIST: Call = Call::List { access: ACCESS };
const LOGOUT: Call = Call::Logout { access: ACCESS };

fn unknown() -> Outcome {
    Outcome::Unknown("500".into())
}

const fn refresh(generation: u32) -> Call {
    Call::Refresh { token: token(generation) }
}

/// A session whose token 0 was given at 2.
const BEGUN: ((Moment, Moment), Call, Outcome) = ((1, 2), REDEEM, gave(0));

#[test]
fn a_life_without_mishap_breaks_no_rule() {
    let history = history(&[
        ((0, 1), Call::Register, DONE),
        ((1, 2), Call::SignIn, Outcome::Ok(Gave::Browser(BROWSER))),
        ((3, 4), Call::StartDevice, Outcome::Ok(Gave::Device(DEVICE))),
        ((5, 6), POLL, Outcome::Refused(Reason::Pending)),
        ((7, 8), APPROVE, DONE),
        ((9, 12), POLL, gave(0)),
        ((10, 11), POLL, SPENT),
        ((13, 14), refresh(0), gave(1)),
        ((13, 15), refresh(0), gave(1)),
        ((16, 17), LIST, DONE),
        ((20, 21), refresh(1), gave(2)),
        ((22, 23), refresh(1), gave(2)),
        ((30, 31), refresh(0), DENIED),
        ((32, 33), refresh(2), DENIED),
        ((34, 35), LIST, Outcome::Refused(Reason::Unauthorized)),
        ((36, 37), Call::SignOut { browser: BROWSER }, DONE),
        ((38, 39), Call::Visit { browser: BROWSER }, Outcome::Refused(Reason::SignedOut)),
    ]);
    let violations = check(&history, TERMS);
    assert!(violations.is_empty(), "{}", describe(&history, &violations));
}

#[test]
fn a_code_issues_tokens_once() {
    let approved = ((0, 1), APPROVE, DONE);
    for (call, first) in [(POLL, approved.clone()), (REDEEM, ((0, 1), Call::Register, DONE))] {
        assert_eq!(broken(&[first.clone(), ((2, 5), call, gave(0)), ((3, 6), call, SPENT)]), []);
        let twice = [first.clone(), ((2, 5), call, gave(0)), ((3, 6), call, gave(1))];
        assert_eq!(broken(&twice), [Rule::IssuedOnce]);
        // An attempt without an answer may have issued, or not.
        assert_eq!(broken(&[first.clone(), ((2, 5), call, unknown()), ((6, 7), call, SPENT)]), []);
        assert_eq!(broken(&[first.clone(), ((2, 5), call, unknown()), ((6, 7), call, gave(0))]), []);
        assert_eq!(
            broken(&[first, ((2, 5), call, unknown()), ((6, 7), call, gave(0)), ((8, 9), call, SPENT)]),
            []
        );
    }
    assert_eq!(broken(&[approved, ((2, 3), APPROVE, DONE)]), [Rule::IssuedOnce]);
}

#[test]
fn a_device_code_issues_nothing_before_an_approval() {
    assert_eq!(broken(&[((0, 3), POLL, gave(0)), ((1, 2), APPROVE, DONE)]), []);
    assert_eq!(broken(&[((0, 3), POLL, gave(0)), ((1, 2), APPROVE, unknown())]), []);
    assert_eq!(broken(&[((0, 3), POLL, gave(0))]), [Rule::IssuedOnce]);
    assert_eq!(broken(&[((0, 3), POLL, gave(0)), ((4, 5), APPROVE, DONE)]), [Rule::IssuedOnce]);
}

#[test]
fn refreshes_are_one_chain() {
    assert_eq!(broken(&[BEGUN, ((3, 4), refresh(0), gave(1)), ((3, 5), refresh(0), gave(1))]), []);
    let fork = [BEGUN, ((3, 4), refresh(0), gave(1)), ((3, 5), refresh(0), gave(2))];
    assert_eq!(broken(&fork), [Rule::OneChain]);
    assert_eq!(broken(&[BEGUN, ((3, 4), refresh(0), gave(0))]), [Rule::OneChain]);
    let back = [BEGUN, ((3, 4), refresh(0), gave(1)), ((5, 6), refresh(1), gave(0))];
    assert!(broken(&back).contains(&Rule::OneChain));
    // The token of one session, given to another.
    let other = ((3, 4), Call::Redeem { code: Name(4) }, gave(0));
    assert!(broken(&[BEGUN, other]).contains(&Rule::OneChain));
}

#[test]
fn nothing_is_accepted_of_what_was_ended() {
    let refused = || Outcome::Refused(Reason::Unauthorized);
    for (end, outcome) in [
        (LOGOUT, DONE),
        (Call::End { browser: BROWSER, code: CODE }, DONE),
        // The second redemption ended it; and so a copy of an old token did.
        (REDEEM, SPENT),
    ] {
        let end = ((3, 5), end, outcome);
        assert_eq!(
            broken(&[BEGUN, end.clone(), ((6, 7), LIST, refused()), ((6, 7), refresh(0), DENIED)]),
            []
        );
        // At the same time either may come first.
        assert_eq!(broken(&[BEGUN, end.clone(), ((4, 7), LIST, DONE), ((4, 8), refresh(0), gave(1))]), []);
        assert_eq!(broken(&[BEGUN, end.clone(), ((6, 7), LIST, DONE)]), [Rule::EndedIsOver]);
        assert_eq!(broken(&[BEGUN, end.clone(), ((6, 7), LOGOUT, DONE)]), [Rule::EndedIsOver]);
        assert_eq!(broken(&[BEGUN, end, ((6, 7), refresh(0), gave(1))]), [Rule::EndedIsOver]);
    }
    let replayed = [
        BEGUN,
        ((3, 4), refresh(0), gave(1)),
        ((5, 6), refresh(1), gave(2)),
        ((7, 8), refresh(0), DENIED),
        ((9, 10), refresh(2), gave(3)),
    ];
    assert_eq!(broken(&replayed), [Rule::EndedIsOver]);
    // A refusal is as good an answer: what is over stays over.
    let resurrected = [BEGUN, ((3, 9), LOGOUT, unknown()), ((4, 5), LIST, refused()), ((6, 7), LIST, DONE)];
    assert_eq!(broken(&resurrected), [Rule::EndedIsOver]);
}

#[test]
fn a_browser_that_signed_out_is_signed_out() {
    let signed_in = ((0, 1), Call::SignIn, Outcome::Ok(Gave::Browser(BROWSER)));
    let visit = |at, outcome| ((at, at + 1), Call::Visit { browser: BROWSER }, outcome);
    let out = ((4, 5), Call::SignOut { browser: BROWSER }, DONE);
    let refused = || Outcome::Refused(Reason::SignedOut);
    assert_eq!(broken(&[signed_in.clone(), visit(2, DONE), out.clone(), visit(6, refused())]), []);
    assert_eq!(broken(&[signed_in.clone(), out, visit(6, DONE)]), [Rule::EndedIsOver]);
    assert_eq!(broken(&[signed_in, visit(2, refused())]), [Rule::WronglyRefused]);
}

#[test]
fn a_token_that_was_used_up_is_refused() {
    let used = [BEGUN, ((3, 4), refresh(0), gave(1)), ((5, 8), refresh(1), gave(2))];
    let then = |op| [used.to_vec(), vec![op]].concat();
    assert_eq!(broken(&then(((9, 10), refresh(0), DENIED))), []);
    // Beside the refresh that left it behind, it may have been the one before.
    assert_eq!(broken(&then(((7, 10), refresh(0), gave(1)))), []);
    assert_eq!(broken(&then(((9, 10), refresh(0), gave(1)))), [Rule::UsedUp]);
    let late = 4 + GRACE + TERMS.slack;
    assert_eq!(broken(&[BEGUN, used[1].clone(), ((late, late + 1), refresh(0), gave(1))]), []);
    let late = [BEGUN, used[1].clone(), ((late + 1, late + 2), refresh(0), gave(1))];
    assert_eq!(broken(&late), [Rule::UsedUp]);
}

#[test]
fn a_good_token_is_not_refused() {
    assert_eq!(broken(&[BEGUN, ((3, 4), refresh(0), DENIED)]), [Rule::WronglyRefused]);
    let rotated = ((3, 4), refresh(0), gave(1));
    assert_eq!(broken(&[BEGUN, rotated.clone(), ((5, 6), refresh(1), DENIED)]), [Rule::WronglyRefused]);
    assert_eq!(broken(&[BEGUN, rotated.clone(), ((5, 6), refresh(0), DENIED)]), [Rule::WronglyRefused]);
    // The answer was lost, and the client tries again.
    let lost = ((3, 4), refresh(0), unknown());
    assert_eq!(broken(&[BEGUN, lost.clone(), ((5, 6), refresh(0), gave(1))]), []);
    assert_eq!(broken(&[BEGUN, lost.clone(), ((5, 6), refresh(0), DENIED)]), [Rule::WronglyRefused]);
    // Somebody may have gone on meanwhile, or the window may have ended.
    let gone_on = [BEGUN, rotated, ((5, 8), refresh(1), unknown()), ((6, 7), refresh(0), DENIED)];
    assert_eq!(broken(&gone_on), []);
    assert_eq!(broken(&[BEGUN, lost, ((GRACE + 5, GRACE + 6), refresh(0), DENIED)]), []);
}

#[test]
fn nobody_is_signed_out_without_a_cause() {
    let refused = || Outcome::Refused(Reason::Unauthorized);
    assert_eq!(broken(&[BEGUN, ((3, 4), LIST, refused())]), [Rule::WronglyRefused]);
    assert_eq!(broken(&[BEGUN, ((3, 4), LOGOUT, refused())]), [Rule::WronglyRefused]);
    // One that begins only later is no cause, and one without an answer may be.
    assert_eq!(broken(&[BEGUN, ((3, 4), LIST, refused()), ((5, 6), LOGOUT, refused())]).len(), 1);
    assert_eq!(broken(&[BEGUN, ((3, 4), LOGOUT, unknown()), ((50, 60), LIST, refused())]), []);
    assert_eq!(broken(&[BEGUN, ((3, 4), REDEEM, unknown()), ((50, 60), refresh(0), DENIED)]), []);
    let unlisted = Outcome::Refused(Reason::NotListed);
    let end = Call::End { browser: BROWSER, code: CODE };
    assert_eq!(broken(&[BEGUN, ((3, 4), end, unlisted)]), [Rule::WronglyRefused]);
}

#[test]
fn an_acknowledged_approval_is_not_lost() {
    let approved = ((0, 1), APPROVE, DONE);
    let pending = || Outcome::Refused(Reason::Pending);
    assert_eq!(broken(&[((0, 5), APPROVE, DONE), ((3, 6), POLL, pending())]), []);
    assert_eq!(broken(&[((0, 5), APPROVE, unknown()), ((7, 8), POLL, pending())]), []);
    assert_eq!(broken(&[approved.clone(), ((2, 3), POLL, pending())]), [Rule::WronglyRefused]);
    assert_eq!(broken(&[approved.clone(), ((2, 3), POLL, SPENT)]), [Rule::WronglyRefused]);
    assert_eq!(broken(&[approved, ((2, 3), POLL, Outcome::Refused(Reason::SlowDown))]), []);
    let not_open = Outcome::Refused(Reason::NotOpen);
    assert_eq!(broken(&[((2, 3), APPROVE, not_open.clone())]), [Rule::WronglyRefused]);
    assert_eq!(broken(&[((0, 1), APPROVE, unknown()), ((2, 3), APPROVE, not_open)]), []);
    assert_eq!(broken(&[((0, 1), REDEEM, SPENT)]), [Rule::WronglyRefused]);
}

#[test]
fn each_call_has_its_own_refusals() {
    let other = || Outcome::Refused(Reason::Other("401 InvalidClientException".into()));
    for call in [Call::Register, Call::SignIn, APPROVE, POLL, REDEEM, refresh(0), LIST] {
        assert_eq!(broken(&[((0, 1), call, other())]), [Rule::WrongReason], "{call:?}");
    }
    let slow = Outcome::Refused(Reason::SlowDown);
    assert_eq!(broken(&[BEGUN, ((3, 4), refresh(0), slow)]), [Rule::WrongReason]);
    assert_eq!(broken(&[BEGUN, ((3, 4), refresh(0), SPENT)]), [Rule::WrongReason]);
}

#[test]
fn no_answer_needs_a_fault_of_its_node_or_the_database() {
    let outcome = |begun, ended, outcome, part| {
        let mut history = history(&[((begun, ended), Call::Register, outcome)]);
        history.faults = vec![Fault { part, from: 1000, to: 2000 }];
        check(&history, TERMS).len()
    };
    for part in [Part::Node(0), Part::Database] {
        for failed in [Outcome::Unsent, unknown()] {
            assert_eq!(outcome(1500, 1600, failed.clone(), part), 0);
            assert_eq!(outcome(500, 1000, failed.clone(), part), 0);
            assert_eq!(outcome(2000 + TERMS.bound, 9000, failed.clone(), part), 0);
            assert_eq!(outcome(500, 999, failed.clone(), part), 1);
            assert_eq!(outcome(2001 + TERMS.bound, 9000, failed, part), 1);
        }
        assert_eq!(outcome(500, 999, DONE, part), 0);
    }
    assert_eq!(outcome(1500, 1600, unknown(), Part::Node(1)), 1);
}

#[test]
fn everything_is_asked_for_at_the_end() {
    let asked = |ops: &[_]| {
        let mut history = history(ops);
        history.settled = 10;
        check(&history, TERMS).into_iter().map(|violation| violation.rule).collect::<Vec<_>>()
    };
    let missing = [Rule::NotAskedAtTheEnd];
    assert_eq!(asked(&[BEGUN]), missing);
    assert_eq!(asked(&[BEGUN, ((8, 9), refresh(0), gave(1))]), missing);
    assert_eq!(asked(&[BEGUN, ((11, 12), refresh(0), unknown())]), missing);
    assert_eq!(asked(&[BEGUN, ((11, 12), LIST, DONE)]), missing);
    assert_eq!(asked(&[BEGUN, ((11, 12), refresh(0), gave(1))]), []);
    let over = [BEGUN, ((3, 4), LOGOUT, DONE)];
    assert_eq!(asked(&over), missing);
    assert_eq!(asked(&[over.to_vec(), vec![((11, 12), refresh(0), DENIED)]].concat()), []);
    assert_eq!(asked(&[((0, 1), APPROVE, DONE)]), missing);
    assert_eq!(
        asked(&[((0, 1), APPROVE, DONE), ((2, 3), POLL, Outcome::Refused(Reason::SlowDown))]),
        missing
    );
    let browser = ((0, 1), Call::SignIn, Outcome::Ok(Gave::Browser(BROWSER)));
    assert_eq!(asked(std::slice::from_ref(&browser)), missing);
    assert_eq!(asked(&[browser, ((11, 12), Call::Visit { browser: BROWSER }, DONE)]), []);
}
