//! Tokens that are told apart, whole, and not to be guessed: lines 25, 35, 36.

use std::collections::BTreeSet;

use doorward_testkit::{Answer, Client, Form, Kit, Tokens, large_directory, on_every_store};
use http::Method;

/// Good artefacts of every kind.
struct Artefacts {
    client: Client,
    browser_client: Client,
    tokens: Tokens,
    device_code: String,
    code: String,
    cookie: (String, String),
    page: String,
}

impl Artefacts {
    async fn new(kit: &Kit) -> Self {
        let (client, browser_client) = (kit.device_client().await, kit.pkce_client().await);
        let tokens = kit.device_tokens(&client, "ada").await;
        let device_code = kit.approved_device(&client, "ada").await.code;
        let code = kit.code(&browser_client, "ada").await;
        let browser = kit.browser().signed_in("ada").await;
        let cookie = browser.cookies().iter().find(|(name, _)| name.contains("session")).expect("a cookie");
        let cookie = (cookie.0.clone(), cookie.1.clone());
        let page = kit.list_accounts(&tokens.access).await.ok().member("nextToken");
        Self { client, browser_client, tokens, device_code, code, cookie, page }
    }

    /// Each place where an artefact belongs, and the one that belongs there.
    fn places(&self) -> [(Place, &str); 8] {
        [
            (Place::Access, &self.tokens.access),
            (Place::Refresh, self.tokens.refresh()),
            (Place::Device, &self.device_code),
            (Place::Code, &self.code),
            (Place::ClientId, &self.client.id),
            (Place::ClientSecret, &self.client.secret),
            (Place::Cookie, &self.cookie.1),
            (Place::Page, &self.page),
        ]
    }

    /// Asserts that `text` is refused in `place`, and as such.
    async fn assert_refused(&self, kit: &Kit, place: Place, text: &str) {
        let (expected, answer) = self.present(kit, place, text).await;
        assert_eq!((answer.status.as_u16(), answer.exception()), expected, "{place:?} {text}");
    }

    async fn present(&self, kit: &Kit, place: Place, text: &str) -> ((u16, &'static str), Answer) {
        const GRANT: (u16, &str) = (400, "InvalidGrantException");
        const CLIENT: (u16, &str) = (401, "InvalidClientException");
        match place {
            Place::Access => ((401, "UnauthorizedException"), kit.list_accounts(text).await),
            Place::Refresh => (GRANT, kit.refresh(&self.client, text).await),
            Place::Device => (GRANT, kit.poll(&self.client, text).await),
            Place::Code => (GRANT, kit.redeem(&self.browser_client, text).await),
            Place::ClientId => {
                let client = Client { id: text.to_owned(), ..self.client.clone() };
                (CLIENT, kit.refresh(&client, self.tokens.refresh()).await)
            }
            Place::ClientSecret => {
                let client = Client { secret: text.to_owned(), ..self.client.clone() };
                (CLIENT, kit.refresh(&client, self.tokens.refresh()).await)
            }
            Place::Cookie => {
                let mut browser = kit.browser();
                browser.cookies_mut().insert(self.cookie.0.clone(), text.to_owned());
                ((303, ""), browser.get("/start").await)
            }
            Place::Page => {
                let target = format!("/assignment/accounts?next_token={text}");
                (
                    (400, "InvalidRequestException"),
                    kit.portal(Method::GET, &target, &self.tokens.access).await,
                )
            }
        }
    }

    /// Asserts that everything is still as good as before.
    async fn assert_good(&self, kit: &Kit) {
        for (place, text) in self.places() {
            let (_, answer) = self.present(kit, place, text).await;
            assert_eq!(answer.status, 200, "{place:?} {}", answer.text());
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Access,
    Refresh,
    Device,
    Code,
    ClientId,
    ClientSecret,
    Cookie,
    Page,
}

// Holds: openid-connect-core-16.3-token-manufacture
#[tokio::test]
async fn ledger_25_a_token_that_is_cut_or_changed_anywhere_is_none() {
    let kit = Kit::with(|setup| {
        setup.directory = large_directory();
        setup.poll_interval = 0;
    })
    .await;
    let all = Artefacts::new(&kit).await;
    for (place, good) in all.places() {
        for at in 1..good.len() {
            all.assert_refused(&kit, place, &good[..at]).await;
            all.assert_refused(&kit, place, &good[at..]).await;
            let other = if good.as_bytes()[at] == b'A' { "B" } else { "A" };
            all.assert_refused(&kit, place, &format!("{}{other}{}", &good[..at], &good[at + 1..])).await;
        }
        // The last letter of base64 has bits that mean nothing: they must be as they were.
        let last = good.chars().last().unwrap();
        for letter in ('a'..='z').chain('A'..='Z').chain('0'..='9').filter(|letter| *letter != last) {
            all.assert_refused(&kit, place, &format!("{}{letter}", &good[..good.len() - 1])).await;
        }
        all.assert_refused(&kit, place, &format!("{good}A")).await;
        all.assert_refused(&kit, place, &format!("{good}=")).await;
    }
    all.assert_good(&kit).await;
}

#[tokio::test]
async fn ledger_36_no_artefact_is_good_in_anothers_place() {
    on_every_store(
        |setup| setup.directory = large_directory(),
        async |kit| {
            let all = Artefacts::new(kit).await;
            for (place, _) in all.places() {
                for (other, text) in all.places() {
                    if other == place {
                        continue;
                    }
                    all.assert_refused(kit, place, text).await;
                    let body = text.trim_start_matches("dwa_").trim_start_matches("dwr_");
                    for prefix in ["", "dwa_", "dwr_"] {
                        all.assert_refused(kit, place, &format!("{prefix}{body}")).await;
                    }
                }
            }
            // Nor do forms take them.
            let mut browser = kit.browser().signed_in("ada").await;
            let page = browser.get("/start").await.ok();
            let form = Form::find(page.text(), "/sign-out").unwrap();
            for (_, text) in all.places() {
                let answer = browser.submit(&form.clone().with("csrf", text)).await;
                assert_eq!(answer.status, 403);
            }
            all.assert_good(kit).await;
        },
    )
    .await;
}

/// Asserts that texts of one length have nothing in common but their first `prefix` characters.
fn assert_random(what: &str, texts: &[String], prefix: usize) {
    let distinct: BTreeSet<&String> = texts.iter().collect();
    assert_eq!(distinct.len(), texts.len(), "{what} repeats");
    let length = texts[0].len();
    for at in prefix..length {
        let letters: BTreeSet<u8> = texts.iter().map(|text| text.as_bytes()[at]).collect();
        assert!(letters.len() >= 4, "{what} has {letters:?} at {at} in {} texts", texts.len());
    }
}

/// The clock stands still and the keys are equal: what differs was drawn.
// Holds: openid-connect-core-16.12-guessing, rfc8628-5.2-device-code-entropy
#[tokio::test]
async fn ledger_35_nothing_secret_comes_from_the_clock() {
    let (mut keys, mut secrets, mut user_codes, mut devices) = (vec![], vec![], vec![], vec![]);
    let (mut clients, mut cookies) = (vec![], vec![]);
    for _ in 0..4 {
        let kit = Kit::new().await;
        let client = kit.device_client().await;
        let tokens = kit.device_tokens(&client, "ada").await;
        for _ in 0..50 {
            let answer = kit.role_credentials(&tokens.access, "111122223333", "AdministratorAccess").await;
            let credentials = answer.ok().json()["roleCredentials"].clone();
            keys.push(credentials["accessKeyId"].as_str().unwrap().to_owned());
            secrets.push(credentials["secretAccessKey"].as_str().unwrap().to_owned());
            let device = kit.start_device(&client).await;
            user_codes.push(device.user_code.replace('-', ""));
            devices.push(device.code);
            clients.push(kit.device_client().await.id);
        }
        for _ in 0..4 {
            cookies.extend(kit.browser().signed_in("ada").await.cookies().values().last().cloned());
        }
    }
    assert_random("the key id", &keys, 4);
    assert_random("the secret key", &secrets, 0);
    assert_random("the user code", &user_codes, 0);
    // One byte of a name of the key, which is the same, and its neighbour in base64.
    assert_random("the client id", &clients, 2);
    // And six of the request's time, which are no secret: what follows them is drawn, and under a MAC.
    assert_random("the device code", &devices, 10);
    assert_eq!(cookies.iter().collect::<BTreeSet<_>>().len(), cookies.len());
}
