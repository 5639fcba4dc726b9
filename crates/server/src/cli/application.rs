//! `doorward application secret`: draws a client secret, prints it and its hash.

use std::io::Write as _;

use anyhow::Context as _;
use aws_lc_rs::digest::{SHA256, digest};
use clap::Subcommand;
use data_encoding::BASE64URL_NOPAD;
use doorward_core::application::SecretHash;
use doorward_core::ids::ApplicationId;
use zeroize::Zeroizing;

use crate::ambient::{OsEntropy, draw};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Draw a client secret: print it, and the line with its hash for the directory file.
    Secret(SecretOptions),
}

#[derive(Debug, clap::Args)]
pub(super) struct SecretOptions {
    /// The application that it is for, to be named beside it.
    client_id: Option<String>,
}

pub(super) fn secret(options: &SecretOptions) -> anyhow::Result<()> {
    let id = options.client_id.as_deref().map(ApplicationId::parse).transpose()?;
    let secret = Zeroizing::new(BASE64URL_NOPAD.encode(&*Zeroizing::new(draw::<32>(&OsEntropy::default()))));
    let of = id.map(|id| format!(" of {id}")).unwrap_or_default();
    // For whoever reads; what is to be taken away is on standard output, a line each.
    eprintln!(
        "The secret{of}, which is shown this once, and the line for its application in the directory file:"
    );
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}\nsecret_hashes = [\"{}\"]", *secret, String::from(hash(&secret)))
        .and_then(|()| out.flush())
        .context("standard output is closed")
}

/// The hash of a client secret, as a directory has it.
fn hash(secret: &str) -> SecretHash {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
    SecretHash::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secrets_hash_is_the_sha_256_of_its_text() {
        // FIPS 180-2, appendix B.1.
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(String::from(hash("abc")), abc);
    }
}
