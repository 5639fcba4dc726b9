//! Who may call CreateTokenWithIAM: whoever signs with an access key of the configuration, or is vouched for by the STS
//! that the configuration names.

use std::collections::HashMap;

use anyhow::Context as _;
use axum::http::request::Parts;
use doorward_core::secret::SecretAccessKey;
use doorward_core::time::{Lifetime, Timestamp};
use doorward_upstream::iam::caller_identity::{CallerIdentities, NotTold};
use doorward_upstream::iam::sigv4::{Claimed, SignatureError};

use crate::app::App;
use crate::config::{AccessKeyConfig, IamConfig, read_text};
use crate::keyfile;
use crate::oauth::once::{Purpose, once_id, use_once};
use crate::op::Caller;

/// The service that requests are signed for (the signing name of sso-oidc).
const SERVICE: &str = "sso-oauth";
/// The header with a presigned GetCallerIdentity.
pub const CALLER_IDENTITY: &str = "x-doorward-caller-identity";

/// Who may call.
#[derive(Debug, Default)]
pub struct Callers {
    keys: HashMap<String, Key>,
    sts: Option<CallerIdentities>,
}

#[derive(Debug)]
struct Key {
    secret: SecretAccessKey,
    arn: String,
}

/// Who calls.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Principal {
    /// The ARN, of an assumed role that of the role.
    pub(crate) arn: String,
    /// The region that the request was signed for, if the signature says so.
    pub(crate) region: Option<String>,
}

/// Why nobody is taken to call.
#[derive(Debug)]
pub(crate) enum Unknown {
    /// The signature, or its lack.
    Signature(SignatureError),
    /// Ours; the text is for the log.
    Outage(String),
}

impl Callers {
    /// Those of the configuration, of a server that is found at `public_url`.
    ///
    /// # Errors
    /// The key, and what is wrong with it.
    pub fn configured(config: &IamConfig, public_url: &str) -> anyhow::Result<Self> {
        let mut keys = HashMap::new();
        for (name, AccessKeyConfig { access_key_id, secret_access_key_file: file, arn }) in
            &config.access_keys
        {
            let secret = keyfile::for_us_alone(file, "call as its owner with it")
                .and_then(|()| Ok(read_text(file)?))
                .with_context(|| format!("iam.access_keys.{name}.secret_access_key_file"))?;
            let secret = secret.trim();
            if secret.len() < 16 || secret.bytes().any(|byte| !byte.is_ascii_graphic()) {
                anyhow::bail!(
                    "iam.access_keys.{name}.secret_access_key_file: {}: it must hold 16 or more ASCII characters without \
                     spaces",
                    file.display()
                );
            }
            keys.insert(
                access_key_id.clone(),
                Key { secret: SecretAccessKey::new(secret), arn: arn.clone() },
            );
        }
        let Some(endpoint) = &config.sts_endpoint else { return Ok(Self { keys, sts: None }) };
        let authorities = match &config.sts_ca_file {
            Some(file) => {
                Some(std::fs::read(file).with_context(|| format!("iam.sts_ca_file: {}", file.display()))?)
            }
            None => None,
        };
        let host = url::Url::parse(public_url).ok().and_then(|url| Some(url.host_str()?.to_owned()));
        let server_id = config.server_id.clone().or(host).unwrap_or_default();
        let sts = CallerIdentities::new(endpoint, &server_id, authorities.as_deref());
        Ok(Self { keys, sts: Some(sts.map_err(|why| anyhow::anyhow!("iam.{why}"))?) })
    }

    /// Adds an access key.
    #[must_use]
    pub fn with_key(mut self, id: &str, secret: SecretAccessKey, arn: &str) -> Self {
        self.keys.insert(id.to_owned(), Key { secret, arn: arn.to_owned() });
        self
    }

    /// The same with an STS that is asked.
    #[must_use]
    pub fn with_sts(self, sts: CallerIdentities) -> Self {
        Self { sts: Some(sts), ..self }
    }

    /// Whether nobody may call.
    #[must_use]
    pub fn are_none(&self) -> bool {
        self.keys.is_empty() && self.sts.is_none()
    }

    /// The owner of the access key that signed a request.
    fn signer(&self, parts: &Parts, body: &[u8], now: Timestamp) -> Result<Principal, SignatureError> {
        let claimed = Claimed::read(parts)?;
        let key = self.keys.get(claimed.access_key_id).ok_or(SignatureError::UnknownKey)?;
        claimed.verify(parts, body, &key.secret, SERVICE, now)?;
        Ok(Principal { arn: key.arn.clone(), region: Some(claimed.region.to_owned()) })
    }
}

/// Who calls. A presigned GetCallerIdentity counts for more than the signature beside it, which was made with a secret that
/// this server does not know.
pub(crate) async fn caller(
    app: &App,
    caller: &Caller,
    parts: &Parts,
    body: &[u8],
) -> Result<Principal, Unknown> {
    let mut identities = parts.headers.get_all(CALLER_IDENTITY).iter();
    let Some(identity) = identities.next() else {
        // Clients sign by their own clock, however far a development server's was put forward.
        return app.callers.signer(parts, body, app.clock.unshifted()).map_err(Unknown::Signature);
    };
    let refused = |why: String| {
        Unknown::Signature(SignatureError::Incomplete(format!(
            "X-Doorward-Caller-Identity is refused: {why}"
        )))
    };
    if identities.next().is_some() {
        return Err(refused("it was sent twice".to_owned()));
    }
    let Some(sts) = &app.callers.sts else {
        return Err(refused("this server asks no STS".to_owned()));
    };
    let presigned = identity.to_str().map_err(|_| refused("it must be a URL in base64".to_owned()))?;
    let now = app.clock.unshifted();
    let presigned = sts.read(presigned, now).map_err(refused)?;
    let id = once_id(Purpose::CallerIdentity, b"", &data_encoding::HEXLOWER.encode(&presigned.signature));
    // Whoever makes them up has nothing written: it is used when the STS has said whose it is.
    let arn = sts.ask(&presigned).await.map_err(|why| match why {
        NotTold::Refused(_) => Unknown::Signature(SignatureError::UnknownKey),
        NotTold::Unavailable(_) => Unknown::Outage(why.to_string()),
    })?;
    let until = caller.now.plus(Lifetime::from_seconds(now.seconds_until(presigned.expires_at) + 1));
    match use_once(app, id, until).await {
        Ok(true) => Ok(Principal { arn, region: None }),
        Ok(false) => Err(refused("it was used before".to_owned())),
        Err(outage) => Err(Unknown::Outage(outage.to_string())),
    }
}
