//! TLS from certificate files, read again when they change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tracing::{error, info};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A certificate and its key, as files in PEM.
#[derive(Debug)]
pub struct Certificate {
    files: [PathBuf; 2],
    current: RwLock<Arc<CertifiedKey>>,
}

impl Certificate {
    /// Reads the certificate chain and the private key.
    ///
    /// # Errors
    /// What is wrong, with which file.
    pub fn load(chain: &Path, key: &Path) -> anyhow::Result<Arc<Self>> {
        let current = RwLock::new(Arc::new(read(chain, key)?));
        Ok(Arc::new(Self { files: [chain.to_owned(), key.to_owned()], current }))
    }

    /// The configuration of a TLS server that shows it.
    ///
    /// # Errors
    /// When the crypto provider offers no protocol version.
    pub fn server_config(self: &Arc<Self>) -> anyhow::Result<Arc<ServerConfig>> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Reads the files again whenever they change, for ever. A file that cannot be used is reported, and the last
    /// good certificate stays.
    pub async fn keep_fresh(self: Arc<Self>) {
        let mut seen = self.changed_at();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.changed_at();
            if now == seen {
                continue;
            }
            seen = now;
            let [chain, key] = &self.files;
            match read(chain, key) {
                Ok(certificate) => {
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certificate);
                    info!(certificate = %chain.display(), "read the new TLS certificate");
                }
                Err(problem) => error!("the TLS certificate was not replaced: {problem:#}"),
            }
        }
    }

    fn changed_at(&self) -> [Option<SystemTime>; 2] {
        [0, 1].map(|at: usize| std::fs::metadata(&self.files[at]).and_then(|file| file.modified()).ok())
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn read(chain_file: &Path, key_file: &Path) -> anyhow::Result<CertifiedKey> {
    let in_file = |file: &Path| format!("{}", file.display());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(chain_file)
        .and_then(Iterator::collect)
        .with_context(|| in_file(chain_file))?;
    anyhow::ensure!(!chain.is_empty(), "{}: it holds no certificate in PEM", chain_file.display());
    let key = PrivateKeyDer::from_pem_file(key_file).with_context(|| in_file(key_file))?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
        .with_context(|| format!("{} does not belong to {}", key_file.display(), chain_file.display()))
}
