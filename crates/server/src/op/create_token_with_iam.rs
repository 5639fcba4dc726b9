//! CreateTokenWithIAM: an AWS principal asks for the tokens of an application that names it. It stands for client
//! authentication; the grants are the same as at the token endpoint.

use axum::http::StatusCode;
use axum::response::Response;
use doorward_core::grant::TokenRequest;
use doorward_core::ids::ApplicationId;
use doorward_core::refusal::Refusal;
use doorward_core::scope::Scopes;
use doorward_core::secret::{self, RefreshToken};
use doorward_core::verdict::Issued;
use doorward_upstream::iam::sigv4::SignatureError;
use doorward_wire::fault::{IamFault, OidcFault, Unservable};
use doorward_wire::oidc::create_token::Grant as Artefact;
use doorward_wire::oidc::create_token_with_iam::{AdditionalDetails, Grant, Input, Output};
use serde::Serialize;

use super::create_token::{Redeemed, redeem_artefact};
use super::{Caller, Failure};
use crate::app::App;
use crate::http::received::Received;
use crate::http::{answer, api};
use crate::iam::{self, Principal, Unknown};
use crate::limits::Call;
use crate::oauth::claims::{AccessToken, Actor, Beside, IdToken};
use crate::oauth::client::Authenticated;
use crate::oauth::exchange::{Exchanged, exchange};
use crate::oauth::jwt_bearer::redeem_assertion;

/// What the model adds to an application's scopes. They decide what is in the answer, and are in no token.
const OF_THE_ANSWER: [&str; 3] = ["aws", IDENTITY_CONTEXT, OPENID];
const IDENTITY_CONTEXT: &str = "sts:identity_context";
const OPENID: &str = "openid";
/// `typ` of an identity context, so that nobody takes it for another token.
const CONTEXT_TYPE: &str = "identity-context+jwt";

/// Why there is no answer.
enum Fault {
    /// The caller's to mend.
    Refused(IamFault),
    /// Ours; the text is for the log.
    Outage(String),
}

impl From<Failure<Refusal>> for Fault {
    fn from(failure: Failure<Refusal>) -> Self {
        match failure {
            Failure::Refused(refusal) => refusal.into(),
            Failure::Outage(what) => Self::Outage(what),
        }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(IamFault::Oidc(OidcFault::Refused(refusal)))
    }
}

impl From<Unservable> for Fault {
    fn from(what: Unservable) -> Self {
        Self::Refused(IamFault::Oidc(OidcFault::Unservable(what)))
    }
}

impl From<Unknown> for Fault {
    fn from(unknown: Unknown) -> Self {
        match unknown {
            Unknown::Signature(why) => Self::Refused(match why {
                SignatureError::Missing => IamFault::NotSigned,
                SignatureError::Incomplete(why) => IamFault::IncompleteSignature(why),
                SignatureError::UnknownKey => IamFault::UnrecognizedClient,
                SignatureError::Wrong(why) => IamFault::InvalidSignature(why),
            }),
            Unknown::Outage(what) => Self::Outage(what),
        }
    }
}

/// `POST /token?aws_iam=t`.
pub(crate) async fn serve(received: Received) -> Response {
    let id = received.id;
    let app = received.app.clone();
    match run(&app, received).await {
        Ok(body) => answer::json(StatusCode::OK, body),
        Err(Fault::Refused(fault)) => answer::iam_fault(&fault),
        Err(Fault::Outage(what)) => {
            answer::log_outage(id, &what);
            answer::iam_fault(&IamFault::Oidc(OidcFault::Internal))
        }
    }
}

async fn run(app: &App, received: Received) -> Result<Vec<u8>, Fault> {
    let Received { caller, parts, body, .. } = received;
    let query: Vec<_> = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).collect();
    let [(_, value)] = &query[..] else {
        return Err(Refusal::InvalidRequest("aws_iam must be there once, and alone".into()).into());
    };
    if value != "t" {
        return Err(Refusal::InvalidRequest("aws_iam must be t".into()).into());
    }
    // The signature covers the body, so nothing of that is looked at before it was read whole and the signature held.
    let body = api::read(body).await?;
    if parts.headers.contains_key(iam::CALLER_IDENTITY) {
        // Before the STS is asked: anybody can make such a header up.
        app.limits.call(Call::Token(caller.address)).map_err(Failure::from)?;
    }
    let principal = match iam::caller(app, &caller, &parts, &body).await {
        Ok(principal) => principal,
        // Ours, however often somebody calls.
        Err(outage @ Unknown::Outage(_)) => return Err(outage.into()),
        Err(unknown) => {
            app.limits.call(Call::Token(caller.address)).map_err(Failure::from)?;
            return Err(unknown.into());
        }
    };
    if principal.region.as_deref().is_some_and(|region| region != app.site.region()) {
        let (endpoint, region) = (app.site.base().to_owned(), app.site.region().to_owned());
        return Err(Fault::Refused(IamFault::OtherRegion { endpoint, region }));
    }
    if !api::is_json(&parts.headers) {
        return Err(Unservable::UnsupportedMediaType.into());
    }
    let input = Input::decode(&body)?;
    let authenticated = application(app, &caller, &principal, &input.client_id).await?;
    let asked = Asked::of(input.scope.as_deref(), &authenticated)?;
    let request = TokenRequest {
        client: &authenticated.client,
        scopes: asked.scopes.clone(),
        now: caller.now,
        lifetimes: &app.policy.lifetimes,
        sources: app.identity.trust(),
        audiences: Vec::new(),
        dpop_key: None,
    };
    let asking =
        Asking { app, caller: &caller, authenticated: &authenticated, asked: &asked, request: &request };
    match &input.grant {
        Grant::Artefact(artefact) => {
            let redeemed = redeem_artefact(app, &caller, &request, artefact).await;
            let redeemed = match redeemed {
                Err(Failure::Refused(Refusal::InvalidRefreshToken)) => {
                    return Err(asking.refused_refresh(artefact).await?.into());
                }
                redeemed => redeemed?,
            };
            let with_id_token = matches!(artefact, Artefact::AuthorizationCode { .. });
            asking.answer(&redeemed, with_id_token, &Made::default()).await
        }
        Grant::JwtBearer(assertion) => {
            let redeemed = redeem_assertion(app, &caller, &request, assertion).await?;
            asking.answer(&redeemed, true, &Made::default()).await
        }
        Grant::TokenExchange(subject_token) => {
            let Exchanged { token, had } = exchange(app, &caller, &request, subject_token, None).await?;
            let asked = asked.within(&had, &authenticated);
            let asking = Asking { asked: &asked, ..asking };
            let access_token = AccessToken::alone(app, &caller, &authenticated, &token).make(app).await;
            let access_token = access_token.map_err(Failure::from)?;
            match token.issued() {
                Some(issued) => {
                    let made = Made { access_token: Some(access_token), actors: token.actors };
                    asking.answer(&Redeemed { issued, nonce: None }, true, &made).await
                }
                None => Ok(asking.encode(&access_token, token.expires_in, &token.scopes, &Extras::default())),
            }
        }
    }
}

/// The application, if the principal may call for it.
async fn application(
    app: &App,
    caller: &Caller,
    principal: &Principal,
    client_id: &str,
) -> Result<Authenticated, Failure<Refusal>> {
    let directory = app.store.directory().await?;
    let id = ApplicationId::parse(client_id).map_err(|_| Refusal::InvalidClient)?;
    let application = directory.application(&id).ok_or(Refusal::InvalidClient)?;
    if !application.is_called_by(&principal.arn) {
        tracing::info!(client_id = %application.client_id, arn = principal.arn, "no caller of CreateTokenWithIAM");
        return Err(Refusal::AccessDenied.into());
    }
    Ok(Authenticated::vouched_for(application, caller.now)?)
}

/// What a request asks for: scopes of the application, and what is in the answer.
struct Asked {
    scopes: Scopes,
    of_the_answer: Vec<&'static str>,
}

impl Asked {
    /// Absent means all that there is (CreateTokenWithIAM, member `scope`).
    fn of(given: Option<&[String]>, authenticated: &Authenticated) -> Result<Self, Refusal> {
        let Some(given) = given.filter(|given| !given.is_empty()) else {
            return Ok(Self { scopes: Scopes::default(), of_the_answer: OF_THE_ANSWER.to_vec() });
        };
        let given = Scopes::parse(given.iter().map(String::as_str))?;
        let registered = &authenticated.client.registration().scopes;
        let scopes = given.filter(|scope| registered.contains(scope) || !OF_THE_ANSWER.contains(&scope));
        // None at all would be all that the application has.
        if scopes.is_empty() {
            return Err(Refusal::InvalidScope);
        }
        let of_the_answer = OF_THE_ANSWER.into_iter().filter(|scope| given.contains(scope)).collect();
        Ok(Self { scopes, of_the_answer })
    }

    /// What there is of that for whoever exchanges a token that could do this: no more of a person than that one had. An
    /// application that may pass for its person gets the identity context all the same.
    fn within(&self, had: &Scopes, authenticated: &Authenticated) -> Self {
        let application = authenticated.client.application();
        let policy = application.and_then(|application| application.token_exchange.as_ref());
        let impersonates = policy.is_some_and(|policy| policy.impersonation);
        let is_left = |scope: &&str| match *scope {
            OPENID => had.contains(OPENID),
            IDENTITY_CONTEXT => impersonates || had.contains(IDENTITY_CONTEXT),
            _ => true,
        };
        let of_the_answer = self.of_the_answer.iter().copied().filter(is_left).collect();
        Self { scopes: self.scopes.clone(), of_the_answer }
    }

    fn wants(&self, scope: &str) -> bool {
        self.of_the_answer.contains(&scope)
    }
}

/// A request whose caller is known.
struct Asking<'a> {
    app: &'a App,
    caller: &'a Caller,
    authenticated: &'a Authenticated,
    asked: &'a Asked,
    request: &'a TokenRequest<'a>,
}

/// What an exchange made already.
#[derive(Default)]
struct Made {
    access_token: Option<secret::AccessToken>,
    /// Who acts for the person, the last one first.
    actors: Vec<String>,
}

/// What may be in an answer beside the access token.
#[derive(Default)]
struct Extras {
    id_token: Option<String>,
    identity_context: Option<String>,
    refresh_token: Option<RefreshToken>,
}

impl Asking<'_> {
    /// The answer to what was redeemed, with an access token that was made already, if it was.
    async fn answer(&self, redeemed: &Redeemed, with_id_token: bool, made: &Made) -> Result<Vec<u8>, Fault> {
        let Self { app, caller, authenticated, .. } = *self;
        let Redeemed { issued, nonce } = redeemed;
        let access_token = if let Some(access_token) = &made.access_token {
            access_token.clone()
        } else {
            let token = AccessToken::of(app, caller, authenticated, self.request, issued).make(app).await;
            token.map_err(Failure::from)?
        };
        let mut extras = Extras::default();
        if self.asked.wants(IDENTITY_CONTEXT) {
            extras.identity_context = Some(self.identity_context(issued, &made.actors).await?);
        }
        if with_id_token && (self.asked.wants(OPENID) || issued.scopes.contains(OPENID)) {
            let beside = Beside {
                nonce: nonce.as_deref(),
                identity_context: extras.identity_context.as_deref(),
                actors: &made.actors,
            };
            let audience = Authenticated { client_id: self.arn().to_owned(), ..authenticated.clone() };
            let id_token = IdToken::make(app, caller, &audience, issued, beside, &access_token).await;
            extras.id_token = Some(id_token?);
        }
        extras.refresh_token =
            issued.refresh_generation.map(|generation| app.tokens.refresh_token(issued.session, generation));
        Ok(self.encode(&access_token, issued.expires_in, &issued.scopes, &extras))
    }

    fn encode(
        &self,
        access_token: &secret::AccessToken,
        expires_in: u32,
        scopes: &Scopes,
        extras: &Extras,
    ) -> Vec<u8> {
        let of_the_answer = self.asked.of_the_answer.iter().copied();
        let mut scope: Vec<&str> = scopes.iter().chain(of_the_answer).collect();
        scope.sort_unstable();
        scope.dedup();
        let context = extras.identity_context.as_deref();
        Output {
            access_token: access_token.reveal(),
            aws_additional_details: context.map(|identity_context| AdditionalDetails { identity_context }),
            expires_in,
            id_token: extras.id_token.as_deref(),
            issued_token_type: Output::issued_token_type(extras.refresh_token.is_some()),
            refresh_token: extras.refresh_token.as_ref().map(RefreshToken::reveal),
            scope,
            token_type: "Bearer",
        }
        .encode()
    }

    /// What the application is called where AWS services read it.
    fn arn(&self) -> &str {
        let arn = self.authenticated.client.application().and_then(|application| application.arn.as_ref());
        arn.map_or(&self.authenticated.client_id, ApplicationId::as_str)
    }

    /// Who the person is, for an STS that asks this server's keys about it.
    async fn identity_context(&self, issued: &Issued, actors: &[String]) -> Result<String, Failure<Refusal>> {
        #[derive(Serialize)]
        struct Context<'a> {
            iss: &'a str,
            sub: &'a str,
            aud: &'a str,
            exp: i64,
            iat: i64,
            client_id: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            act: Option<Actor>,
        }
        let context = Context {
            iss: self.app.site.base(),
            sub: issued.person.as_str(),
            aud: IDENTITY_CONTEXT,
            exp: issued.access_expires_at.seconds(),
            iat: self.caller.now.seconds(),
            client_id: self.arn(),
            act: Actor::of(actors),
        };
        let algorithm = self.authenticated.signing_algorithm();
        Ok(self.app.signing.sign_jwt(algorithm, CONTEXT_TYPE, &context).await?)
    }

    /// Why a refresh token was refused: a client that hears it is over begins again with an assertion, and gives up at
    /// anything else.
    async fn refused_refresh(&self, artefact: &Artefact) -> Result<Refusal, Failure<Refusal>> {
        let Artefact::RefreshToken(token) = artefact else { return Ok(Refusal::InvalidRefreshToken) };
        let Some((session, _)) = self.app.tokens.refresh(token) else {
            return Ok(Refusal::InvalidRefreshToken);
        };
        Ok(match self.app.store.session(session).await? {
            // It was made here, and its session has been forgotten since.
            None => Refusal::ExpiredToken,
            Some(session) => {
                let ours = session.holder.client() == Some(self.authenticated.client.id());
                let over = self.caller.now >= session.expires_at;
                if ours && over { Refusal::ExpiredToken } else { Refusal::InvalidRefreshToken }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use doorward_core::application::Application;
    use doorward_core::time::Timestamp;

    use super::*;

    fn asked(given: Option<&[&str]>) -> Result<(String, Vec<&'static str>), Refusal> {
        let application: Application = crate::config::parse(
            "client_id = 'x'\nname = 'x'\ngrants = ['client_credentials']\nscopes = ['openid', 'a', 'b']\n",
        )
        .unwrap();
        let now = Timestamp::from_seconds(0);
        let authenticated = Authenticated::vouched_for(&Arc::new(application), now).unwrap();
        let given: Option<Vec<String>> = given.map(|given| given.iter().map(|&scope| scope.into()).collect());
        Asked::of(given.as_deref(), &authenticated)
            .map(|asked| (asked.scopes.to_string(), asked.of_the_answer))
    }

    #[test]
    fn no_scope_is_all_of_them_and_some_are_those_alone() {
        let all = (String::new(), OF_THE_ANSWER.to_vec());
        assert_eq!(asked(None), Ok(all.clone()));
        assert_eq!(asked(Some(&[])), Ok(all));
        assert_eq!(asked(Some(&["a", "openid"])), Ok(("a openid".into(), vec!["openid"])));
        assert_eq!(asked(Some(&["a", "aws"])), Ok(("a".into(), vec!["aws"])));
        // What nobody registered is refused where all scopes are.
        assert_eq!(asked(Some(&["a", "c"])), Ok(("a c".into(), vec![])));
        assert_eq!(asked(Some(&["aws", "sts:identity_context"])), Err(Refusal::InvalidScope));
    }
}
