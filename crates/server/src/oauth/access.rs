//! Access tokens as they come back: whether one is good at this moment. It may have been revoked, its session may have ended,
//! its person may be disabled, and its application gone.

use std::sync::Arc;

use doorward_core::application::Application;
use doorward_core::assignment::{Principal, Standing};
use doorward_core::directory::Directory;
use doorward_core::ids::{ApplicationId, ClientId, OnceId, SessionId};
use doorward_core::scope::Scopes;
use doorward_core::secret::AccessToken;
use doorward_core::session::Session;
use doorward_core::store::Outage;
use doorward_core::time::Timestamp;

use super::claims::{self, AccessClaims, Audience};
use super::once::{Purpose, once_id};
use crate::app::App;
use crate::op::Caller;
use crate::tokens::Access;

/// The longest token that is looked at, in bytes.
const LONGEST_TOKEN: usize = 16 * 1024;

/// An access token that is good.
pub(crate) struct Good {
    /// The client that it was given to.
    pub(crate) client: ClientId,
    /// The `client_id` of that; none of a registered tool whose token does not say.
    pub(crate) client_id: Option<String>,
    /// The person, who passed the gate; none when an application acts for itself.
    pub(crate) principal: Option<Principal>,
    /// The session that it dies with; none when an application acts for itself.
    pub(crate) session: Option<SessionId>,
    /// Whom it is about.
    pub(crate) subject: String,
    /// What it may do.
    pub(crate) scopes: Scopes,
    /// Whom it is for.
    pub(crate) audience: Audience,
    /// When it expires.
    pub(crate) expires_at: Timestamp,
    /// The thumbprint of the key that it is bound to, as base64url.
    pub(crate) key: Option<String>,
    /// What else it says, if it is one that applications read.
    pub(crate) claims: Option<AccessClaims>,
}

/// What a token stands for, if it is an access token of this server and good.
///
/// # Errors
/// [`Outage`] when the store fails, or the person's identity source should have been asked and cannot be.
pub(crate) async fn good(app: &App, caller: &Caller, token: &str) -> Result<Option<Good>, Outage> {
    if token.len() > LONGEST_TOKEN {
        return Ok(None);
    }
    if let Some(access) = app.tokens.access(&AccessToken::new(token)) {
        return of_portal(app, caller, access).await;
    }
    let Some(claims) = claims::read(app, caller, token).await? else { return Ok(None) };
    if app.store.used(revocation(&claims)).await? {
        return Ok(None);
    }
    match claims.session() {
        Some(session) => of_session(app, caller, session, claims).await,
        None if claims.sid.is_none() => of_application(app, claims).await,
        None => Ok(None),
    }
}

/// By which it is remembered that a token was revoked.
pub(super) fn revocation(claims: &AccessClaims) -> OnceId {
    once_id(Purpose::Revocation, claims.client_id.as_bytes(), &claims.jti)
}

/// A token for the portal.
async fn of_portal(app: &App, caller: &Caller, access: Access) -> Result<Option<Good>, Outage> {
    if caller.now >= access.expires_at {
        return Ok(None);
    }
    let Some((session, holder, principal)) = live(app, caller, access.session).await? else {
        return Ok(None);
    };
    let client_id = principal.directory().application_of(holder).map(|it| it.client_id.as_str().to_owned());
    Ok(Some(Good {
        client: holder,
        client_id,
        session: Some(session.id),
        subject: session.person.as_str().to_owned(),
        principal: Some(principal),
        scopes: access.scopes,
        audience: Audience::of(vec![app.site.base().to_owned()]),
        expires_at: access.expires_at,
        key: None,
        claims: None,
    }))
}

/// A token for applications that came from a session: of the client that holds it, or of one that exchanged a token of that.
async fn of_session(
    app: &App,
    caller: &Caller,
    session: SessionId,
    claims: AccessClaims,
) -> Result<Option<Good>, Outage> {
    let Some((session, holder, principal)) = live(app, caller, session).await? else { return Ok(None) };
    if session.person.as_str() != claims.sub {
        return Ok(None);
    }
    let Some(client) = client(app, principal.directory(), &claims.client_id) else { return Ok(None) };
    if client != holder {
        let exchanged = principal.directory().application_of(client);
        if !exchanged.is_some_and(|application| admits(application, &principal)) {
            return Ok(None);
        }
    }
    Ok(Some(Good { principal: Some(principal), session: Some(session.id), ..Good::of(client, claims) }))
}

/// A token that an application got for itself, or that another one exchanged for such a one.
async fn of_application(app: &App, claims: AccessClaims) -> Result<Option<Good>, Outage> {
    let directory = app.store.directory().await?;
    let subject = application(&directory, &claims.sub);
    let client = subject.and_then(|_| application(&directory, &claims.client_id));
    Ok(client.map(|client| Good::of(client, claims)))
}

impl Good {
    fn of(client: ClientId, claims: AccessClaims) -> Self {
        Self {
            client,
            client_id: Some(claims.client_id.clone()),
            principal: None,
            session: None,
            subject: claims.sub.clone(),
            scopes: claims.scopes(),
            audience: claims.aud.clone(),
            expires_at: claims.expires_at(),
            key: claims.cnf.as_ref().map(|cnf| cnf.jkt.clone()),
            claims: Some(claims),
        }
    }
}

/// A session that a client holds, if it is live and its person and its application are still what they were.
pub(super) async fn live(
    app: &App,
    caller: &Caller,
    session: SessionId,
) -> Result<Option<(Session, ClientId, Principal)>, Outage> {
    let session = app.store.session(session).await?.filter(|session| session.is_live(caller.now));
    let Some(session) = session else { return Ok(None) };
    let Some(holder) = session.holder.client() else { return Ok(None) };
    app.identity.recheck(&session.person, caller).await?;
    let standing = Standing::load(&*app.store, app.identity.trust(), Some(&session.person)).await?;
    let principal = standing.principal(&session.person, session.authenticated_at, caller.now);
    Ok(principal
        .filter(|principal| is_still_held(&session, holder, principal))
        .map(|principal| (session, holder, principal)))
}

/// Whether the application that holds a session, if it is one, is there, is for the person, and stands by it.
pub(crate) fn is_still_held(session: &Session, holder: ClientId, principal: &Principal) -> bool {
    match principal.directory().application_of(holder) {
        Some(application) => {
            admits(application, principal) && application.stands_by(session.terms.as_deref())
        }
        // A registered tool's session has no terms: one that does is that of an application that was removed.
        None => session.terms.is_none(),
    }
}

fn admits(application: &Arc<Application>, principal: &Principal) -> bool {
    application.admits(principal.id(), principal.groups())
}

/// The client that a token names, unless it was removed.
fn client(app: &App, directory: &Directory, client_id: &str) -> Option<ClientId> {
    application(directory, client_id).or_else(|| app.tokens.registration(client_id).map(|tool| tool.id))
}

fn application(directory: &Directory, client_id: &str) -> Option<ClientId> {
    let client = ClientId::of_application(&ApplicationId::parse(client_id).ok()?);
    directory.application_of(client).map(|_| client)
}
