//! What happened, for the operator's records: written after the commit, so that it never tells of something that did
//! not happen. Names and ids only; no token, code, secret or address of a page ever comes here.

use std::net::IpAddr;

use doorward_core::directory::{Assignee, Counts, Plan, Single};
use doorward_core::ids::SourceName;
use doorward_core::signing_key::SigningKey;
use doorward_core::verdict::Event;
use serde_json::Value;
use tracing::{debug, info, warn};

use crate::directory_changes::{Action, EntryChange, Kind, entry_changes};

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
        Event::SignedIn { session, person, source } => {
            let source = source.as_ref().map(SourceName::as_str);
            info!(target: "audit", event = "signed_in", %session, %person, source, %address);
        }
        Event::PersonGone { person, source } => {
            info!(target: "audit", event = "person_gone", %person, %source, %address);
        }
        Event::ConsentGiven { person, application } => {
            info!(target: "audit", event = "consent_given", %person, %application, %address);
        }
        Event::ConsentWithdrawn { person, application } => {
            info!(target: "audit", event = "consent_withdrawn", %person, %application, %address);
        }
        Event::SessionStarted { session, person, grant, client } => {
            // Quoted: its owner chose the name.
            info!(target: "audit", event = "session_started", %session, %person, grant, ?client, %address);
        }
        Event::ActedForItself { application } => {
            info!(target: "audit", event = "acted_for_itself", %application, %address);
        }
        Event::TokenExchanged { application, from, subject, session, audiences } => {
            let session = session.map(|session| session.to_string());
            info!(target: "audit", event = "token_exchanged", %application, %from, %subject, session, ?audiences, %address);
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

/// Records a signing key that others may verify with from now on, in this version of the keys.
pub(crate) fn signing_key_made(key: &SigningKey, version: u64) {
    let SigningKey { id, algorithm, signs_from, .. } = key;
    let signs_from = signs_from.seconds();
    info!(target: "audit", event = "signing_key_made", kid = id, %algorithm, signs_from, version);
}

/// Records a signing key that nobody may verify with any more, in this version of the keys.
pub(crate) fn signing_key_removed(key: &SigningKey, why: &'static str, version: u64) {
    let SigningKey { id, algorithm, .. } = key;
    info!(target: "audit", event = "signing_key_removed", kid = id, %algorithm, why, version);
}

/// Records that a plan was carried out, which made the directory of this version: each change by itself.
///
/// # Errors
/// Never: every entry can be written as JSON.
pub(crate) fn directory_changed(plan: &Plan<'_>, version: u64) -> serde_json::Result<()> {
    let Counts { added, changed, removed } = plan.counts();
    info!(version, added, changed, removed, "the directory was replaced");
    for change in entry_changes(plan)? {
        entry_changed(&change, version);
    }
    for (event, singles) in [("assignment_added", &plan.assigned), ("assignment_removed", &plan.unassigned)] {
        for Single { assignee, account, permission_set } in singles {
            let (group, person) = match assignee {
                Assignee::Group(group) => (Some(group.as_str()), None),
                Assignee::Person(person) => (None, Some(person.as_str())),
            };
            info!(target: "audit", event, group, person, %account, %permission_set, version);
        }
    }
    Ok(())
}

fn entry_changed(change: &EntryChange<'_>, version: u64) {
    let named = |kind| (change.kind == kind).then_some(change.name);
    let (person, group) = (named(Kind::Person), named(Kind::Group));
    let (account, permission_set) = (named(Kind::Account), named(Kind::PermissionSet));
    let (scope, application) = (named(Kind::Scope), named(Kind::Application));
    let kind = change.kind.as_str();
    match change.action {
        Action::Add => {
            let event = format!("{kind}_added");
            info!(target: "audit", event, person, group, account, permission_set, scope, application, version);
        }
        Action::Remove => {
            let event = format!("{kind}_removed");
            info!(target: "audit", event, person, group, account, permission_set, scope, application, version);
        }
        Action::Change => {
            let event = format!("{kind}_changed");
            for member in &change.members {
                let [from, to] = [&member.from, &member.to].map(|value| value.as_ref().map(Value::to_string));
                let (event, secret, member) = (&event, member.secret, member.member.as_str());
                info!(
                    target: "audit", event, person, group, account, permission_set, scope, application, member, from,
                    to, secret, version
                );
            }
        }
    }
    for (event, people) in [("member_joined", &change.joined), ("member_left", &change.left)] {
        for person in people {
            info!(target: "audit", event, group, %person, version);
        }
    }
}
