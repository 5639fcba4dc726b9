//! The routing table.

use std::sync::Arc;

use axum::Router;
use axum::routing::{MethodRouter, get, post};
use doorward_wire::oauth::metadata::{
    AUTHORIZATION_SERVER_PATH, CONFIGURATION_PATH, END_SESSION_PATH, INTROSPECTION_PATH, JWKS_PATH,
    PUSHED_AUTHORIZATION_PATH, REVOCATION_PATH, USERINFO_PATH,
};

use super::{api, metadata, trouble};
use crate::app::App;
use crate::{dev, oauth, web};

type Row = (&'static str, MethodRouter<Arc<App>>);

/// The routes of a server.
pub(super) struct Routes {
    pub(super) router: Router,
    /// The paths in it, for the log.
    pub(super) paths: Arc<[&'static str]>,
}

/// What every server has.
fn common() -> Vec<Row> {
    vec![
        // sso-oidc
        ("/client/register", post(api::register_client)),
        // sso-oidc and OAuth: the content type decides
        ("/device_authorization", post(api::start_device_authorization).options(oauth::preflight)),
        ("/token", post(api::create_token).options(oauth::preflight)),
        // OAuth and OpenID Connect
        (PUSHED_AUTHORIZATION_PATH, post(web::par::push).options(oauth::preflight)),
        (INTROSPECTION_PATH, post(oauth::introspect::tell)),
        (REVOCATION_PATH, post(oauth::revoke::end).options(oauth::preflight)),
        (USERINFO_PATH, get(oauth::userinfo::show).post(oauth::userinfo::show).options(oauth::preflight)),
        // sso
        ("/federation/credentials", get(api::get_role_credentials)),
        ("/assignment/accounts", get(api::list_accounts)),
        ("/assignment/roles", get(api::list_account_roles)),
        ("/logout", post(api::logout)),
        // For those who verify what this server signs
        (CONFIGURATION_PATH, get(metadata::configuration)),
        (AUTHORIZATION_SERVER_PATH, get(metadata::configuration)),
        (JWKS_PATH, get(metadata::key_set)),
        // Pages
        ("/authorize", get(web::authorize::show).post(web::authorize::show)),
        ("/authorize/resume", get(web::authorize::resume)),
        ("/authorize/decision", post(web::authorize::decide)),
        (END_SESSION_PATH, get(web::logout::show).post(web::logout::show)),
        ("/oauth/logout/resume", get(web::logout::resume)),
        ("/oauth/logout/decision", post(web::logout::decide)),
        ("/device", get(web::device::show).post(web::device::look_up)),
        ("/device/decision", post(web::device::decide)),
        ("/sign-in", get(web::sign_in::show).post(web::sign_in::sign_in)),
        ("/sign-out", post(web::sign_in::sign_out)),
        ("/start", get(web::start::show)),
        ("/start/credentials", get(web::start::credentials)),
        ("/start/applications/withdraw", post(web::applications::withdraw)),
        ("/start/sessions/end", post(web::start::end_session)),
        ("/healthz", get(api::health)),
    ]
}

/// What a production server has beside that.
fn production() -> Vec<Row> {
    vec![("/", get(web::root))]
}

/// What a development server has beside that.
fn development() -> Vec<Row> {
    vec![
        ("/", get(web::root).post(dev::sts::get_caller_identity)),
        ("/dev/clock", get(dev::clock).post(dev::advance_clock)),
        ("/dev/faults", post(dev::set_faults)),
    ]
}

impl Routes {
    pub(super) fn of(app: &Arc<App>) -> Self {
        let special = if app.development.is_some() { development() } else { production() };
        let rows: Vec<Row> = common().into_iter().chain(special).collect();
        let paths = rows.iter().map(|(path, _)| *path).collect();
        let mut router = Router::new();
        for (path, methods) in rows {
            router = router.route(path, methods.fallback(trouble::wrong_method));
        }
        let router = router
            .route("/sign-in/{source}", post(web::source::begin).fallback(trouble::wrong_method))
            .route("/sign-in/{source}/callback", get(web::source::come_back).fallback(trouble::wrong_method))
            // Browsers are shown the start URL with a slash at its end, too.
            .route("/start/", get(web::start::show).fallback(trouble::wrong_method))
            .route("/assets/{name}", get(web::asset).fallback(trouble::wrong_method))
            .fallback(trouble::not_found)
            .with_state(Arc::clone(app));
        Self { router, paths }
    }
}
