//! Form-encoded token requests (RFC 6749 section 3.2).
//!
//! Whatever comes in is read or refused, says nothing of itself when it is printed, and no parameter that may occur once is
//! taken from two.

#![no_main]

use doorward_wire::oauth::form::Form;
use doorward_wire::oauth::token::Input;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(form) = Form::parse(data) else { return };
    for name in ["grant_type", "client_id", "client_secret", "code", "subject_token", "scope"] {
        let all: Vec<&str> = form.all(name).collect();
        assert!(all.len() <= 1, "{name} was taken twice");
        if let Some(value) = form.get(name) {
            assert_eq!(all, [value]);
            assert!(!value.is_empty() && !value.contains('\u{fffd}'));
        }
    }
    if let Ok(input) = Input::decode(&form) {
        let printed = format!("{input:?}");
        for secret in ["code", "refresh_token", "device_code", "code_verifier"] {
            // Unless the same text stands where no secret belongs.
            let public = |value: &str| {
                let places = ["redirect_uri", "resource", "scope"];
                places.iter().flat_map(|name| form.all(name)).any(|text| text.contains(value))
            };
            if let Some(value) = form.get(secret).filter(|value| value.len() > 24 && !public(value)) {
                assert!(!printed.contains(value), "{secret} was printed");
            }
        }
        assert!(input.resources.iter().all(|uri| !uri.contains('#')));
    }
});
