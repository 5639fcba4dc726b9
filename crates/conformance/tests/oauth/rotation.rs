//! The token endpoint while its keys take turns.

use doorward::signing::KeyPolicy;
use doorward_core::client::GrantType;
use doorward_core::signing_key::{Rotation, SigningAlgorithm};
use doorward_core::time::Lifetime;
use doorward_testkit::{Application, Kit, Setup, Verifier, WEB};

use crate::token::applications;

const REQUESTS: usize = 10_000;
/// Requests between two looks at the store, half of them at each node, and all at once.
const AT_ONCE: usize = 20;
const ROTATE_AFTER: u32 = 3600;
const ROTATIONS: u32 = 5;
/// Seconds of the clock between two looks: all rotations happen while the requests come.
const TICK: u32 = 38;

fn rotating(setup: &mut Setup) {
    applications(setup);
    let web = setup.directory.applications.iter_mut().find(|it| it.client_id.as_str() == WEB.id);
    web.expect("the application").grants.push(GrantType::ClientCredentials);
    let rotation = Rotation {
        rotate_after: Some(Lifetime::from_seconds(ROTATE_AFTER)),
        publish_ahead: Lifetime::from_seconds(600),
    };
    setup.signing_keys = KeyPolicy { rotation, x5c: false };
}

/// A token that an application got for itself.
async fn token(kit: &Kit, application: Application) -> String {
    let answer = kit.post_form(application, "/token", &[("grant_type", "client_credentials")]).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
    answer.member("access_token")
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_token_requests_pass_while_keys_take_turns_five_times() {
    let one = Kit::with(rotating).await;
    let other = one.beside(rotating);
    for node in [&one, &other] {
        node.signing().start(&[SigningAlgorithm::Es256]).await.unwrap();
    }
    // An API that keeps the keys as long as it may, whose keys come now from the one node and now from the other.
    let (mut api, mut kids) = (Verifier::default(), std::collections::BTreeSet::new());
    for nth in 0..REQUESTS / AT_ONCE {
        one.advance(TICK);
        let nodes = if nth % 2 == 0 { [&one, &other] } else { [&other, &one] };
        let requests = (0..AT_ONCE).map(|n| token(nodes[n % 2], WEB));
        // One looks at the store while both answer.
        let (looked, tokens) =
            tokio::join!(nodes[0].signing().look(), futures_util::future::join_all(requests));
        looked.unwrap();
        nodes[1].signing().look().await.unwrap();
        for token in &tokens {
            let algorithm = jsonwebtoken::Algorithm::ES256;
            let claims = api.verify(nodes[1], algorithm, "at+jwt", token).await;
            claims.unwrap_or_else(|why| panic!("tick {nth}: {why}"));
            kids.insert(jsonwebtoken::decode_header(token).unwrap().kid.unwrap());
        }
        let told = nodes[1].post_form(WEB, "/introspect", &[("token", &tokens[0])]).await.ok();
        assert_eq!(told.json()["active"], true, "tick {nth}: the other node knows it");
    }
    assert_eq!(kids.len(), 1 + ROTATIONS as usize, "so many keys took their turn");
}
