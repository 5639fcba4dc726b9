//! Telling applications that somebody signed out (OpenID Connect Back-Channel Logout 1.0), behind the back of whoever did.

use std::sync::Arc;
use std::time::Duration;

use doorward_core::application::Application;
use doorward_core::ids::{PersonId, SessionId};
use doorward_core::store::Outage;
use doorward_core::time::Lifetime;
use reqwest::Client;
use reqwest::redirect::Policy;
use serde::Serialize;
use tokio::sync::{OnceCell, Semaphore, watch};
use tracing::{info, warn};

use crate::app::App;

/// How long an application may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// When it is tried again, after a try that failed.
const AGAIN_AFTER: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];
/// How many applications are told at once.
const AT_ONCE: usize = 16;
/// How many may wait to be told. An application that does not answer keeps its place for half a minute.
const MOST_WAITING: usize = 2_000;
/// How long a logout token holds (section 2.4 recommends two minutes).
const LIFETIME: Lifetime = Lifetime::from_seconds(120);

/// Tells applications.
pub(crate) struct Backchannel {
    client: OnceCell<Client>,
    at_once: Semaphore,
    waiting: watch::Sender<usize>,
}

/// Somebody signed out of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SignedOut {
    pub(crate) application: Arc<Application>,
    pub(crate) person: PersonId,
    /// What the application knows the browser's session by.
    pub(crate) sid: SessionId,
}

/// The claims of a logout token (section 2.4). It never has a nonce, so that it is no ID token.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
    jti: String,
    events: Events,
    sid: String,
}

#[derive(Serialize)]
struct Events {
    #[serde(rename = "http://schemas.openid.net/event/backchannel-logout")]
    event: Nothing,
}

#[derive(Serialize)]
struct Nothing {}

impl Backchannel {
    pub(crate) fn new() -> Self {
        Self { client: OnceCell::new(), at_once: Semaphore::new(AT_ONCE), waiting: watch::Sender::new(0) }
    }

    /// Waits until nobody is left to be told.
    pub(crate) async fn idle(&self) {
        // The sender is in `self`, so the wait ends with none left.
        let _ = self.waiting.subscribe().wait_for(|waiting| *waiting == 0).await;
    }

    async fn client(&self) -> Result<&Client, reqwest::Error> {
        let build = async || {
            Client::builder()
                .no_proxy()
                .redirect(Policy::none())
                .referer(false)
                .connect_timeout(TIMEOUT)
                .timeout(TIMEOUT)
                .user_agent(concat!("doorward/", env!("CARGO_PKG_VERSION")))
                .build()
        };
        self.client.get_or_try_init(build).await
    }
}

/// Tells an application, if it wants to be told. This returns at once.
pub(crate) fn tell(app: &Arc<App>, signed_out: SignedOut) {
    if signed_out.application.backchannel_logout_uri.is_none() {
        return;
    }
    let waiting = &app.backchannel.waiting;
    if *waiting.borrow() >= MOST_WAITING {
        let application = &signed_out.application.client_id;
        warn!(%application, "too many applications wait to be told of a sign-out: this one is not");
        return;
    }
    waiting.send_modify(|waiting| *waiting += 1);
    let app = Arc::clone(app);
    tokio::spawn(async move {
        let _done = Done(&app.backchannel.waiting);
        keep_telling(&app, &signed_out).await;
    });
}

/// Counts one less, whatever happens.
struct Done<'a>(&'a watch::Sender<usize>);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}

async fn keep_telling(app: &App, signed_out: &SignedOut) {
    let (application, person) = (&signed_out.application.client_id, &signed_out.person);
    let mut pauses = AGAIN_AFTER.into_iter();
    loop {
        let why = match try_to_tell(app, signed_out).await {
            Ok(()) => {
                info!(target: "audit", event = "application_told_of_sign_out", %person, %application);
                return;
            }
            Err(why) => why,
        };
        let Some(pause) = pauses.next() else {
            warn!(target: "audit", event = "application_not_told_of_sign_out", %person, %application, why);
            return;
        };
        tokio::time::sleep(pause).await;
    }
}

/// Tells it once; else why it does not know.
async fn try_to_tell(app: &App, signed_out: &SignedOut) -> Result<(), String> {
    // It is never closed.
    let _permit = app.backchannel.at_once.acquire().await.map_err(|error| error.to_string())?;
    let uri = signed_out.application.backchannel_logout_uri.as_deref().unwrap_or_default();
    let token = logout_token(app, signed_out).await.map_err(|outage| outage.to_string())?;
    let client = app.backchannel.client().await.map_err(|error| error.to_string())?;
    let sent = client.post(uri).form(&[("logout_token", &token)]).send().await;
    // The address is in the directory, and may hold a secret.
    let answer = sent.map_err(|error| error.without_url().to_string())?;
    if answer.status().is_success() { Ok(()) } else { Err(format!("it answered {}", answer.status())) }
}

async fn logout_token(app: &App, signed_out: &SignedOut) -> Result<String, Outage> {
    let SignedOut { application, person, sid } = signed_out;
    let now = app.clock.now();
    let jti: [u8; 16] = app.tokens.draw();
    let claims = Claims {
        iss: app.site.base(),
        sub: person.as_str(),
        aud: application.client_id.as_str(),
        iat: now.seconds(),
        exp: now.plus(LIFETIME).seconds(),
        jti: data_encoding::BASE64URL_NOPAD.encode(&jti),
        events: Events { event: Nothing {} },
        sid: sid.to_string(),
    };
    app.signing.sign_jwt(application.signing_algorithm, "logout+jwt", &claims).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_is_an_empty_object_under_its_name() {
        let events = serde_json::to_value(Events { event: Nothing {} }).unwrap();
        assert_eq!(events, serde_json::json!({"http://schemas.openid.net/event/backchannel-logout": {}}));
    }
}
