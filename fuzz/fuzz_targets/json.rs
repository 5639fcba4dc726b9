//! The JSON bodies of sso-oidc's operations: each is read or refused, and a refusal repeats nothing of the body's values.

#![no_main]

use doorward_core::client::{RegistrationPolicy, RegistrationRequest};
use doorward_core::ids::ClientId;
use doorward_core::refusal::Refusal;
use doorward_core::time::{Lifetime, Timestamp};
use doorward_wire::oidc::{create_token, register_client, start_device_authorization};
use libfuzzer_sys::fuzz_target;

fn quiet(refusal: &Refusal) {
    if let Refusal::InvalidRequest(why) = refusal {
        assert!(why.len() < 200 && why.is_ascii(), "{why}");
    }
}

fuzz_target!(|data: &[u8]| {
    if let Err(refusal) = create_token::Input::decode(data) {
        quiet(&refusal);
    }
    if let Err(refusal) = start_device_authorization::Input::decode(data) {
        quiet(&refusal);
    }
    let input = match register_client::Input::decode(data) {
        Ok(input) => input,
        Err(refusal) => return quiet(&refusal),
    };
    let policy =
        RegistrationPolicy { redirect_uris: Vec::new(), scopes: None, lifetime: Lifetime::from_seconds(60) };
    let request = RegistrationRequest {
        name: &input.client_name,
        kind: &input.client_type,
        scopes: &input.scopes,
        redirect_uris: &input.redirect_uris,
        grants: input.grant_types.as_deref(),
    };
    let (id, now) = (ClientId::from_bytes([0; 16]), Timestamp::from_seconds(0));
    if let Ok(registration) = policy.register(&request, id, now) {
        assert!(registration.application.is_none());
        assert!(registration.redirect_uris.iter().all(|uri| uri.as_str().starts_with("http://127.0.0.1")));
        assert!(registration.scopes.iter().all(|scope| !scope.is_empty()));
    }
});
