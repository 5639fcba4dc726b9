//! What happened, for the operator's records: written after the commit, so that it never tells of something that did
//! not happen. Names and ids only; no token, code, secret or address of a page ever comes here.

use std::net::IpAddr;

use doorward_core::verdict::Event;
use tracing::{debug, info, warn};

/// Records an event.
pub(crate) fn record(event: Option<&Event>, address: IpAddr) {
    let Some(event) = event else { return };
    match event {
        Event::DeviceApproved { request, person } => {
            info!(target: "audit", event = "device_approved", %request, %person, %address);
        }
        Event::DeviceDenied { request, person } => {
            info!(target: "audit", event = "device_denied", %request, %person, %address);
        }
        Event::SignedIn { session, person } => {
            info!(target: "audit", event = "signed_in", %session, %person, %address);
        }
        Event::SessionStarted { session, person, grant, client } => {
            // Quoted: its owner chose the name.
            info!(target: "audit", event = "session_started", %session, %person, grant, ?client, %address);
        }
        // The one event that every running tool causes every hour.
        Event::Refreshed { session, generation } => {
            debug!(target: "audit", event = "refreshed", %session, generation, %address);
        }
        Event::StoreWasBehind { session, stored, presented } => {
            warn!(
                target: "audit", event = "store_was_behind", %session, stored, presented, %address,
                "an authentic refresh token is newer than the store: was it restored from a backup?"
            );
        }
        Event::SessionEnded { session, person, why } => {
            info!(target: "audit", event = "session_ended", %session, %person, why = why.as_str(), %address);
        }
    }
}
