//! Device requests: reads, guards, counts and the sweep.

use std::sync::Arc;

use doorward_core::device::{DeviceState, Requester};
use doorward_core::scope::Scopes;
use doorward_core::store::{KeptRequests, Store};
use doorward_core::time::{Lifetime, Timestamp};
use doorward_core::verdict::Change;

use super::fixtures::{
    address, approved, commit, conflicts, device_request, later, move_request, open_request, person,
    request_id, start, stored_request, user_code,
};

pub(super) async fn rules(open: &impl AsyncFn() -> Arc<dyn Store>) {
    a_request_is_found_by_id_and_by_code(&open().await).await;
    a_request_comes_back_whole(&open().await).await;
    neither_id_nor_code_is_taken_twice(&open().await).await;
    a_request_moves_only_from_the_state_it_is_in(&open().await).await;
    approval_by_somebody_else_or_at_another_time_is_another_state(&open().await).await;
    kept_requests_are_counted_until_swept(&open().await).await;
    a_request_is_known_for_ten_minutes_after_it_expired(&open().await).await;
    what_was_swept_is_free_again(&open().await).await;
}

async fn a_request_is_found_by_id_and_by_code(store: &Arc<dyn Store>) {
    assert_eq!(store.device_request(request_id(1)).await, Ok(None));
    assert_eq!(store.device_request_by_code(user_code(1)).await, Ok(None));
    commit(store, [open_request(1), open_request(2)]).await;
    for n in [1, 2] {
        assert_eq!(store.device_request(request_id(n)).await, Ok(Some(device_request(n))));
        assert_eq!(store.device_request_by_code(user_code(n)).await, Ok(Some(device_request(n))));
    }
    assert_eq!(store.device_request(request_id(3)).await, Ok(None));
}

async fn a_request_comes_back_whole(store: &Arc<dyn Store>) {
    let mut request = device_request(1);
    request.scopes = Scopes::default();
    request.requester = Requester { address: "2001:db8::1".parse().unwrap(), user_agent: None };
    request.client_name = "'; -- \u{0} ☃".into();
    for (n, state) in (1..).zip([DeviceState::Pending, approved(), DeviceState::Denied, DeviceState::Spent]) {
        let mut request = request.clone();
        (request.id, request.user_code, request.state) = (request_id(n), user_code(n), state);
        commit(store, [Change::OpenDeviceRequest(request.clone())]).await;
        assert_eq!(stored_request(store, n).await, request);
    }
}

async fn neither_id_nor_code_is_taken_twice(store: &Arc<dyn Store>) {
    commit(store, [open_request(1)]).await;
    conflicts(store, [open_request(1)]).await;
    let mut same_id = device_request(2);
    same_id.id = request_id(1);
    conflicts(store, [Change::OpenDeviceRequest(same_id)]).await;
    let mut same_code = device_request(2);
    same_code.user_code = user_code(1);
    conflicts(store, [Change::OpenDeviceRequest(same_code)]).await;
    assert_eq!(stored_request(store, 1).await, device_request(1));
    assert_eq!(store.device_request(request_id(2)).await, Ok(None));
    assert_eq!(store.device_request_by_code(user_code(2)).await, Ok(None));
    // A decided request still takes its code.
    commit(store, [move_request(1, DeviceState::Pending, DeviceState::Spent)]).await;
    conflicts(store, [open_request(1)]).await;
}

async fn a_request_moves_only_from_the_state_it_is_in(store: &Arc<dyn Store>) {
    let states = [DeviceState::Pending, approved(), DeviceState::Denied, DeviceState::Spent];
    for (n, is) in (1..).zip(&states) {
        conflicts(store, [move_request(n, is.clone(), DeviceState::Spent)]).await;
        let mut request = device_request(n);
        request.state = is.clone();
        commit(store, [Change::OpenDeviceRequest(request)]).await;
        for from in states.iter().filter(|state| *state != is) {
            conflicts(store, [move_request(n, from.clone(), DeviceState::Denied)]).await;
            assert_eq!(stored_request(store, n).await.state, *is);
        }
    }
    let n = 10;
    commit(store, [open_request(n)]).await;
    commit(store, [move_request(n, DeviceState::Pending, approved())]).await;
    assert_eq!(stored_request(store, n).await.state, approved());
    assert_eq!(
        store.device_request_by_code(user_code(n)).await.unwrap().map(|request| request.state),
        Some(approved())
    );
    commit(store, [move_request(n, approved(), DeviceState::Spent)]).await;
    assert_eq!(stored_request(store, n).await.state, DeviceState::Spent);
    conflicts(store, [move_request(n, approved(), DeviceState::Spent)]).await;
}

async fn approval_by_somebody_else_or_at_another_time_is_another_state(store: &Arc<dyn Store>) {
    commit(store, [open_request(1), move_request(1, DeviceState::Pending, approved())]).await;
    let by_bob = DeviceState::Approved { by: person("bob"), authenticated_at: later(3) };
    conflicts(store, [move_request(1, by_bob, DeviceState::Spent)]).await;
    let earlier = DeviceState::Approved { by: person("alice"), authenticated_at: later(2) };
    conflicts(store, [move_request(1, earlier, DeviceState::Spent)]).await;
    assert_eq!(stored_request(store, 1).await.state, approved());
}

async fn kept_requests_are_counted_until_swept(store: &Arc<dyn Store>) {
    let count = async |n| store.device_requests_kept(address(n)).await.unwrap();
    assert_eq!(count(1).await, KeptRequests { from_address: 0, total: 0 });
    let mut elsewhere = device_request(3);
    elsewhere.requester.address = address(2);
    commit(store, [open_request(1), open_request(2), Change::OpenDeviceRequest(elsewhere)]).await;
    assert_eq!(count(1).await, KeptRequests { from_address: 2, total: 3 });
    assert_eq!(count(2).await, KeptRequests { from_address: 1, total: 3 });
    assert_eq!(count(3).await, KeptRequests { from_address: 0, total: 3 });
    // Decided or expired: the room is still taken.
    commit(store, [move_request(1, DeviceState::Pending, DeviceState::Denied)]).await;
    assert_eq!(count(1).await, KeptRequests { from_address: 2, total: 3 });
    conflicts(store, [open_request(4), start(1), start(1)]).await;
    assert_eq!(count(1).await, KeptRequests { from_address: 2, total: 3 });
    assert_eq!(store.sweep(device_request(1).forget_at(), 100).await, Ok(3));
    for n in [1, 2] {
        assert_eq!(count(n).await, KeptRequests { from_address: 0, total: 0 });
    }
}

async fn a_request_is_known_for_ten_minutes_after_it_expired(store: &Arc<dyn Store>) {
    commit(store, [open_request(1)]).await;
    let forget_at = device_request(1).forget_at();
    assert_eq!(forget_at, device_request(1).expires_at.plus(Lifetime::from_seconds(600)));
    let before = Timestamp::from_millis(forget_at.millis() - 1);
    assert_eq!(store.sweep(before, 100).await, Ok(0));
    assert_eq!(stored_request(store, 1).await, device_request(1));
    assert_eq!(store.sweep(forget_at, 100).await, Ok(1));
    assert_eq!(store.device_request(request_id(1)).await, Ok(None));
    assert_eq!(store.device_request_by_code(user_code(1)).await, Ok(None));
}

async fn what_was_swept_is_free_again(store: &Arc<dyn Store>) {
    commit(store, [open_request(1)]).await;
    assert_eq!(store.sweep(device_request(1).forget_at(), 100).await, Ok(1));
    conflicts(store, [move_request(1, DeviceState::Pending, DeviceState::Denied)]).await;
    commit(store, [open_request(1)]).await;
    assert_eq!(stored_request(store, 1).await, device_request(1));
}
