//! stub
use crate::app::App;
use crate::op::{Caller, Failure};
use axum::http::HeaderMap;
use axum::response::Response;
use doorward_core::refusal::Refusal;
use doorward_core::secret::KeyThumbprint;
pub(crate) const HEADER: &str = "dpop";
pub(crate) fn offer_nonce(_: &App, _: &Caller, _: &mut Response) {}
pub(crate) async fn proof(
    _: &App,
    _: &Caller,
    _: &HeaderMap,
    _: &str,
    _: &str,
    _: Option<&str>,
) -> Result<Option<KeyThumbprint>, Failure<Refusal>> {
    Ok(None)
}
