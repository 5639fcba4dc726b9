//! `[iam]`: who may call CreateTokenWithIAM.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

/// `[iam]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IamConfig {
    /// Access keys that this server itself knows.
    #[serde(default)]
    pub access_keys: BTreeMap<String, AccessKeyConfig>,
    /// The STS that is asked who a caller is; nobody is asked without it.
    pub sts_endpoint: Option<String>,
    /// What callers must sign so that it is known which server they mean; the host of `public_url` when absent.
    pub server_id: Option<String>,
    /// Certificates, in PEM, of the authorities that the certificate of that STS may come from, instead of the system's.
    pub sts_ca_file: Option<PathBuf>,
}

/// `[iam.access_keys.NAME]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessKeyConfig {
    /// The key's id, 16 to 128 letters and digits.
    pub access_key_id: String,
    /// A file with its secret, which nobody else may read.
    pub secret_access_key_file: PathBuf,
    /// Who signs with it: the ARN that applications name.
    pub arn: String,
}

impl IamConfig {
    /// What is wrong with it, as far as that can be told without reading files.
    ///
    /// # Errors
    /// The key, and what it must be.
    pub fn check(&self) -> Result<(), String> {
        let mut known: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, key) in &self.access_keys {
            let id = &key.access_key_id;
            let fits = (16..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if !fits {
                return Err(format!(
                    "iam.access_keys.{name}.access_key_id must be 16 to 128 letters and digits"
                ));
            }
            if let Some(first) = known.insert(id, name) {
                return Err(format!(
                    "iam.access_keys.{name}.access_key_id is that of iam.access_keys.{first}"
                ));
            }
            if doorward_upstream::iam::caller_identity::principal(&key.arn).as_ref() != Some(&key.arn) {
                return Err(format!(
                    "iam.access_keys.{name}.arn must be an ARN, such as arn:aws:iam::111122223333:user/deploy; of an \
                     assumed role, that of the role"
                ));
            }
        }
        let without = self.sts_endpoint.is_none();
        for (key, given) in
            [("server_id", self.server_id.is_some()), ("sts_ca_file", self.sts_ca_file.is_some())]
        {
            if without && given {
                return Err(format!("iam.{key} belongs to sts_endpoint"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::config;
    use crate::iam::Callers;

    const KEY: &str = "[access_keys.deploy]\naccess_key_id = \"AKIAIOSFODNN7EXAMPLE\"\nsecret_access_key_file = \"deploy.key\"\n\
                       arn = \"arn:aws:iam::111122223333:user/deploy\"\n";

    fn wrong(text: &str) -> String {
        config::parse::<IamConfig>(text).unwrap().check().unwrap_err()
    }

    #[test]
    fn each_key_is_of_one_principal_with_an_arn() {
        config::parse::<IamConfig>(KEY).unwrap().check().unwrap();
        assert!(
            wrong(&KEY.replace("AKIAIOSFODNN7EXAMPLE", "AKIA/x"))
                .starts_with("iam.access_keys.deploy.access_key_id")
        );
        let twice = format!("{KEY}{}", KEY.replace("deploy]", "other]"));
        assert_eq!(wrong(&twice), "iam.access_keys.other.access_key_id is that of iam.access_keys.deploy");
        for bad in ["deploy", "arn:aws:sts::111122223333:assumed-role/Deploy/ci", ""] {
            let why = wrong(&KEY.replace("arn:aws:iam::111122223333:user/deploy", bad));
            assert!(why.starts_with("iam.access_keys.deploy.arn must be an ARN"), "{why}");
        }
    }

    #[test]
    fn what_belongs_to_an_sts_needs_one() {
        assert_eq!(wrong("server_id = \"x\""), "iam.server_id belongs to sts_endpoint");
        assert_eq!(wrong("sts_ca_file = \"x\""), "iam.sts_ca_file belongs to sts_endpoint");
        let config: IamConfig = config::parse("sts_endpoint = \"http://sts.example.org\"").unwrap();
        let why = Callers::configured(&config, "https://sso.example.org").unwrap_err().to_string();
        assert_eq!(why, "iam.sts_endpoint must begin with https://");
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n";
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deploy.key");
        let mut config: IamConfig = config::parse(KEY).unwrap();
        config.access_keys.get_mut("deploy").unwrap().secret_access_key_file.clone_from(&file);
        let made = |secret: &str, mode| {
            fs::write(&file, secret).unwrap();
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            Callers::configured(&config, "https://sso.example.org")
                .map(drop)
                .map_err(|error| format!("{error:#}"))
        };
        assert_eq!(made(SECRET, 0o600), Ok(()));
        let why = made(SECRET, 0o640).unwrap_err();
        assert!(why.contains("deploy.key (mode 640), and call as its owner with it: chmod 600"), "{why}");
        for bad in ["", "short", "wJalrXUtnFEMI K7MDENG"] {
            let why = made(bad, 0o600).unwrap_err();
            assert!(why.ends_with("it must hold 16 or more ASCII characters without spaces"), "{why}");
        }
    }
}
