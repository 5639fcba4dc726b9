//! The portal page: what a person may use, and the tools signed in as them.

use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use doorward_core::assignment::Principal;
use doorward_core::credentials::{BrokerError, BrokerStep, RoleCredentials};
use doorward_core::directory::{Account, PermissionSet};
use doorward_core::ids::{AccountId, RoleName, SessionId};
use doorward_core::session::Holder;
use tracing::field::display;
use tracing::info;

use super::page::{self, AccountCard, Pages, Portal, RoleLine, SessionLine};
use super::visit::{Browser, Visit};
use super::{Notice, Page, Stop, applications, ending, html, moment, redirect, see_other, serve};
use crate::app::App;
use crate::http::received::Received;
use crate::limits::Call;
use crate::op::Caller;
use crate::op::role::Role;
use crate::setup;

const MOST_SESSIONS: usize = 500;
/// The longest filter, in characters.
const LONGEST_FILTER: usize = 100;

/// `GET /start?q=&page=`, and the `HEAD` by which the AWS CLI finds out whose start URL this is.
pub(crate) async fn show(received: Received) -> Response {
    if let Some(target) = received.app.site.start_url_redirect()
        && (received.parts.method == Method::HEAD || is_cli(received.headers()))
    {
        return redirect(StatusCode::FOUND, target);
    }
    serve(received, async |page, _| {
        let Page { app, caller, visit, .. } = page;
        let browser = page.signed_in()?;
        let filter = page.parameter("q").unwrap_or_default();
        let filter: String = filter.trim().chars().take(LONGEST_FILTER).collect();
        let number = page.parameter("page").and_then(|number| number.parse().ok()).unwrap_or(1);
        let (accounts, pages) = account_cards(&browser.principal, &filter, number);
        let template = Portal {
            chrome: visit.chrome(app),
            setup: setup_of(app, &browser.principal),
            sessions: session_lines(app, caller, browser).await?,
            applications: applications::lines(page, browser).await?,
            accounts,
            pages,
            filter,
        };
        Ok(html(app, StatusCode::OK, &template, None))
    })
    .await
}

fn is_cli(headers: &HeaderMap) -> bool {
    headers.get("user-agent").is_some_and(|agent| agent.as_bytes().starts_with(b"Python-urllib/"))
}

/// The accounts of one page of those that match, by name; what is said and where one can go from there is [`Pages`].
fn account_cards(principal: &Principal, filter: &str, page: usize) -> (Vec<AccountCard>, Pages) {
    let needle = filter.to_lowercase();
    let holds = |text: &str| text.to_lowercase().contains(&needle);
    let matching = |account: &'_ Account| {
        let whole = holds(&account.name) || holds(account.id.as_str());
        let mut roles = principal.roles(&account.id);
        roles.retain(|role| whole || holds(role.name.as_str()));
        roles
    };
    let mut accounts: Vec<(&Account, Vec<&PermissionSet>)> =
        principal.accounts().into_iter().map(|account| (account, matching(account))).collect();
    accounts.retain(|(_, roles)| !roles.is_empty());
    accounts.sort_by_key(|(account, _)| (&account.name, &account.id));
    let pages = Pages::new(accounts.len(), page, |page| accounts_href(filter, page));
    let shown = accounts.into_iter().skip(pages.first - 1).take(Pages::LENGTH);
    (shown.map(|(account, roles)| card(account, &roles)).collect(), pages)
}

fn accounts_href(filter: &str, page: usize) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if !filter.is_empty() {
        query.append_pair("q", filter);
    }
    format!("/start?{}", query.append_pair("page", &page.to_string()).finish())
}

fn card(account: &Account, roles: &[&PermissionSet]) -> AccountCard {
    let line = |role: &&PermissionSet| RoleLine {
        name: role.name.to_string(),
        description: role.description.clone(),
        href: credentials_href(&account.id, &role.name),
        relay_state: role.relay_state.clone(),
    };
    AccountCard {
        id: account.id.to_string(),
        name: account.name.clone(),
        email: account.email.clone(),
        roles: roles.iter().map(line).collect(),
    }
}

fn credentials_href(account: &AccountId, role: &RoleName) -> String {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("account_id", account.as_str())
        .append_pair("role_name", role.as_str())
        .finish();
    format!("/start/credentials?{query}")
}

fn setup_of(app: &App, principal: &Principal) -> String {
    let (account, role) = setup::first_role(Some(principal));
    setup::config_file(&app.site, &account, &role, app.development.is_some())
}

async fn session_lines(app: &App, caller: &Caller, browser: &Browser) -> Result<Vec<SessionLine>, Stop> {
    let sessions = app.store.sessions_of(&browser.session.person, caller.now, MOST_SESSIONS).await?;
    let theirs =
        sessions.into_iter().filter(|session| browser.principal.owns(session.authenticated_at, caller.now));
    let line = |session: doorward_core::session::Session| match session.holder {
        Holder::Browser => None,
        Holder::Client { name, .. } => Some(SessionLine {
            id: session.id.to_string(),
            client_name: name,
            scopes: session.scopes.to_string(),
            started: moment(session.created_at),
            last_used: moment(session.rotated_at),
            expires: moment(session.expires_at),
        }),
    };
    Ok(theirs.filter_map(line).collect())
}

/// `GET /start/credentials?account_id=&role_name=`.
pub(crate) async fn credentials(received: Received) -> Response {
    serve(received, async |page, _| {
        let Page { app, caller, visit, .. } = page;
        let browser = page.signed_in()?;
        if app.limits.call(Call::Portal(browser.session.id)).is_err() {
            let notice = Notice::failed("Too many requests", "Wait a minute, then try again.");
            return Err(Stop::Page(
                StatusCode::TOO_MANY_REQUESTS,
                notice.leading_to("/start", "Go to your access"),
            ));
        }
        let principal = &browser.principal;
        let parameter = |name| page.parameter(name).unwrap_or_default();
        let asked = (AccountId::parse(&*parameter("account_id")), RoleName::parse(&*parameter("role_name")));
        let assigned = match &asked {
            (Ok(account), Ok(role)) => Role::assigned(principal, account, role),
            _ => None,
        };
        let Some(role) = assigned else {
            let (person, address) = (principal.id(), caller.address);
            let (account, role) = (asked.0.ok().map(display), asked.1.ok().map(display));
            info!(target: "audit", event = "role_not_assigned", %person, account, role, %address);
            let notice = Notice::failed(
                "You do not have that role",
                "It is not assigned to you, or no longer. Your access page shows what is.",
            );
            return Err(Stop::Page(StatusCode::FORBIDDEN, notice.leading_to("/start", "Go to your access")));
        };
        match role.credentials(app, caller).await {
            Ok(credentials) => Ok(show_credentials(app, visit, &role, &credentials)),
            Err(error) => Err(no_credentials(&error)),
        }
    })
    .await
}

/// Which step decided, in words for the person: what it was decided on is the operator's.
fn no_credentials(error: &BrokerError) -> Stop {
    let step = match error.step {
        BrokerStep::Configuration => "This server does not know how to get credentials for this role.",
        BrokerStep::OwnCredentials => "This server’s own way into the account does not work.",
        BrokerStep::Token => "This server could not say to the account’s service who you are.",
        BrokerStep::Network => "The account’s service could not be reached.",
        BrokerStep::Circuit => {
            "The account’s service has failed many times in a row. It is tried again in a moment."
        }
        BrokerStep::Issuer => "The account’s service does not accept this server’s signature.",
        BrokerStep::Audience => "The account’s service does not know this server by the name it was given.",
        BrokerStep::Time => "The clocks of this server and of the account’s service differ.",
        BrokerStep::Role => "The role is not there in the account.",
        BrokerStep::Trust => "The role’s trust policy does not let you in.",
        BrokerStep::Session => "The account’s service does not accept how this role is to be used.",
        BrokerStep::Answer => "The account’s service answered something that makes no sense.",
    };
    let (title, ask) = if error.denied {
        ("The account refused this role", "Ask the people who run this server.")
    } else {
        (
            "There are no credentials for this role now",
            "Try again, or tell the people who run this server the reference below.",
        )
    };
    let text = format!("It is assigned to you here, but you cannot use it. {step} {ask}");
    let notice = Notice::failed(title, text).leading_to("/start", "Go to your access");
    if error.denied {
        Stop::Page(StatusCode::FORBIDDEN, notice)
    } else {
        Stop::Failed(error.to_string(), notice)
    }
}

fn show_credentials(app: &App, visit: &Visit, role: &Role<'_>, credentials: &RoleCredentials) -> Response {
    let (key, secret, token) = (
        credentials.access_key_id.as_str(),
        credentials.secret_access_key.reveal(),
        credentials.session_token.reveal(),
    );
    let template = page::RoleCredentials {
        chrome: visit.chrome(app),
        account_id: role.account.id.to_string(),
        account_name: role.account.name.clone(),
        role_name: role.set.name.to_string(),
        expires: moment(credentials.expires_at),
        environment: format!(
            "export AWS_ACCESS_KEY_ID=\"{key}\"\nexport AWS_SECRET_ACCESS_KEY=\"{secret}\"\nexport AWS_SESSION_TOKEN=\"{token}\"\n"
        ),
        profile: format!(
            "[{}_{}]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\naws_session_token = {token}\n",
            role.account.id, role.set.name
        ),
        powershell: format!(
            "$Env:AWS_ACCESS_KEY_ID=\"{key}\"\n$Env:AWS_SECRET_ACCESS_KEY=\"{secret}\"\n$Env:AWS_SESSION_TOKEN=\"{token}\"\n"
        ),
    };
    html(app, StatusCode::OK, &template, None)
}

/// `POST /start/sessions/end`.
pub(crate) async fn end_session(received: Received) -> Response {
    serve(received, async |page, body| {
        let browser = page.signed_in()?;
        let posted = page.form(body).await?;
        if let Ok(session) = posted.get("session").parse::<SessionId>() {
            ending::end(page, browser, session).await?;
        }
        Ok(see_other("/start"))
    })
    .await
}
