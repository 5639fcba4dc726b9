//! What needs a socket and an address at its other end: line 20, and line 38's rule of one address.

use std::net::SocketAddr;

use doorward::app::DeviceGrant;
use doorward::http::listen::Listener;
use doorward::http::proxy::TrustedProxies;
use doorward_testkit::{Client, Form, Kit};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Serves the kit's router on a socket, behind proxies in `trusted`.
async fn serve(kit: &Kit, trusted: &[&str]) -> SocketAddr {
    let socket = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
    let address = socket.local_addr().expect("an address");
    let networks = trusted.iter().map(|network| network.parse().expect("a network")).collect();
    let listener = Listener::new(socket, kit.server()).behind(TrustedProxies::new(networks), false);
    tokio::spawn(listener.serve(std::future::pending()));
    address
}

/// Posts JSON over a socket, with more header lines.
async fn post(address: SocketAddr, target: &str, headers: &str, body: &Value) -> Value {
    let body = body.to_string();
    let request = format!(
        "POST {target} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {}\r\n{headers}\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(request.as_bytes()).await.expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// The user code of a device request that was started over the socket.
async fn start(kit: &Kit, client: &Client, address: SocketAddr, headers: &str) -> String {
    let body = json!({"clientId": client.id, "clientSecret": client.secret, "startUrl": kit.start_url()});
    let started = post(address, "/device_authorization", headers, &body).await;
    started["userCode"].as_str().unwrap_or_else(|| panic!("{started}")).to_owned()
}

// Holds: rfc9700-4.13-proxy-headers
#[tokio::test]
async fn ledger_20_only_trusted_proxies_say_where_a_request_came_from() {
    let kit = Kit::new().await;
    let client = kit.device_client().await;
    let mut browser = kit.browser().signed_in("ada").await;
    for (trusted, headers, shown) in [
        (&[][..], "x-forwarded-for: 203.0.113.9\r\n", "127.0.0.1"),
        (&["10.0.0.0/8"], "x-forwarded-for: 203.0.113.9\r\n", "127.0.0.1"),
        (&["127.0.0.0/8"], "x-forwarded-for: 203.0.113.9\r\n", "203.0.113.9"),
        // What the caller wrote itself stands in front of what the proxy appended.
        (&["127.0.0.0/8"], "x-forwarded-for: 198.51.100.1, 203.0.113.9\r\n", "203.0.113.9"),
        (
            &["127.0.0.0/8"],
            "x-forwarded-for: 198.51.100.1\r\nx-forwarded-for: 203.0.113.9\r\n",
            "203.0.113.9",
        ),
        (&["127.0.0.0/8"], "x-forwarded-for: evil\r\n", "127.0.0.1"),
        (&["127.0.0.0/8"], "forwarded: for=203.0.113.9\r\nx-real-ip: 203.0.113.9\r\n", "127.0.0.1"),
        (&["127.0.0.0/8"], "", "127.0.0.1"),
    ] {
        let address = serve(&kit, trusted).await;
        let user_code = start(&kit, &client, address, headers).await;
        let page = browser.type_code(&user_code).await.ok();
        let expected = format!("<dt>From address</dt><dd><code>{shown}</code></dd>");
        assert!(page.text().contains(&expected), "{trusted:?} {headers}: {}", page.text());
    }
}

#[tokio::test]
async fn ledger_20_nobody_gets_round_a_limit_by_naming_other_addresses() {
    let kit = Kit::with(|setup| setup.device_requests.from_address = 3).await;
    let client = kit.device_client().await;
    let address = serve(&kit, &[]).await;
    for nth in 0..3 {
        start(&kit, &client, address, &format!("x-forwarded-for: 203.0.113.{nth}\r\n")).await;
    }
    let body = json!({"clientId": client.id, "clientSecret": client.secret, "startUrl": kit.start_url()});
    let refused = post(address, "/device_authorization", "x-forwarded-for: 203.0.113.99\r\n", &body).await;
    assert_eq!(refused["error"], "slow_down");
}

#[tokio::test]
async fn ledger_38_a_request_from_elsewhere_can_be_refused() {
    let kit = Kit::with(|setup| setup.device_grant = DeviceGrant::SameAddress).await;
    let client = kit.device_client().await;
    let mut browser = kit.browser().signed_in("ada").await;
    let address = serve(&kit, &["127.0.0.0/8"]).await;
    let elsewhere = start(&kit, &client, address, "x-forwarded-for: 203.0.113.9\r\n").await;
    let page = browser.type_code(&elsewhere).await.ok();
    assert!(Form::find(page.text(), "/device/decision").is_none());
    assert!(page.text().contains("another network address"), "{}", page.text());
    let here = start(&kit, &client, address, "").await;
    let page = browser.type_code(&here).await.ok();
    assert!(Form::find(page.text(), "/device/decision").is_some());
}
