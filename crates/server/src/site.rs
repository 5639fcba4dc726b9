//! Where this server is found: its addresses, the start URLs it answers to, and its region.

use url::Url;

/// Where this server is found.
#[derive(Clone, Debug)]
pub struct Site {
    base: String,
    secure: bool,
    port: Option<u16>,
    aliases: Vec<String>,
    region: String,
    start_url_redirect: Option<String>,
}

/// An address that cannot be used; the text says why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {url:?} {why}")]
pub struct BadUrl {
    what: &'static str,
    url: String,
    why: &'static str,
}

impl Site {
    /// A site at `public_url`, an origin without a path: the AWS CLI builds `/authorize` from host and port alone.
    ///
    /// # Errors
    /// [`BadUrl`] for an address that is not one, or has a path.
    pub fn new(public_url: &str, aliases: Vec<String>, region: String) -> Result<Self, BadUrl> {
        let bad = |why| BadUrl { what: "public_url", url: public_url.to_owned(), why };
        let url = Url::parse(public_url).map_err(|_| bad("is not an absolute URL"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(bad("must begin with https:// or http://"));
        }
        if url.path() != "/"
            || url.query().is_some()
            || url.fragment().is_some()
            || !url.username().is_empty()
        {
            return Err(bad("must have no path: clients look for /authorize at the root of the host"));
        }
        for alias in &aliases {
            if normalised(alias).is_none() {
                return Err(BadUrl {
                    what: "start URL alias",
                    url: alias.clone(),
                    why: "is not an absolute http or https URL",
                });
            }
        }
        Ok(Self {
            base: url.origin().ascii_serialization(),
            secure: url.scheme() == "https",
            port: url.port(),
            aliases,
            region,
            start_url_redirect: None,
        })
    }

    /// The same site, whose start URL sends the AWS CLI's `HEAD` on to `target`, an address with a host that the CLI
    /// takes for AWS's own.
    ///
    /// # Errors
    /// [`BadUrl`] for an address that is not `https`.
    pub fn with_start_url_redirect(mut self, target: String) -> Result<Self, BadUrl> {
        if !Url::parse(&target).is_ok_and(|url| url.scheme() == "https") {
            return Err(BadUrl { what: "start_url_redirect", url: target, why: "must begin with https://" });
        }
        if !self.knows_start_url(&target) {
            self.aliases.push(target.clone());
        }
        self.start_url_redirect = Some(target);
        Ok(self)
    }

    /// The origin, such as `https://sso.example.org`: both API endpoints, without a slash at the end.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Whether browsers reach it by TLS.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    /// The port in the origin, unless it is the scheme's own.
    pub(crate) const fn port(&self) -> Option<u16> {
        self.port
    }

    /// `host:port` of the origin.
    pub(crate) fn authority(&self) -> &str {
        self.base.split_once("://").map_or("", |(_, authority)| authority)
    }

    /// The start URL that people open in a browser.
    #[must_use]
    pub fn start_url(&self) -> String {
        format!("{}/start", self.base)
    }

    /// The other start URLs it answers to.
    #[must_use]
    pub fn aliases(&self) -> &[String] {
        &self.aliases
    }

    /// The start URL to put into a client's configuration: the AWS CLI from 2.35.13 on accepts only what looks like
    /// AWS's own.
    #[must_use]
    pub fn configured_start_url(&self) -> String {
        self.aliases.first().cloned().unwrap_or_else(|| self.start_url())
    }

    /// `sso_region`. Any name will do, as long as clients use it too.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Where a `HEAD` of the start URL is sent on to.
    pub(crate) fn start_url_redirect(&self) -> Option<&str> {
        self.start_url_redirect.as_deref()
    }

    /// Whether `start_url` is this server's own or an alias. A trailing slash, a fragment and the case of the host
    /// do not matter.
    #[must_use]
    pub fn knows_start_url(&self, start_url: &str) -> bool {
        let Some(asked) = normalised(start_url) else { return false };
        self.aliases
            .iter()
            .map(String::as_str)
            .chain([self.start_url().as_str()])
            .any(|known| normalised(known).is_some_and(|known| known == asked))
    }
}

fn normalised(start_url: &str) -> Option<String> {
    let mut url = Url::parse(start_url).ok()?;
    if !matches!(url.scheme(), "http" | "https") {
        return None;
    }
    url.set_fragment(None);
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Some(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Site {
        let aliases = vec!["https://local.doorward.awsapps.com/start".to_owned()];
        Site::new("http://127.0.0.1:8377", aliases, "us-east-1".to_owned()).unwrap()
    }

    #[test]
    fn t16_t17_slashes_and_fragments_do_not_matter_and_aliases_count() {
        for known in [
            "http://127.0.0.1:8377/start",
            "http://127.0.0.1:8377/start/",
            "http://127.0.0.1:8377/start/#/",
            "http://127.0.0.1:8377/start#/device",
            "https://local.doorward.awsapps.com/start/#",
            "https://LOCAL.doorward.awsapps.com/start",
        ] {
            assert!(site().knows_start_url(known), "{known}");
        }
        for unknown in [
            "https://127.0.0.1:8377/start",
            "http://127.0.0.1:8378/start",
            "http://127.0.0.1:8377/",
            "http://127.0.0.1:8377/start?x=1",
            "https://doorward.awsapps.com/start",
            "/start",
            "",
        ] {
            assert!(!site().knows_start_url(unknown), "{unknown}");
        }
    }

    #[test]
    fn a_public_url_is_an_origin() {
        let site = |url: &str| Site::new(url, vec![], String::new()).map(|site| site.base().to_owned());
        assert_eq!(site("https://sso.example.org/").as_deref(), Ok("https://sso.example.org"));
        for bad in
            ["sso.example.org", "ftp://a", "https://a/prefix", "https://a/?x", "https://me@a", "https://"]
        {
            assert!(site(bad).is_err(), "{bad}");
        }
    }
}
