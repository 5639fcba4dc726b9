//! What is wrong with applications and the descriptions of scopes.

use std::collections::{HashMap, HashSet};

use super::{Found, Place, keys, nearest, uris};
use crate::application::{Application, ClientAuthentication};
use crate::client::GrantType;
use crate::directory::file::DirectoryFile;
use crate::ids::{ApplicationId, BrokerName, GroupName, PersonId};
use crate::scope::{STANDARD, is_scope};
use crate::time::Lifetime;

/// The most redirect URIs, of each kind (sso-admin model `RedirectUris`).
const MOST_URIS: usize = 10;
/// The most resource servers that one application's tokens can be for.
const MOST_AUDIENCES: usize = 20;
/// The most keys of one application.
const MOST_KEYS: usize = 10;
/// The most issuers that one application presents assertions of.
const MOST_ISSUERS: usize = 20;
/// The most audiences that an assertion may name one of (sso-admin model `TokenIssuerAudiences`).
const MOST_ASSERTED: usize = 10;
/// The most callers of CreateTokenWithIAM, for one application.
const MOST_PRINCIPALS: usize = 50;

/// The grants that give tokens for somebody.
const FOR_PEOPLE: [GrantType; 4] =
    [GrantType::DeviceCode, GrantType::AuthorizationCode, GrantType::TokenExchange, GrantType::JwtBearer];

/// Where the applications of `file` do not fit together and with the rest: names that occur twice, and names of nothing.
pub(super) fn contradictions(
    found: &mut Found,
    file: &DirectoryFile,
    people: &HashSet<&PersonId>,
    groups: &HashSet<&GroupName>,
) {
    found.names("scopes", "scope", file.scopes.iter().map(|scope| &scope.name));
    let ids = file.applications.iter().map(|application| &application.client_id);
    let ids = found.names("applications", "application", ids);
    let mut arns = HashSet::new();
    for (nth, application) in file.applications.iter().enumerate() {
        let (at, name) = entry(nth, application);
        if let Some(arn) = &application.arn {
            // Both are looked up in one place.
            if !arns.insert(arn) || (ids.contains(arn) && *arn != application.client_id) {
                found.add(
                    at.member("arn"),
                    format!("{name}: arn is the arn or client_id of another application"),
                );
            }
        }
        found.known(at.member("people"), &name, "person", &application.people, people);
        found.known(at.member("groups"), &name, "group", &application.groups, groups);
        if let Some(policy) = &application.token_exchange {
            let at = at.member("token_exchange").inner("subjects_of");
            found.known(at, &name, "application", &policy.subjects_of, &ids);
        }
    }
}

/// Everything else that is wrong with them.
pub(super) fn problems(found: &mut Found, file: &DirectoryFile) {
    let mut known: HashSet<&str> = STANDARD.into_iter().collect();
    for (nth, scope) in file.scopes.iter().enumerate() {
        let at = Place::entry("scopes", nth);
        if is_scope(&scope.name) {
            known.insert(&scope.name);
        } else {
            found.add(at.member("name"), format!("scope {}: name {SCOPE}", nth + 1));
        }
        let name = format!("scope {}", nth + 1);
        found.text(at, &name, "description", Some(&scope.description), 1..=200);
    }
    for (nth, application) in file.applications.iter().enumerate() {
        let (at, name) = entry(nth, application);
        Looking { found: &mut *found, at, name: &name }.at(application, &known);
    }
}

/// The applications whose tokens could be for one of `audiences`.
pub(super) fn taken_audiences(
    found: &mut Found,
    file: &DirectoryFile,
    audiences: &HashMap<&str, &BrokerName>,
) {
    for (nth, application) in file.applications.iter().enumerate() {
        let (at, name) = entry(nth, application);
        let mut look = |at: Place, member: &str, value: &str| {
            if let Some(broker) = audiences.get(value) {
                let why = format!(
                    "{member} is the audience of broker {broker}, whose service would give role credentials for this \
                     application's tokens: use another here or there"
                );
                found.add(at, format!("{name}: {why}"));
            }
        };
        look(at.member("client_id"), "client_id", application.client_id.as_str());
        let one = [
            ("arn", application.arn.as_ref().map(ApplicationId::as_str)),
            ("resource", application.resource.as_deref()),
        ];
        for (member, value) in one {
            if let Some(value) = value {
                look(at.member(member), member, value);
            }
        }
        for (nth, audience) in application.audiences.iter().enumerate() {
            look(at.member("audiences").element(nth), "audiences", audience);
        }
        let policy = application.token_exchange.iter().flat_map(|policy| &policy.audiences);
        for (nth, audience) in policy.enumerate() {
            let at = at.member("token_exchange").inner("audiences").element(nth);
            look(at, "token_exchange.audiences", audience);
        }
    }
}

/// What a scope must be, to follow its name.
const SCOPE: &str = "must be 1 to 128 ASCII characters without spaces, quotation marks and backslashes";

fn entry(nth: usize, application: &Application) -> (Place, String) {
    (Place::entry("applications", nth), format!("application {}", application.client_id))
}

/// One application that is looked at.
struct Looking<'a> {
    found: &'a mut Found,
    at: Place,
    name: &'a str,
}

impl Looking<'_> {
    fn at(&mut self, application: &Application, scopes: &HashSet<&str>) {
        self.text("name", &application.name);
        if application.arn.as_ref().is_some_and(|arn| !is_application_arn(arn.as_str())) {
            self.wrong(
                "arn",
                "must look like arn:aws:sso::111122223333:application/ssoins-0123456789abcdef/apl-0123456789abcdef",
            );
        }
        self.authentication(application);
        self.grants(application);
        self.uris(application);
        self.scopes(application, scopes);
        self.people(application);
        self.lifetime("access_token_lifetime", application.access_token_lifetime, 60, 43_200);
        self.lifetime("session_lifetime", application.session_lifetime, 300, 7_776_000);
        self.token_exchange(application);
        self.trusted_issuers(application);
        self.iam_principals(application);
    }

    /// `why` follows the name of the member.
    fn wrong(&mut self, member: &'static str, why: &str) {
        self.wrong_at(self.at.member(member), member, why);
    }

    fn wrong_at(&mut self, at: Place, what: &str, why: &str) {
        self.found.add(at, format!("{}: {what} {why}", self.name));
    }

    fn text(&mut self, member: &'static str, text: &str) {
        self.found.text(self.at, self.name, member, Some(text), 1..=256);
    }

    /// Each element once, none of them wrong, and not too many.
    fn list<T: PartialEq>(
        &mut self,
        at: Place,
        what: &str,
        list: &[T],
        most: usize,
        check: impl Fn(&T) -> Result<(), &'static str>,
    ) {
        if list.len() > most {
            self.wrong_at(at, what, &format!("must be {most} at most"));
        }
        for (nth, element) in list.iter().enumerate() {
            if let Err(why) = check(element) {
                self.wrong_at(at.element(nth), what, why);
            } else if list[..nth].contains(element) {
                self.wrong_at(at.element(nth), what, "has this one twice");
            }
            if nth >= most {
                // Comparing each with all before it is for short lists.
                break;
            }
        }
    }

    fn authentication(&mut self, application: &Application) {
        let (secrets, keys) = (application.secret_hashes.len(), application.keys.len());
        let mut unneeded = |member, count: usize, belongs| {
            if count > 0 {
                self.wrong(member, belongs);
            }
        };
        match application.authentication {
            ClientAuthentication::None => {
                unneeded("secret_hashes", secrets, "must not be there when authentication is none");
                unneeded("keys", keys, "must not be there when authentication is none");
                // Whoever knows its client_id is such an application.
                unneeded(
                    "iam_principals",
                    application.iam_principals.len(),
                    "would keep nobody out when authentication is none",
                );
                if application.grants.contains(&GrantType::ClientCredentials) {
                    self.wrong("grants", "must not have client_credentials when authentication is none");
                }
                if application.grants.contains(&GrantType::JwtBearer) {
                    self.wrong("grants", "must not have jwt-bearer when authentication is none");
                }
            }
            ClientAuthentication::ClientSecretBasic | ClientAuthentication::ClientSecretPost => {
                unneeded("keys", keys, "belong to authentication = \"private_key_jwt\"");
                if !(1..=2).contains(&secrets) {
                    self.wrong("secret_hashes", "must be 1 or 2: `doorward application secret` prints one");
                }
            }
            ClientAuthentication::PrivateKeyJwt => {
                unneeded(
                    "secret_hashes",
                    secrets,
                    "must not be there when authentication is private_key_jwt",
                );
                if !(1..=MOST_KEYS).contains(&keys) {
                    self.wrong("keys", "must be 1 to 10");
                }
            }
        }
        if application.secret_hashes.len() == 2
            && application.secret_hashes[0] == application.secret_hashes[1]
        {
            self.wrong_at(self.at.member("secret_hashes").element(1), "secret_hashes", "has this one twice");
        }
        let keys = &application.keys[..application.keys.len().min(MOST_KEYS)];
        keys::problems(self.found, self.at.member("keys"), self.name, keys);
    }

    fn grants(&mut self, application: &Application) {
        let grants = &application.grants;
        // One that only has to do with the tokens of others needs none of its own.
        if grants.is_empty() && application.resource.is_none() {
            self.wrong("grants", "must have one, because this is no resource either");
        }
        self.list(self.at.member("grants"), "grants", grants, 6, |_| Ok(()));
        if grants.contains(&GrantType::AuthorizationCode) && application.redirect_uris.is_empty() {
            self.wrong("redirect_uris", "must have one, because grants has authorization_code");
        }
    }

    fn uris(&mut self, application: &Application) {
        for (member, list) in [
            ("redirect_uris", &application.redirect_uris),
            ("post_logout_redirect_uris", &application.post_logout_redirect_uris),
        ] {
            self.list(self.at.member(member), member, list, MOST_URIS, |uri| uris::redirect(uri));
        }
        if let Some(Err(why)) = application.backchannel_logout_uri.as_deref().map(uris::called) {
            self.wrong("backchannel_logout_uri", why);
        }
        let audiences = &application.audiences;
        self.list(self.at.member("audiences"), "audiences", audiences, MOST_AUDIENCES, |uri| {
            uris::resource(uri)
        });
        if let Some(resource) = &application.resource {
            if let Err(why) = uris::resource(resource) {
                self.wrong("resource", why);
            }
            if application.authentication == ClientAuthentication::None {
                self.wrong(
                    "resource",
                    "must not be there when authentication is none: anybody could introspect",
                );
            }
        }
    }

    fn scopes(&mut self, application: &Application, known: &HashSet<&str>) {
        if application.scopes.is_empty() {
            return self.wrong("scopes", "must have one");
        }
        if application.dpop_bound_access_tokens && application.scopes.allow_account_access() {
            let why = "must be without account access: the portal's tokens are bound to no key";
            self.wrong("dpop_bound_access_tokens", why);
        }
        if application.scopes.iter().any(|scope| !is_scope(scope)) {
            self.wrong("scopes", SCOPE);
        } else if !application.scopes.are_well_formed() {
            self.wrong("scopes", "must be 64 at most, with 2048 characters in all");
        }
        for scope in application.scopes.iter().filter(|scope| is_scope(scope) && !known.contains(scope)) {
            let alike = nearest(scope, known.iter().map(ToString::to_string));
            let hint = match alike {
                Some(alike) => format!("did you mean {alike}?"),
                None => "`scopes` of the directory describes those that are not standard".to_owned(),
            };
            let what = format!("{}: there is no scope {scope}; {hint}", self.name);
            self.found.add(self.at.member("scopes"), what);
        }
    }

    fn people(&mut self, application: &Application) {
        let listed = !(application.people.is_empty() && application.groups.is_empty());
        let member = if application.everybody {
            "everybody"
        } else if application.groups.is_empty() {
            "people"
        } else {
            "groups"
        };
        if application.grants.iter().any(|grant| FOR_PEOPLE.contains(grant)) {
            if application.everybody && listed {
                self.wrong("everybody", "and people or groups exclude each other");
            } else if !application.everybody && !listed {
                let why = "say who may use it: people, groups, or everybody = true";
                self.found.add(self.at, format!("{}: {why}", self.name));
            }
        } else if application.everybody || listed {
            self.wrong(member, "must not be there: none of grants gives a token for a person");
        }
    }

    fn lifetime(&mut self, member: &'static str, lifetime: Option<Lifetime>, least: u32, most: u32) {
        if lifetime.is_some_and(|lifetime| !(least..=most).contains(&lifetime.seconds())) {
            self.wrong(member, &format!("must be {least} to {most} seconds"));
        }
    }

    fn token_exchange(&mut self, application: &Application) {
        let granted = application.grants.contains(&GrantType::TokenExchange);
        match &application.token_exchange {
            None if granted => self.wrong("token_exchange", "is missing, because grants has token-exchange"),
            Some(_) if !granted => {
                self.wrong(
                    "token_exchange",
                    "needs urn:ietf:params:oauth:grant-type:token-exchange in grants",
                );
            }
            _ => {}
        }
        let Some(policy) = &application.token_exchange else { return };
        let at = self.at.member("token_exchange");
        let (subjects, audiences) = (at.inner("subjects_of"), at.inner("audiences"));
        if policy.subjects_of.is_empty() {
            self.wrong_at(subjects, "token_exchange.subjects_of", "must have one");
        }
        // Which there are was looked at before.
        self.list(subjects, "token_exchange.subjects_of", &policy.subjects_of, 1000, |_| Ok(()));
        if policy.audiences.is_empty() {
            self.wrong_at(audiences, "token_exchange.audiences", "must have one");
        }
        self.list(audiences, "token_exchange.audiences", &policy.audiences, MOST_AUDIENCES, |uri| {
            uris::resource(uri)
        });
    }

    fn trusted_issuers(&mut self, application: &Application) {
        let granted = application.grants.contains(&GrantType::JwtBearer);
        match (application.trusted_issuers.is_empty(), granted) {
            (true, true) => self.wrong("trusted_issuers", "must have one, because grants has jwt-bearer"),
            (false, false) => {
                self.wrong("trusted_issuers", "needs urn:ietf:params:oauth:grant-type:jwt-bearer in grants");
            }
            _ => {}
        }
        let at = self.at.member("trusted_issuers");
        if application.trusted_issuers.len() > MOST_ISSUERS {
            self.wrong("trusted_issuers", "must be 20 at most");
        }
        for (nth, accepted) in application.trusted_issuers.iter().take(MOST_ISSUERS).enumerate() {
            let at = at.element(nth);
            if application.trusted_issuers[..nth].iter().any(|other| other.issuer == accepted.issuer) {
                self.wrong_at(at.inner("issuer"), "trusted_issuers", "has this issuer twice");
            }
            let (at, what) = (at.inner("audiences"), "trusted_issuers.audiences");
            if accepted.audiences.is_empty() {
                self.wrong_at(at, what, "must have one");
            }
            self.list(at, what, &accepted.audiences, MOST_ASSERTED, |audience| {
                let fits =
                    (1..=512).contains(&audience.chars().count()) && !audience.chars().any(char::is_control);
                if fits {
                    Ok(())
                } else {
                    Err("must be 1 to 512 characters, none of them a control character")
                }
            });
        }
    }

    fn iam_principals(&mut self, application: &Application) {
        let at = self.at.member("iam_principals");
        self.list(at, "iam_principals", &application.iam_principals, MOST_PRINCIPALS, |principal| {
            let written = principal.bytes().all(|byte| byte.is_ascii_graphic());
            if !(1..=2048).contains(&principal.len()) || !written {
                return Err("must be 1 to 2048 ASCII characters without spaces");
            }
            // A `*` in the place of that would be everybody who has keys.
            if !principal.starts_with("arn:") {
                return Err("must begin with arn:");
            }
            // And in that of the partition or the account, everybody who has an account somewhere.
            let star = principal.split(':').take(5).any(|part| part.contains('*'));
            if star { Err("must have * in the sixth part alone, the name in its account") } else { Ok(()) }
        });
    }
}

/// `arn:aws:sso::<12 digits>:application/ssoins-<16>/apl-<16>` (sso-admin model `ApplicationArn`).
fn is_application_arn(text: &str) -> bool {
    let parts = || {
        let (account, rest) = text.strip_prefix("arn:aws:sso::")?.split_once(":application/ssoins-")?;
        let (instance, application) = rest.split_once("/apl-")?;
        Some((account, [instance, application]))
    };
    let is_id = |id: &str| id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    parts().is_some_and(|(account, ids)| {
        account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()) && ids.into_iter().all(is_id)
    })
}

#[cfg(test)]
mod tests;
