//! The routing table.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;

use super::{api, envelope};
use crate::app::App;
use crate::{dev, web};

/// Every route of the server.
pub fn router(app: &Arc<App>) -> Router {
    let mut router = Router::new()
        // sso-oidc
        .route("/client/register", post(api::register_client).fallback(api::wrong_oidc_method))
        .route(
            "/device_authorization",
            post(api::start_device_authorization).fallback(api::wrong_oidc_method),
        )
        .route("/token", post(api::create_token).fallback(api::wrong_oidc_method))
        // sso
        .route("/federation/credentials", get(api::get_role_credentials).fallback(api::wrong_portal_method))
        .route("/assignment/accounts", get(api::list_accounts).fallback(api::wrong_portal_method))
        .route("/assignment/roles", get(api::list_account_roles).fallback(api::wrong_portal_method))
        .route("/logout", post(api::logout).fallback(api::wrong_portal_method))
        // Pages
        .route("/authorize", get(web::authorize::show).fallback(web::wrong_method))
        .route("/authorize/decision", post(web::authorize::decide).fallback(web::wrong_method))
        .route("/device", get(web::device::show).post(web::device::look_up).fallback(web::wrong_method))
        .route("/device/decision", post(web::device::decide).fallback(web::wrong_method))
        .route("/sign-in", get(web::sign_in::show).post(web::sign_in::sign_in).fallback(web::wrong_method))
        .route("/sign-out", post(web::sign_in::sign_out).fallback(web::wrong_method))
        .route("/start", get(web::start::show).fallback(web::wrong_method))
        .route("/start/", get(web::start::show).fallback(web::wrong_method))
        .route("/start/credentials", get(web::start::credentials).fallback(web::wrong_method))
        .route("/start/sessions/end", post(web::start::end_session).fallback(web::wrong_method))
        .route("/assets/{name}", get(web::asset).fallback(web::wrong_method))
        .route("/healthz", get(api::health).fallback(api::wrong_oidc_method));
    router = if app.development.is_some() {
        router
            .route("/", get(web::root).post(dev::sts::get_caller_identity).fallback(web::wrong_method))
            .route("/dev/clock", get(dev::clock).post(dev::advance_clock).fallback(api::wrong_oidc_method))
            .route("/dev/faults", post(dev::set_faults).fallback(api::wrong_oidc_method))
    } else {
        router.route("/", get(web::root).fallback(web::wrong_method))
    };
    router
        .fallback(web::not_found)
        .layer(CatchPanicLayer::custom(api::panicked))
        .layer(from_fn_with_state(Arc::clone(app), envelope::envelope))
        .with_state(Arc::clone(app))
}
