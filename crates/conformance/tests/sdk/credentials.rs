//! The credential chain of aws-config with an SSO profile: it reads the token that a login cached, refreshes it when
//! it is nearly over, and fetches role credentials.
//!
//! The chain finds its files by environment variables, and no test may change those of its own process. So the test
//! runs itself once more, in a home of its own; the server is in that second process, and no socket anywhere.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use aws_config::BehaviorVersion;
use aws_sdk_sso::config::ProvideCredentials as _;
use aws_smithy_async::time::StaticTimeSource;
use doorward_testkit::Kit;
use serde_json::{Value, json};

use crate::connector::InProcess;

const NAME: &str = "credentials::an_sso_profile_refreshes_its_token_and_fetches_credentials";
const HOME: &str = "DOORWARD_CONFORMANCE_HOME";

#[tokio::test]
async fn an_sso_profile_refreshes_its_token_and_fetches_credentials() {
    if let Some(home) = std::env::var_os(HOME) {
        return in_its_home(Path::new(&home)).await;
    }
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env_clear()
        .env(HOME, home.path())
        .env("HOME", home.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

async fn in_its_home(home: &Path) {
    let kit = Kit::new().await;
    let client = kit.device_client().await;
    let first = kit.device_tokens(&client, "ada").await;
    write_profile(home, kit.base(), &kit.start_url());
    // The SHA-1 of the session's name, "doorward".
    let cache = home.join(".aws/sso/cache/8d57386887191eb3c43477ef68082cc65a2584e3.json");
    write_cache(&cache, &kit, &client, &first);

    // Eleven minutes of the first hour are left, then four: only then it refreshes.
    kit.advance(3600 - 660);
    provide(&kit).await;
    assert_eq!(read(&cache)["accessToken"], first.access);
    kit.advance(420);
    let credentials = provide(&kit).await;
    let end = credentials.expiry().expect("an end").duration_since(UNIX_EPOCH).expect("after 1970");
    assert_eq!(i64::try_from(end.as_millis()), Ok(kit.now().millis() + 3_600_000));
    let cached = read(&cache);
    assert_ne!(cached["accessToken"], first.access);
    assert_ne!(cached["refreshToken"], first.refresh());
    // What it kept goes on working, an hour later and from another process.
    kit.advance(3500);
    provide(&kit).await;
    assert_ne!(read(&cache)["refreshToken"], cached["refreshToken"]);
}

/// The credentials of the profile, by a chain that knows nothing of the ones before.
async fn provide(kit: &Kit) -> aws_sdk_sso::config::Credentials {
    let now = UNIX_EPOCH + Duration::from_millis(u64::try_from(kit.now().millis()).expect("after 1970"));
    let config = aws_config::defaults(BehaviorVersion::latest())
        .profile_name("doorward")
        .http_client(InProcess(kit.server()))
        .time_source(StaticTimeSource::new(now))
        .load()
        .await;
    let provider = config.credentials_provider().expect("a chain");
    provider.provide_credentials().await.expect("credentials")
}

fn write_profile(home: &Path, base: &str, start_url: &str) {
    let folder = home.join(".aws/sso/cache");
    std::fs::create_dir_all(&folder).expect("a folder");
    let config = format!(
        "[sso-session doorward]\nsso_start_url = {start_url}\nsso_region = us-east-1\n\
         sso_registration_scopes = sso:account:access\n\
         [profile doorward]\nsso_session = doorward\nsso_account_id = 111122223333\n\
         sso_role_name = AdministratorAccess\nregion = us-east-1\nservices = doorward\n\
         [services doorward]\nsso =\n  endpoint_url = {base}\nsso-oidc =\n  endpoint_url = {base}\n"
    );
    std::fs::write(home.join(".aws/config"), config).expect("a file");
}

/// The cache as `aws sso login` leaves it.
fn write_cache(file: &Path, kit: &Kit, client: &doorward_testkit::Client, tokens: &doorward_testkit::Tokens) {
    // The kit's clock starts at 2027-01-10T00:00:00Z.
    assert_eq!(kit.now(), doorward_testkit::START);
    let cached = json!({
        "startUrl": kit.start_url(), "region": "us-east-1", "accessToken": tokens.access,
        "expiresAt": "2027-01-10T01:00:00Z", "clientId": client.id, "clientSecret": client.secret,
        "registrationExpiresAt": "2027-04-10T00:00:00Z", "refreshToken": tokens.refresh(),
    });
    std::fs::write(file, cached.to_string()).expect("a file");
}

fn read(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).expect("the cache")).expect("JSON")
}
