//! TLS to the database: verified, or not at all.

use std::path::Path;
use std::process::Command;

use doorward_core::store::Store;
use doorward_store::contract::fixtures::*;
use doorward_store::{PostgresOptions, PostgresStore};
use doorward_testkit_postgres::free_port;
use tempfile::TempDir;

use super::server::Server;

/// Makes an authority, and a certificate of its for `localhost`.
fn certificates(dir: &Path) {
    let script = "set -e; cd \"$0\"
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN=authority' \
            -keyout ca.key -out ca.pem
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=localhost' \
            -keyout server.key -out server.csr
        printf 'subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n' > extensions
        openssl x509 -req -days 2 -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial \
            -extfile extensions -out server.pem";
    let made = Command::new("sh").args(["-c", script]).arg(dir).output().unwrap();
    assert!(made.status.success(), "apt-get install -y openssl: {}", String::from_utf8_lossy(&made.stderr));
}

async fn connects(url: &str, edit: impl FnOnce(&mut PostgresOptions)) -> Result<(), String> {
    let mut options = PostgresOptions::from_url(url).unwrap();
    edit(&mut options);
    let node = PostgresStore::new(&options).map_err(|error| error.to_string())?;
    node.ready().await.map_err(|error| error.to_string())?;
    node.session(session_id(1)).await.map_err(|outage| outage.0)?;
    node.close().await;
    Ok(())
}

#[tokio::test]
async fn a_server_must_show_a_certificate_for_its_name_from_somebody_we_know() {
    let files = TempDir::new().unwrap();
    certificates(files.path());
    let port = free_port();
    let tls = ["ssl=on", "ssl_cert_file=../server.pem", "ssl_key_file=../server.key"];
    let server = Server::with(Some(port), &tls, |dir| {
        for file in ["server.pem", "server.key"] {
            std::fs::copy(files.path().join(file), dir.join(file)).unwrap();
        }
    })
    .await;
    let database = server.database().await;
    let authority = files.path().join("ca.pem");
    let at = |host: &str, mode: &str| {
        format!("postgres://postgres:hunter2@{host}:{port}/{database}?sslmode={mode}")
    };
    let known = |options: &mut PostgresOptions| options.ca_file = Some(authority.clone());

    for mode in ["require", "verify-ca", "verify-full", "prefer"] {
        assert_eq!(connects(&at("localhost", mode), known).await, Ok(()), "{mode}");
        let in_url = format!("{}&sslrootcert={}", at("localhost", mode), authority.display());
        assert_eq!(connects(&in_url, |_| {}).await, Ok(()), "{mode}");
        // The name is another one; the authority is none that the system knows.
        for refused in
            [connects(&at("127.0.0.1", mode), known).await, connects(&at("localhost", mode), |_| {}).await]
        {
            let why = refused.unwrap_err();
            assert!(why.contains("certificate") && !why.contains("hunter2"), "{mode}: {why}");
        }
    }
    assert_eq!(connects(&at("localhost", "disable"), |_| {}).await, Ok(()));

    let mut direct = PostgresOptions::from_url(&at("localhost", "require")).unwrap();
    direct.ca_file = Some(authority.clone());
    let node = PostgresStore::new(&direct).unwrap();
    node.ready().await.unwrap();
    let encrypted = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                     WHERE application_name = 'doorward' AND ssl";
    assert!(server.number(&database, encrypted).await > 0);
}

#[tokio::test]
async fn a_server_without_tls_is_used_only_if_we_were_told_so() {
    let port = free_port();
    let server = Server::with(Some(port), &[], |_| {}).await;
    let database = server.database().await;
    let at = |mode: &str| format!("postgres://postgres:hunter2@localhost:{port}/{database}?sslmode={mode}");
    for mode in ["disable", "prefer"] {
        assert_eq!(connects(&at(mode), |_| {}).await, Ok(()), "{mode}");
    }
    for mode in ["require", "verify-full"] {
        let why = connects(&at(mode), |_| {}).await.unwrap_err();
        assert!(why.contains("does not support TLS") && !why.contains("hunter2"), "{mode}: {why}");
    }
}

#[tokio::test]
async fn authorities_that_cannot_be_read_are_told_before_anything_is_sent() {
    let dir = TempDir::new().unwrap();
    for (name, content) in
        [("missing.pem", None), ("empty.pem", Some("")), ("bad.pem", Some("-----BEGIN CERTIFICATE-----"))]
    {
        let file = dir.path().join(name);
        if let Some(content) = content {
            std::fs::write(&file, content).unwrap();
        }
        let why = connects("postgres://u:hunter2@db.example/d", |options| options.ca_file = Some(file)).await;
        let why = why.unwrap_err();
        assert!(why.contains(name) && !why.contains("hunter2"), "{why}");
    }
}
