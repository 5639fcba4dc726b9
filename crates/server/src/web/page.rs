//! The pages people see, as values: one struct per page, one template per struct, and the files they link to.
//!
//! A page knows nothing of stores, cookies or clocks. A handler fills a struct with plain strings and calls
//! [`askama::Template::render`]; every string is escaped on its way out. No page holds inline style or script, so
//! [`content_security_policy`] can forbid both.

use std::sync::Arc;

use askama::Template;

/// What every page has around its content.
pub(crate) struct Chrome {
    /// The display name of the person who is signed in; `None` hides the navigation and the sign-out form.
    pub(crate) person: Option<String>,
    /// The anti-forgery value that every POST form of the page carries as `csrf`.
    pub(crate) csrf: String,
    /// Shows the banner that says: a development server, not for real secrets.
    pub(crate) development: bool,
}

/// A point in time, for machines and for people.
pub(crate) struct Moment {
    /// RFC 3339, for `<time datetime>`.
    pub(crate) iso: String,
    /// The words on the page, such as `24 November 2026, 16:20 UTC`.
    pub(crate) text: String,
}

/// `GET /sign-in`, and the answer to a `POST /sign-in` that did not succeed.
///
/// Posts `csrf`, `next`, `user_name` and `password` to `/sign-in`.
#[derive(Template)]
#[template(path = "sign_in.html")]
pub(crate) struct SignIn {
    /// Around the content.
    pub(crate) chrome: Chrome,
    /// Where to go afterwards: posted back as it is, so the handler must check it again.
    pub(crate) next: String,
    /// What was typed before, or empty.
    pub(crate) user_name: String,
    /// Why the last attempt failed, in one sentence.
    pub(crate) problem: Option<String>,
    /// The other ways to sign in, each with a button of its own.
    pub(crate) sources: Vec<SourceButton>,
    /// User names and passwords to try; development only.
    pub(crate) hint: Vec<(String, String)>,
    /// Why sign-in is needed, read after "Sign in": `to continue to “botocore-client-corp”`.
    pub(crate) purpose: Option<String>,
}

/// An identity source to sign in through. Posts `csrf` and `next` to its action.
pub(crate) struct SourceButton {
    /// Where it is posted.
    pub(crate) action: String,
    /// What people call the source.
    pub(crate) label: String,
}

/// The answer to a `POST /sign-in/{source}`: on to the source, at once.
///
/// A page and not a redirect, because browsers hold every redirect that follows a form's post to the page's `form-action`,
/// and a source may send people on through hosts that nobody here knows of.
#[derive(Template)]
#[template(path = "go_there.html")]
pub(crate) struct GoThere {
    /// Around the content.
    pub(crate) chrome: Chrome,
    /// What people call the source.
    pub(crate) label: String,
    /// Its address: `https`, or on this machine.
    pub(crate) address: String,
}

/// `GET /device`: where a person types the code that a tool shows.
///
/// Posts `csrf` and `user_code` to `/device`. The code arrives as typed: any case, with or without the dash.
#[derive(Template)]
#[template(path = "device_code.html")]
pub(crate) struct DeviceCode {
    /// Around the content.
    pub(crate) chrome: Chrome,
    /// The code from the address, or what was typed before, or empty.
    pub(crate) user_code: String,
    /// Why the last code was not accepted, in one sentence.
    pub(crate) problem: Option<String>,
}

/// One thing that a tool asks for.
pub(crate) struct ScopeLine {
    /// The scope as registered, such as `sso:account:access`.
    pub(crate) scope: String,
    /// What it lets the tool do, to follow "It will be able to": `see your accounts and roles, and use them`.
    pub(crate) meaning: String,
}

/// The question that grants access: shown for a device request and for `/authorize`.
///
/// Posts `csrf`, `request` and `decision` to [`Consent::action`], where `decision` is `approve` or `deny`. Deny is
/// the form's first button, hence its default one, and nothing has the focus at first: Enter alone never approves.
/// A post without `decision`, or with any other value, comes from no button of ours and must change nothing.
#[derive(Template)]
#[template(path = "consent.html")]
pub(crate) struct Consent {
    /// Around the content.
    pub(crate) chrome: Chrome,
    /// Where the decision is posted.
    pub(crate) action: String,
    /// What is being decided: an opaque value, posted back as `request`.
    pub(crate) request: String,
    /// What the tool calls itself. Anybody can register any name, and the page says so.
    pub(crate) client_name: Arc<str>,
    /// Who vouches for that name.
    pub(crate) vouched: Vouched,
    /// The code to compare with the tool's; device requests only.
    pub(crate) user_code: Option<String>,
    /// What the tool asks for.
    pub(crate) scopes: Vec<ScopeLine>,
    /// The resources that the access is for (RFC 8707).
    pub(crate) audiences: Vec<String>,
    /// The network address that started the request.
    pub(crate) address: Option<String>,
    /// How the program that started the request names itself.
    pub(crate) user_agent: Option<String>,
    /// When the request was started.
    pub(crate) asked: Option<Moment>,
    /// The host that the browser goes to afterwards, or the scheme where there is none; `/authorize` only.
    pub(crate) returns_to: Option<String>,
    /// Who would be lending the access.
    pub(crate) person: String,
}

/// What is known of whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vouched {
    /// It is the application that an administrator registered.
    ByAdministrator,
    /// An administrator registered one of this name, and any program can claim to be it.
    NameAlone,
    /// Nothing: it registered itself.
    ByNobody,
}

impl Consent {
    fn client_name(&self) -> String {
        shown_name(&self.client_name)
    }
}

/// `GET /oauth/logout`, when it is not certain that the person wants it.
///
/// Posts `csrf`, `request` and `decision` to `/oauth/logout/decision`, where `decision` is `sign_out` or `stay`.
#[derive(Template)]
#[template(path = "sign_out.html")]
pub(crate) struct SignOut {
    /// Around the content.
    pub(crate) chrome: Chrome,
    /// What is being decided: an opaque value, posted back as `request`.
    pub(crate) request: String,
    /// The application that wants it, if it said which it is.
    pub(crate) client_name: Option<String>,
    /// Who is signed in.
    pub(crate) person: String,
}

/// How something ended; each has a mark of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutcomeKind {
    /// The person said yes, or what was asked for is done.
    Approved,
    /// The person said no.
    Denied,
    /// It took too long.
    Expired,
    /// It cannot go on: a bad request, a missing page, or a fault of ours.
    Failed,
}

impl OutcomeKind {
    /// The class that picks the colour of the mark.
    fn class(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Failed => "failed",
        }
    }
}

/// The end of a flow, or the page for anything that went wrong.
#[derive(Template)]
#[template(path = "outcome.html")]
pub(crate) struct Outcome {
    /// Around the content.
    pub(crate) chrome: Chrome,
    /// Picks the mark.
    pub(crate) kind: OutcomeKind,
    /// The heading: what happened.
    pub(crate) title: String,
    /// What it means, and what to do now.
    pub(crate) text: String,
    /// The request id, to quote when asking for help.
    pub(crate) reference: Option<String>,
    /// The way on: address and words.
    pub(crate) action: Option<(String, String)>,
}

/// An account that the person may enter.
pub(crate) struct AccountCard {
    /// The twelve digits.
    pub(crate) id: String,
    /// The account's name.
    pub(crate) name: String,
    /// The account's e-mail address, if the directory has one.
    pub(crate) email: Option<String>,
    /// The roles that the person may take there.
    pub(crate) roles: Vec<RoleLine>,
}

/// A role in an account.
pub(crate) struct RoleLine {
    /// The role's name, as in `sso_role_name`.
    pub(crate) name: String,
    /// What the role is for, if the directory says.
    pub(crate) description: Option<String>,
    /// The page with its credentials.
    pub(crate) href: String,
    /// Where the role is used in a browser, if the directory says.
    pub(crate) relay_state: Option<String>,
}

/// A tool that is signed in as the person.
pub(crate) struct SessionLine {
    /// The session's id, posted as `session` to end it.
    pub(crate) id: String,
    /// What the tool calls itself.
    pub(crate) client_name: Arc<str>,
    /// What it was granted, separated by spaces.
    pub(crate) scopes: String,
    /// When the person approved it.
    pub(crate) started: Moment,
    /// When it last got a token.
    pub(crate) last_used: Moment,
    /// When it has to sign in again.
    pub(crate) expires: Moment,
}

impl SessionLine {
    fn client_name(&self) -> String {
        shown_name(&self.client_name)
    }
}

/// An application that the person let in.
pub(crate) struct ApplicationLine {
    /// Its client id, posted as `application` to withdraw what was agreed to.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: Arc<str>,
    /// What the person agreed to.
    pub(crate) scopes: Vec<ScopeLine>,
    /// The resources that it is for.
    pub(crate) audiences: Vec<String>,
    /// When the person agreed last.
    pub(crate) given: Moment,
}

impl ApplicationLine {
    fn name(&self) -> String {
        shown_name(&self.name)
    }
}

/// `GET /start`: a person's accounts and roles, and the tools signed in as them.
///
/// Filters with `GET /start?q=`. Posts `csrf` and `session` to `/start/sessions/end`, and `csrf` and `application` to
/// `/start/applications/withdraw`.
#[derive(Template)]
#[template(path = "portal.html")]
pub(crate) struct Portal {
    /// Around the content.
    pub(crate) chrome: Chrome,
    /// What the person may enter, already filtered and in order.
    pub(crate) accounts: Vec<AccountCard>,
    /// The tools signed in as the person, latest first.
    pub(crate) sessions: Vec<SessionLine>,
    /// The applications that the person let in, by name.
    pub(crate) applications: Vec<ApplicationLine>,
    /// Which of the accounts these are.
    pub(crate) pages: Pages,
    /// The filter in use, or empty.
    pub(crate) filter: String,
    /// The lines for `~/.aws/config`.
    pub(crate) setup: String,
}

/// Which of many accounts a page shows, and where the others are.
pub(crate) struct Pages {
    /// How many accounts there are.
    pub(crate) total: usize,
    /// The number of the first one that is shown, from 1.
    pub(crate) first: usize,
    /// The number of the last one that is shown; 0 if there is none.
    pub(crate) last: usize,
    /// Where those before are.
    pub(crate) previous: Option<String>,
    /// Where those after are.
    pub(crate) next: Option<String>,
}

impl Pages {
    /// How many accounts a page shows.
    pub(crate) const LENGTH: usize = 100;

    /// The page with this number, from 1; the nearest that there is. `href` says where a page is.
    pub(crate) fn new(total: usize, number: usize, href: impl Fn(usize) -> String) -> Self {
        let count = total.div_ceil(Self::LENGTH).max(1);
        let number = number.clamp(1, count);
        let before = (number - 1) * Self::LENGTH;
        Self {
            total,
            first: before + 1,
            last: total.min(before + Self::LENGTH),
            previous: (number > 1).then(|| href(number - 1)),
            next: (number < count).then(|| href(number + 1)),
        }
    }

    fn are_several(&self) -> bool {
        self.previous.is_some() || self.next.is_some()
    }
}

impl Portal {
    /// A short list needs no filter, and can be shown unfolded.
    const SHORT: usize = 5;

    fn is_short(&self) -> bool {
        self.accounts.len() <= Self::SHORT
    }

    fn offers_filter(&self) -> bool {
        !self.is_short() || !self.filter.is_empty() || self.pages.are_several()
    }
}

/// A role's credentials, in the three forms that people paste. Must never be stored by a cache.
#[derive(Template)]
#[template(path = "role_credentials.html")]
pub(crate) struct RoleCredentials {
    /// Around the content.
    pub(crate) chrome: Chrome,
    /// The twelve digits.
    pub(crate) account_id: String,
    /// The account's name.
    pub(crate) account_name: String,
    /// The role's name.
    pub(crate) role_name: String,
    /// When the credentials stop working.
    pub(crate) expires: Moment,
    /// `export` lines for a POSIX shell.
    pub(crate) environment: String,
    /// A profile for `~/.aws/credentials`.
    pub(crate) profile: String,
    /// `$Env:` lines for PowerShell.
    pub(crate) powershell: String,
}

/// A client's name as a page may show it. Its owner chose it freely, so it must not reorder the text around it, hide
/// letters, or push the rest of the page away. Pages with a `client_name` field call this themselves; a handler that
/// puts a name into a sentence calls it there.
pub(crate) fn shown_name(name: &str) -> String {
    shown(name, 80)
}

/// `text` with what cannot be seen made visible, cut after `longest` characters.
fn shown(text: &str, longest: usize) -> String {
    let mut shown: String =
        text.chars().take(longest).map(|c| if is_invisible(c) { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(longest).is_some() {
        shown.push('…');
    }
    shown
}

/// Control characters, and the format characters that take no room or change the direction of text.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{3164}' | '\u{feff}'
        )
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{e0000}'..='\u{e0fff}')
}

/// The `Content-Security-Policy` of every page.
///
/// Browsers hold each redirect that follows a form's post to `form-action`, so a page whose form may end at a
/// client's redirect URI must name that URI here, or the last step is blocked. Sign-in does not: it leads to the consent
/// page, which has a form of its own.
pub(crate) fn content_security_policy(redirect_uri: Option<&str>) -> String {
    let target = redirect_uri.and_then(form_target).map(|source| format!(" {source}")).unwrap_or_default();
    format!(
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'{target}; \
         frame-ancestors 'none'; base-uri 'none'"
    )
}

/// The CSP source for a redirect URI: its origin, or its scheme where CSP cannot spell the origin (custom schemes and
/// IPv6 literals). `None` if it is no URI, so that nothing unexpected reaches the header.
fn form_target(redirect_uri: &str) -> Option<String> {
    let (scheme, rest) = redirect_uri.split_once(':')?;
    let plain = |text: &str, extra: &[u8]| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || extra.contains(&byte))
    };
    if !plain(scheme, b"+-.") || !scheme.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return None;
    }
    let authority = rest.strip_prefix("//").and_then(|rest| rest.split(['/', '?', '#']).next());
    Some(match authority {
        Some(authority) if plain(authority, b".-:") => format!("{scheme}://{authority}"),
        _ => format!("{scheme}:"),
    })
}

/// A file that pages link to. Its address changes with its content, so it may be cached for ever.
pub(crate) struct Asset {
    /// The last segment of its path under `/assets/`.
    pub(crate) name: &'static str,
    /// Its `Content-Type`.
    pub(crate) content_type: &'static str,
    /// Its content.
    pub(crate) body: &'static str,
    /// A checksum of the content, against stale caches.
    version: u64,
}

static STYLESHEET: Asset =
    Asset::new("doorward.css", "text/css; charset=utf-8", include_str!("../../assets/doorward.css"));
static SCRIPT: Asset =
    Asset::new("copy.js", "text/javascript; charset=utf-8", include_str!("../../assets/copy.js"));
static ICON: Asset = Asset::new("icon.svg", "image/svg+xml", include_str!("../../assets/icon.svg"));

/// The file behind `/assets/{name}`.
pub(crate) fn asset(name: &str) -> Option<&'static Asset> {
    [&STYLESHEET, &SCRIPT, &ICON].into_iter().find(|asset| asset.name == name)
}

impl Asset {
    const fn new(name: &'static str, content_type: &'static str, body: &'static str) -> Self {
        Self { name, content_type, body, version: checksum(body.as_bytes()) }
    }

    /// The address that pages use.
    pub(crate) fn href(&self) -> String {
        format!("/assets/{}?v={:016x}", self.name, self.version)
    }
}

/// FNV-1a: enough to notice a change, and it runs at compile time.
const fn checksum(bytes: &[u8]) -> u64 {
    let mut sum = 0xcbf2_9ce4_8422_2325;
    let mut at = 0;
    while at < bytes.len() {
        sum = (sum ^ bytes[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        at += 1;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "<script>alert('x')</script>\" onload=\"x";

    fn text(text: &str) -> String {
        text.to_owned()
    }

    fn chrome(person: Option<&str>) -> Chrome {
        Chrome { person: person.map(text), csrf: text("anti-forgery"), development: person.is_none() }
    }

    fn moment() -> Moment {
        Moment { iso: text("2026-11-24T16:20:00Z"), text: text("24 November 2026, 16:20 UTC") }
    }

    fn sign_in(problem: Option<&str>) -> String {
        let sources = match problem {
            None => Vec::new(),
            Some(_) => vec![SourceButton { action: text("/sign-in/corp"), label: text(HOSTILE) }],
        };
        let hint = vec![(text("ada"), text("a password")), (text("grace"), text("another"))];
        let purpose = Some(format!("to continue to “{HOSTILE}”"));
        let user_name = if problem.is_some() { text(HOSTILE) } else { String::new() };
        let problem = problem.map(text);
        let chrome = chrome(None);
        let page = SignIn { chrome, next: text(HOSTILE), user_name, problem, sources, hint, purpose };
        page.render().unwrap()
    }

    const THERE: &str = "to a source";
    const ADDRESS: &str = "https://login.example.org/authorize?a=1&#38;b=2";

    fn go_there() -> String {
        let address = text("https://login.example.org/authorize?a=1&b=2");
        GoThere { chrome: chrome(None), label: text(HOSTILE), address }.render().unwrap()
    }

    fn device_code(problem: Option<&str>) -> String {
        let chrome = chrome(Some("Ada Lovelace"));
        DeviceCode { chrome, user_code: text(HOSTILE), problem: problem.map(text) }.render().unwrap()
    }

    fn consent(known: bool) -> String {
        let scope = ScopeLine { scope: text("sso:account:access"), meaning: text("see your accounts") };
        let page = Consent {
            chrome: chrome(Some("Ada Lovelace")),
            action: text("/device/decision"),
            request: text(HOSTILE),
            client_name: HOSTILE.into(),
            vouched: if known { Vouched::ByNobody } else { Vouched::ByAdministrator },
            user_code: known.then(|| text("GPNW-SHFH")),
            scopes: if known { vec![scope] } else { Vec::new() },
            audiences: if known { Vec::new() } else { vec![text(HOSTILE)] },
            address: known.then(|| text("192.0.2.17")),
            user_agent: known.then(|| text(HOSTILE)),
            asked: known.then(moment),
            returns_to: known.then(|| text("127.0.0.1:41235")),
            person: text("Ada Lovelace"),
        };
        page.render().unwrap()
    }

    fn sign_out(client_name: Option<&str>) -> String {
        let (request, client_name) = (text(HOSTILE), client_name.map(shown_name));
        let chrome = chrome(Some("Ada Lovelace"));
        SignOut { chrome, request, client_name, person: text("Ada Lovelace") }.render().unwrap()
    }

    fn outcome(kind: OutcomeKind) -> String {
        let (title, text_, reference) = (text("What happened"), text(HOSTILE), Some(text("r-1")));
        let action = Some((text("/start"), text("Go on")));
        let page = Outcome { chrome: chrome(None), kind, title, text: text_, reference, action };
        page.render().unwrap()
    }

    fn portal(accounts: usize, sessions: usize, filter: &str) -> String {
        let role = || RoleLine {
            name: text("ReadOnly"),
            description: Some(text(HOSTILE)),
            href: text("/start/credentials?account_id=111122223333&role_name=ReadOnly"),
            relay_state: Some(text("https://console.example.com/?x=\"><script>")),
        };
        let account = |_| AccountCard {
            id: text("111122223333"),
            name: text(HOSTILE),
            email: Some(text("dev@example.com")),
            roles: vec![role(), role()],
        };
        let session = |number: usize| SessionLine {
            id: format!("session-{number}"),
            client_name: HOSTILE.into(),
            scopes: text("sso:account:access"),
            started: moment(),
            last_used: moment(),
            expires: moment(),
        };
        let application = |number: usize| ApplicationLine {
            id: format!("application-{number}"),
            name: HOSTILE.into(),
            scopes: vec![ScopeLine { scope: text("openid"), meaning: text("know who you are") }],
            audiences: vec![text(HOSTILE)],
            given: moment(),
        };
        let page = Portal {
            chrome: chrome(Some("Ada Lovelace")),
            accounts: (0..accounts).map(account).collect(),
            sessions: (0..sessions).map(session).collect(),
            applications: (0..sessions).map(application).collect(),
            pages: Pages::new(accounts, 2, |page| format!("/start?page={page}")),
            filter: text(filter),
            setup: text("[sso-session doorward]\nsso_region = us-east-1\n"),
        };
        page.render().unwrap()
    }

    fn role_credentials() -> String {
        let page = RoleCredentials {
            chrome: chrome(Some("Ada Lovelace")),
            account_id: text("111122223333"),
            account_name: text(HOSTILE),
            role_name: text("ReadOnly"),
            expires: moment(),
            environment: text("export AWS_SESSION_TOKEN=a/b+c==\n"),
            profile: text("[profile]\naws_session_token = a/b+c==\n"),
            powershell: text("$Env:AWS_SESSION_TOKEN = \"a/b+c==\"\n"),
        };
        page.render().unwrap()
    }

    #[test]
    fn every_account_is_on_one_page() {
        for total in [0, 1, 99, 100, 101, 200, 1000, 1001] {
            let mut shown = Vec::new();
            let mut number = 1;
            loop {
                let pages = Pages::new(total, number, |page| page.to_string());
                shown.extend(pages.first..=pages.last);
                assert_eq!(pages.previous.is_some(), number > 1);
                let Some(next) = pages.next else { break };
                number = next.parse().unwrap();
            }
            assert_eq!(shown, (1..=total).collect::<Vec<_>>());
        }
        let beyond = Pages::new(101, usize::MAX, |page| page.to_string());
        assert_eq!((beyond.first, beyond.last, beyond.previous.as_deref()), (101, 101, Some("1")));
        assert_eq!(Pages::new(101, 0, |page| page.to_string()).first, 1);
    }

    /// Every page in every state that changes its markup.
    fn all() -> Vec<(&'static str, String)> {
        vec![
            ("sign-in", sign_in(None)),
            ("sign-in, refused", sign_in(Some(HOSTILE))),
            (THERE, go_there()),
            ("device code", device_code(None)),
            ("device code, refused", device_code(Some(HOSTILE))),
            ("consent", consent(true)),
            ("consent, nothing known", consent(false)),
            ("sign out", sign_out(Some(HOSTILE))),
            ("sign out, nobody knows for whom", sign_out(None)),
            ("approved", outcome(OutcomeKind::Approved)),
            ("denied", outcome(OutcomeKind::Denied)),
            ("expired", outcome(OutcomeKind::Expired)),
            ("failed", outcome(OutcomeKind::Failed)),
            ("portal", portal(3, 2, "")),
            ("portal, many accounts", portal(12, 1, "")),
            ("portal, pages of accounts", portal(250, 1, "")),
            ("portal, empty", portal(0, 0, "")),
            ("portal, no match", portal(0, 0, HOSTILE)),
            ("role credentials", role_credentials()),
        ]
    }

    struct Tag<'a> {
        name: &'a str,
        attributes: Vec<(&'a str, &'a str)>,
        closes: bool,
        empty: bool,
    }

    impl<'a> Tag<'a> {
        fn get(&self, name: &str) -> Option<&'a str> {
            self.attributes.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
        }
    }

    /// The tags in their order. Escaping leaves no `>` inside a value, so a split is a parser.
    fn tags(html: &str) -> Vec<Tag<'_>> {
        html.split('<').skip(1).map(|rest| tag(rest.split_once('>').expect("an open tag").0)).collect()
    }

    fn tag(source: &str) -> Tag<'_> {
        let closes = source.starts_with('/');
        let body = source.trim_start_matches('/').trim_end_matches('/');
        let (name, mut rest) = body.split_once([' ', '\n']).unwrap_or((body, ""));
        let mut attributes = Vec::new();
        while !rest.trim_start().is_empty() {
            rest = rest.trim_start();
            let end = rest.find([' ', '=']).unwrap_or(rest.len());
            let (key, after) = rest.split_at(end);
            let Some(quoted) = after.strip_prefix("=\"") else {
                attributes.push((key, ""));
                rest = after;
                continue;
            };
            let (value, after) = quoted.split_once('"').expect("a closing quote");
            attributes.push((key, value));
            rest = after;
        }
        let empty = source.ends_with('/') || matches!(name, "!DOCTYPE" | "meta" | "link" | "input");
        Tag { name, attributes, closes, empty }
    }

    // Holds: rfc9700-4.2.4-no-third-parties
    #[test]
    fn no_page_needs_more_than_the_policy_allows() {
        for (page, html) in all() {
            for tag in tags(&html) {
                assert_ne!(tag.name, "style", "{page}");
                for (key, value) in &tag.attributes {
                    assert!(!key.starts_with("on") && *key != "style", "{page}: <{} {key}>", tag.name);
                    // A role's relay state leads away, and tells nobody from where.
                    let leads_away = tag.name == "a" && value.starts_with("https://");
                    if leads_away {
                        assert_eq!(tag.get("rel"), Some("noreferrer"), "{page}: {value}");
                    } else if matches!(*key, "href" | "src" | "action") {
                        assert!(value.starts_with(['/', '#']) && !value.starts_with("//"), "{page}: {value}");
                    }
                }
                if tag.name == "script" && !tag.closes {
                    assert_eq!(tag.get("src"), Some(SCRIPT.href().as_str()), "{page}");
                    assert!(html.contains(" defer></script>"), "{page}: a script has no words of its own");
                }
            }
        }
    }

    #[test]
    fn one_page_leads_elsewhere_by_itself() {
        let refresh = format!("<meta http-equiv=\"refresh\" content=\"0;url={ADDRESS}\">");
        for (page, html) in all() {
            assert_eq!(html.contains(&refresh), page == THERE, "{page}");
            assert_eq!(html.contains("http-equiv"), page == THERE, "{page}");
        }
    }

    #[test]
    fn what_strangers_wrote_is_text() {
        for (page, html) in all() {
            assert!(!html.contains("<script>"), "{page}");
            assert!(!html.contains("\" onload"), "{page}");
        }
        assert!(consent(false).contains("&#60;script&#62;alert("));
    }

    #[test]
    fn tags_are_balanced_and_ids_are_unique_and_found() {
        for (page, html) in all() {
            let (mut open, mut ids) = (Vec::new(), Vec::new());
            for tag in tags(&html) {
                if tag.closes {
                    assert_eq!(open.pop(), Some(tag.name), "{page}");
                } else if !tag.empty {
                    open.push(tag.name);
                }
                if let Some(id) = tag.get("id") {
                    assert!(!ids.contains(&id), "{page}: two elements are #{id}");
                    ids.push(id);
                }
            }
            assert!(open.is_empty(), "{page}: {open:?}");
            for tag in tags(&html) {
                for key in ["for", "aria-labelledby", "aria-describedby"] {
                    for id in tag.get(key).unwrap_or_default().split_whitespace() {
                        assert!(ids.contains(&id), "{page}: {key} names no element: {id}");
                    }
                }
            }
        }
    }

    #[test]
    fn each_page_has_one_heading_and_its_landmarks_and_stays_out_of_indexes() {
        for (page, html) in all() {
            for one in ["<h1", "<main", "<header", "<title>", "lang=\"en\"", "content=\"noindex,"] {
                assert_eq!(html.matches(one).count(), 1, "{page}: {one}");
            }
        }
    }

    #[test]
    fn each_visible_input_has_a_label() {
        for (page, html) in all() {
            for input in
                tags(&html).iter().filter(|tag| tag.name == "input" && tag.get("type") != Some("hidden"))
            {
                let id = input.get("id").expect("an id to label");
                assert!(html.contains(&format!("for=\"{id}\"")), "{page}: {id}");
                assert!(input.get("autocomplete").is_some(), "{page}: {id}");
            }
        }
    }

    #[test]
    fn each_post_carries_the_anti_forgery_value() {
        for (page, html) in all() {
            for form in html.split("<form").skip(1) {
                let form = form.split_once("</form>").expect("a closed form").0;
                let carries = form.contains("name=\"csrf\" value=\"anti-forgery\"");
                assert_eq!(carries, form.contains("method=\"post\""), "{page}: GET forms must not leak it");
            }
        }
    }

    #[test]
    fn a_problem_is_announced_and_tied_to_its_inputs() {
        for (html, inputs) in [(sign_in(Some("No.")), 2), (device_code(Some("No.")), 1)] {
            assert!(html.contains("id=\"problem\" role=\"alert\""));
            assert!(html.contains("<title>Problem: "));
            assert_eq!(html.matches("aria-invalid=\"true\"").count(), inputs);
            assert_eq!(html.matches("aria-describedby=\"problem").count(), inputs);
        }
        assert!(!sign_in(None).contains("problem\""));
    }

    #[test]
    fn enter_alone_never_approves() {
        let html = consent(true);
        let deny = html.find("value=\"deny\"").expect("a deny button");
        let approve = html.find("value=\"approve\"").expect("an approve button");
        assert!(deny < approve, "the first submit button is the default one");
        assert!(!html.contains("autofocus"));
    }

    #[test]
    fn a_clients_name_cannot_play_tricks_with_the_page() {
        assert_eq!(shown_name("botocore-client-corp"), "botocore-client-corp");
        assert_eq!(shown_name("Größe 大"), "Größe 大");
        assert_eq!(shown_name("a\u{202e}b\u{200b}\nc"), "a\u{fffd}b\u{fffd}\u{fffd}c");
        let long = shown_name(&"x".repeat(500));
        assert_eq!((long.chars().count(), long.chars().last()), (81, Some('…')));
    }

    #[test]
    fn each_end_button_names_its_tool() {
        let html = portal(1, 2, "");
        assert_eq!(html.matches("End<span class=\"hidden\"> the session of ").count(), 2);
        assert!(html.contains("name=\"session\" value=\"session-1\""));
    }

    #[test]
    fn many_accounts_are_folded_and_can_be_filtered() {
        assert!(portal(3, 0, "").contains("<details class=\"account\" open>"));
        assert!(!portal(3, 0, "").contains("name=\"q\""));
        assert!(portal(12, 0, "").contains("<details class=\"account\">"));
        assert!(portal(12, 0, "").contains("name=\"q\""));
        assert!(portal(0, 0, "x").contains("name=\"q\""));
        assert!(!portal(100, 0, "").contains("href=\"/start?page="));
        let second = portal(250, 0, "");
        assert!(second.contains("250 accounts") && second.contains("101 to 200 of 250"));
        assert!(second.contains("href=\"/start?page=1\"") && second.contains("href=\"/start?page=3\""));
    }

    #[test]
    fn the_policy_names_where_a_form_may_end() {
        let target = |uri| {
            let policy = content_security_policy(Some(uri));
            let (_, rest) = policy.split_once("form-action 'self'").expect("a form-action");
            rest.split_once(';').expect("an end").0.trim().to_owned()
        };
        assert!(!content_security_policy(None).contains("unsafe"));
        assert_eq!(target("http://127.0.0.1:41235/oauth/callback"), "http://127.0.0.1:41235");
        assert_eq!(target("https://app.example.org/back?x=1"), "https://app.example.org");
        assert_eq!(target("http://[::1]:41235/callback"), "http:");
        assert_eq!(target("com.example.app:/callback"), "com.example.app:");
        assert_eq!(target("https://a.example; script-src *"), "https:");
        assert_eq!(target("; script-src *:"), "");
        assert_eq!(target(""), "");
    }

    // Holds: rfc9700-4.2.4-no-third-parties
    #[test]
    fn assets_are_found_by_name_and_fetch_nothing_else() {
        for name in ["doorward.css", "copy.js", "icon.svg"] {
            let asset = asset(name).expect("an asset");
            assert!(asset.href().starts_with(&format!("/assets/{name}?v=")));
            let body = asset.body.replace("http://www.w3.org/2000/svg", "");
            assert!(!["http:", "https:", "url(", "@import"].iter().any(|word| body.contains(word)), "{name}");
        }
        assert!(asset("../doorward.css").is_none());
    }
}
