//! TLS to the database: who is believed to be it.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::PostgresError;
use super::options::PostgresOptions;

/// Makes TLS connections whose other end has shown a certificate for its name.
pub(super) fn connector(options: &PostgresOptions) -> Result<MakeRustlsConnect, PostgresError> {
    let refused = |why: &dyn std::fmt::Display| PostgresError::Authorities {
        from: options
            .ca_file
            .as_ref()
            .map_or("the operating system".into(), |file| file.display().to_string()),
        why: why.to_string(),
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(&error))?;
    let builder = match &options.ca_file {
        None => builder.with_platform_verifier().map_err(|error| refused(&error))?,
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(file).map_err(|error| refused(&error))? {
                roots.add(certificate.map_err(|error| refused(&error))?).map_err(|error| refused(&error))?;
            }
            if roots.is_empty() {
                return Err(refused(&"there is no certificate in it"));
            }
            builder.with_root_certificates(roots)
        }
    };
    let mut config = builder.with_no_client_auth();
    // PostgreSQL 17 asks for it when a connection begins with TLS at once (`sslnegotiation=direct`).
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(MakeRustlsConnect::new(config))
}
