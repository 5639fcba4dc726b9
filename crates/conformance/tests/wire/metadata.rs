//! What backends fetch to verify web identity tokens: T79.

use axum::body::Body;
use doorward_core::store::Store as _;
use doorward_testkit::{Answer, Kit};
use http::Request;

async fn get(kit: &Kit, path: &str) -> Answer {
    kit.send(Request::get(path).body(Body::empty()).expect("a request")).await.ok()
}

// Holds: rfc8414-2-jwks-uri
#[tokio::test]
async fn t79_the_issuer_publishes_where_its_keys_are_and_rsa_keys_alone() {
    let kit = Kit::new().await;
    let configuration = get(&kit, "/.well-known/openid-configuration").await;
    assert_eq!(configuration.headers["cache-control"], "public, max-age=300");
    let configuration = configuration.json();
    assert_eq!(configuration["issuer"], kit.base());
    let path = configuration["jwks_uri"].as_str().unwrap().strip_prefix(kit.base()).unwrap();
    let nobody_needs_one = get(&kit, path).await.json();
    assert_eq!(nobody_needs_one["keys"].as_array(), Some(&Vec::new()));
    assert!(kit.store().signing_keys().await.unwrap().keys.is_empty(), "nor does a question make one");
    kit.make_signing_key().await;
    let keys = get(&kit, path).await.json();
    let keys = keys["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 1);
    for key in keys {
        assert_eq!((&key["kty"], &key["alg"], &key["use"]), (&"RSA".into(), &"RS256".into(), &"sig".into()));
        assert!(["kid", "n", "e"].iter().all(|name| key[name].as_str().is_some_and(|text| !text.is_empty())));
        // A private member, or one that some reader stumbles over.
        assert_eq!(key.as_object().unwrap().len(), 6, "{key}");
    }
    assert_eq!(get(&kit, path).await.json()["keys"].as_array(), Some(keys), "the key stays the same");
}
