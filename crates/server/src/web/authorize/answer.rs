//! The way back to the client.

use axum::http::StatusCode;
use axum::response::Response;
use doorward_wire::oauth::authorization::AuthorizationFault;

use crate::app::App;
use crate::web::redirect;

/// Where the answer goes: to a redirect URI of the client's, which was found to be one, with `state` as it came.
#[derive(Clone, Copy)]
pub(crate) struct Destination<'a> {
    pub(crate) redirect_uri: &'a str,
    pub(crate) state: Option<&'a str>,
}

impl Destination<'_> {
    /// Sends the browser there with a code.
    pub(super) fn send_code(self, app: &App, code: &str) -> Response {
        self.send(app, &[("code", code)])
    }

    /// Sends the browser there without one.
    pub(super) fn send_error(self, app: &App, fault: &AuthorizationFault) -> Response {
        self.send(app, &[("error", fault.error()), ("error_description", &fault.description())])
    }

    /// Every answer says whose it is (RFC 9207), so that a client of several servers sends a code to no other one.
    fn send(self, app: &App, answer: &[(&str, &str)]) -> Response {
        redirect(StatusCode::FOUND, &self.address(app.site.base(), answer))
    }

    fn address(self, issuer: &str, answer: &[(&str, &str)]) -> String {
        let Self { redirect_uri, state } = self;
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(answer);
        if let Some(state) = state {
            query.append_pair("state", state);
        }
        query.append_pair("iss", issuer);
        with_query(redirect_uri, &query.finish())
    }
}

/// `address` with more of a query.
pub(crate) fn with_query(address: &str, query: &str) -> String {
    let separator = if address.contains('?') { '&' } else { '?' };
    format!("{address}{separator}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    // Holds: openid-connect-core-3.1.2.5-code-and-state, rfc9700-4.7.1-state-returned
    #[test]
    fn the_answer_keeps_the_redirect_uri_and_the_state_to_the_letter() {
        let location = |redirect_uri: &str, state: &str| {
            let destination = Destination { redirect_uri, state: Some(state) };
            destination.address("https://sso.example", &[("code", "c+/=")])
        };
        assert_eq!(
            location("http://127.0.0.1:5/oauth/callback", "a b&c=d"),
            "http://127.0.0.1:5/oauth/callback?code=c%2B%2F%3D&state=a+b%26c%3Dd&iss=https%3A%2F%2Fsso.example"
        );
        assert_eq!(
            location("http://127.0.0.1:5/?x=1", "s"),
            "http://127.0.0.1:5/?x=1&code=c%2B%2F%3D&state=s&iss=https%3A%2F%2Fsso.example"
        );
    }
}
