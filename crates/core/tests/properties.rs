//! What holds of the values that come from outside, whatever they are.

use doorward_core::redirect::RedirectUri;
use doorward_core::scope::Scopes;
use doorward_core::secret::UserCode;
use doorward_core::time::{Lifetime, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;

/// A listed URI that is not a loopback one.
const LISTED: &str = "https://app.example:8443/cb";

/// URIs put together from what makes the difference between a loopback URI and one that looks like it.
fn uri() -> impl Strategy<Value = String> {
    let scheme =
        prop_oneof![8 => Just("http://"), 1 => Just("https://"), 1 => Just("HTTP://"), 1 => Just("")];
    let host = prop_oneof![
        8 => Just("127.0.0.1"),
        1 => Just("127.0.0.2"),
        1 => Just("localhost"),
        1 => Just("[::1]"),
        1 => Just("127.0.0.1.evil.example"),
        1 => Just("127.0.0.1@evil.example"),
        1 => Just("evil.example\\@127.0.0.1"),
    ];
    let port = prop_oneof![
        3 => Just(String::new()),
        4 => any::<u16>().prop_map(|port| format!(":{port}")),
        1 => "(:|:0|:080|:65536|:99999999999|:\\+80|:-1|:80x|:80@evil\\.example|:80:80)",
    ];
    let rest = prop_oneof![4 => Just("/cb".to_owned()), 2 => Just(String::new()), 4 => "[/?a#\\\\@.: ]{0,4}"];
    (scheme, host, port, rest).prop_map(|(scheme, host, port, rest)| format!("{scheme}{host}{port}{rest}"))
}

/// The URI without its port, if it is a loopback one; read in another way than the code under test reads it.
fn without_port(uri: &str) -> Option<String> {
    let rest = uri.strip_prefix("http://127.0.0.1")?;
    let (port, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let is_port = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => digits.parse::<u16>().is_ok_and(|port| port > 0 && port.to_string() == digits),
    };
    is_port.then(|| format!("http://127.0.0.1{tail}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    // Holds: rfc8252-8.4-exact-registration, rfc9700-2.1-exact-redirect-uri
    #[test]
    fn what_a_redirect_uri_matches_equals_it_but_for_the_loopback_port(
        registered in prop_oneof![9 => uri(), 1 => Just(LISTED.to_owned())],
        presented in prop_oneof![5 => uri(), 1 => Just(LISTED.to_owned()), 1 => ".{0,40}"],
    ) {
        let Ok(uri) = RedirectUri::register(&registered, &[LISTED.to_owned()]) else { return Ok(()) };
        prop_assert!(registered == LISTED || without_port(&registered).is_some(), "{}", registered);
        prop_assert!(uri.matches(&registered), "a registration matches itself: {}", registered);
        let same_but_for_port = without_port(&registered).is_some()
            && without_port(&registered) == without_port(&presented)
            // These are no part of a URI, wherever they stand.
            && !presented.contains(['#', '\\', ' ']);
        prop_assert_eq!(
            uri.matches(&presented),
            registered == presented || same_but_for_port,
            "{} {}", registered, presented
        );
    }

    #[test]
    fn any_port_of_a_registered_loopback_uri_matches_and_leads_nowhere_else(
        from in 1..=u16::MAX,
        to in 1..=u16::MAX,
        rest in "(/[a-zA-Z0-9/._~%?=&-]{0,20})?",
    ) {
        let registered = RedirectUri::register(&format!("http://127.0.0.1:{from}{rest}"), &[]).unwrap();
        let another_port = format!("http://127.0.0.1:{to}{rest}");
        let no_port = format!("http://127.0.0.1{rest}");
        let another_path = format!("{another_port}/");
        prop_assert!(registered.matches(&another_port));
        prop_assert!(registered.matches(&no_port));
        prop_assert!(!registered.matches(&another_path));
    }

    #[test]
    fn a_user_code_reads_back_however_it_is_typed(
        bits in any::<u64>(),
        typing in vec((any::<bool>(), "[- \t\u{a0}]{0,2}"), 9),
    ) {
        let code = UserCode::from_entropy(bits);
        let shown = code.reveal();
        let mut typed = String::new();
        for (letter, (is_lower, after)) in shown.chars().zip(&typing) {
            typed.push(if *is_lower { letter.to_ascii_lowercase() } else { letter });
            typed.push_str(after);
        }
        prop_assert_eq!(UserCode::parse(&typed), Some(code), "{}", typed);
        let one_more = format!("{typed}B");
        let one_less = &shown[..8];
        prop_assert_eq!(UserCode::parse(&one_more), None);
        prop_assert_eq!(UserCode::parse(one_less), None);
    }

    #[test]
    fn what_is_read_as_a_user_code_shows_the_letters_that_were_typed(typed in "[a-zA-Z0-9 \u{17f}\u{212a}-]{6,12}") {
        if let Some(code) = UserCode::parse(&typed) {
            let letters: String = typed.chars().filter(|c| c.is_alphanumeric()).collect();
            prop_assert_eq!(code.reveal().replace('-', ""), letters.to_ascii_uppercase());
            prop_assert!(letters.is_ascii() && letters.len() == 8);
        }
    }

    #[test]
    fn scopes_read_back_from_their_text(elements in vec("[ -~]{0,12}", 0..8)) {
        let Ok(scopes) = Scopes::parse(elements.iter().map(String::as_str)) else { return Ok(()) };
        let text = scopes.to_string();
        prop_assert_eq!(Scopes::parse([text.as_str()]), Ok(scopes.clone()));
        prop_assert_eq!(Scopes::parse(scopes.iter()), Ok(scopes.clone()));
        prop_assert!(!text.starts_with(' ') && !text.ends_with(' ') && !text.contains("  "));
        // Every scope was asked for, none appeared from elsewhere.
        let asked: Vec<&str> = elements.iter().flat_map(|element| element.split(' ')).collect();
        prop_assert!(scopes.iter().all(|scope| asked.contains(&scope)));
    }

    #[test]
    fn narrowing_stays_within_the_grant(granted in "([a-e] ){0,5}", requested in "([a-f] ){0,5}") {
        let (granted, requested) = (Scopes::parse([&*granted]).unwrap(), Scopes::parse([&*requested]).unwrap());
        match granted.narrow(&requested) {
            Ok(narrowed) => {
                prop_assert!(narrowed.is_subset(&granted));
                prop_assert!(requested.is_empty() || narrowed == requested);
                // No scopes at all mean account access: narrowing must never lead there.
                prop_assert_eq!(narrowed.is_empty(), granted.is_empty());
            }
            Err(_) => prop_assert!(!requested.is_subset(&granted)),
        }
    }

    #[test]
    fn arithmetic_on_moments_never_overflows(
        a in prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX)],
        b in prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX)],
        seconds in any::<u32>(),
    ) {
        let (from, until) = (Timestamp::from_millis(a), Timestamp::from_millis(b));
        let lifetime = Lifetime::from_seconds(seconds);
        prop_assert!(from.plus(lifetime) >= from && from.minus(lifetime) <= from);
        prop_assert_eq!(from.seconds_until(until) == 0, i128::from(b) - i128::from(a) < 1000);
        // The seconds that are left never reach past the end.
        if from <= until {
            prop_assert!(from.plus(Lifetime::from_seconds(from.seconds_until(until))) <= until);
        }
        let whole = Timestamp::from_seconds(from.seconds());
        prop_assert!(whole <= from || whole == Timestamp::from_millis(i64::MIN));
    }
}
