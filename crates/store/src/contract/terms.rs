//! What a session was agreed on beside its scopes: it comes back whole, and nothing that happens to the session changes it.

use std::sync::Arc;

use doorward_core::session::{EndReason, Holder, Session, SessionState, Terms};
use doorward_core::store::Store;
use doorward_core::verdict::Change;
use tokio::task::JoinSet;

use super::fixtures::{
    NOW, commit, end, later, person, rotate, session, session_id, session_with_terms, start, stored, terms,
};

pub(super) async fn rules(open: &impl AsyncFn() -> Arc<dyn Store>) {
    terms_come_back_whole(&open().await).await;
    terms_stay_what_they_were(&open().await).await;
    the_list_has_the_terms_of_each_session(&open().await).await;
    rotations_of_many_keep_the_terms_of_each(&open().await).await;
}

async fn terms_come_back_whole(store: &Arc<dyn Store>) {
    let odd = Terms {
        audiences: vec!["urn:a\0b '☁\"".into(), String::new(), "\\u0000\u{2028}".into()],
        amr: vec!["\n".into()],
        acr: Some(String::new()),
        ..Terms::default()
    };
    let all = [
        None,
        Some(terms()),
        Some(Terms::default()),
        Some(odd),
        Some(Terms { audiences: Vec::new(), ..terms() }),
        Some(Terms { dpop_key: None, ..terms() }),
        Some(Terms { browser: None, ..terms() }),
        Some(Terms { amr: Vec::new(), ..terms() }),
        Some(Terms { acr: None, ..terms() }),
        Some(Terms { issuer: None, ..terms() }),
        Some(Terms { proved_at: None, ..terms() }),
    ];
    for (n, terms) in (0..).zip(all) {
        let expected = Session { terms: terms.map(Arc::new), ..session(n) };
        commit(store, [Change::StartSession(expected.clone())]).await;
        assert_eq!(stored(store, n).await, expected);
    }
    // Whoever holds the session.
    let browser = Session { holder: Holder::Browser, ..session_with_terms(100) };
    commit(store, [Change::StartSession(browser.clone())]).await;
    assert_eq!(stored(store, 100).await, browser);
}

async fn terms_stay_what_they_were(store: &Arc<dyn Store>) {
    commit(store, [Change::StartSession(session_with_terms(1)), start(2)]).await;
    for generation in 0..3 {
        commit(store, [rotate(1, generation)]).await;
        commit(store, [rotate(2, generation)]).await;
    }
    let rotated = Session { generation: 3, rotated_at: later(62), ..session_with_terms(1) };
    assert_eq!(stored(store, 1).await, rotated);
    // Several at once take another way.
    commit(store, [rotate(1, 3), rotate(2, 3)]).await;
    let rotated = Session { generation: 4, rotated_at: later(63), ..rotated };
    assert_eq!(stored(store, 1).await, rotated);
    assert_eq!(stored(store, 2).await.terms, None);
    commit(store, [end(1), end(2)]).await;
    let state = SessionState::Ended { at: later(120), why: EndReason::Logout };
    assert_eq!(stored(store, 1).await, Session { state, ..rotated });
    assert_eq!(stored(store, 2).await.terms, None);
}

async fn the_list_has_the_terms_of_each_session(store: &Arc<dyn Store>) {
    let newest = Session { created_at: later(30), ..session_with_terms(1) };
    let tool = Session { created_at: later(20), ..session(2) };
    let oldest = Session { created_at: later(10), terms: Some(Arc::default()), ..session(3) };
    for session in [&oldest, &newest, &tool] {
        commit(store, [Change::StartSession(session.clone())]).await;
    }
    let list = async || store.sessions_of(&person("alice"), NOW, 10).await.unwrap();
    assert_eq!(list().await, [newest.clone(), tool.clone(), oldest.clone()]);
    commit(store, [rotate(1, 0)]).await;
    let newest = Session { generation: 1, rotated_at: later(60), ..newest };
    assert_eq!(list().await, [newest, tool, oldest]);
}

async fn rotations_of_many_keep_the_terms_of_each(store: &Arc<dyn Store>) {
    let begun = |n: u64| {
        let audiences = vec![format!("https://api-{n}.example.com/")];
        let terms = (!n.is_multiple_of(3)).then(|| Arc::new(Terms { audiences, ..terms() }));
        Session { terms, ..session(n) }
    };
    commit(store, (0..64).map(|n| Change::StartSession(begun(n)))).await;
    let mut tasks = JoinSet::new();
    for n in 0..64 {
        let store = store.clone();
        tasks.spawn(async move { commit(&store, [rotate(n, 0)]).await });
    }
    tasks.join_all().await;
    for n in 0..64 {
        let expected = Session { generation: 1, rotated_at: later(60), ..begun(n) };
        assert_eq!(store.session(session_id(n)).await, Ok(Some(expected)));
    }
}
