//! Which database, and how patient we are with it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, LoadBalanceHosts, SslMode};

/// A database of PostgreSQL's kind, from its URL.
///
/// # TLS
/// The URL's `sslmode` means what it says here, which is stricter than in libpq:
///
/// - `require`, `verify-ca` and `verify-full` are the same: TLS, and the server's certificate must come from a known
///   authority and name the host of the URL. Nothing less keeps anybody out who can redirect the connection.
/// - `prefer` uses TLS, verified in the same way, when the server offers it, and plain text when it does not. Whoever
///   sits on the way can withhold the offer: it protects from nobody, and is meant for the day TLS is introduced.
/// - `disable` is plain text, and so are Unix sockets always.
///
/// A URL without `sslmode` means `verify-full`, or `disable` when each of its hosts is this machine: `localhost`, a
/// loopback address or a Unix socket. The authorities are those of the operating system, or those of
/// [`ca_file`](Self::ca_file).
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresOptions {
    /// A PEM file with the certificates of the authorities to believe instead of the operating system's; the URL's
    /// `sslrootcert` sets it.
    pub ca_file: Option<PathBuf>,
    /// How many connections answer requests at most, besides the two that write rotations. 8 unless set.
    pub connections: usize,
    /// How long connecting may take, and waiting for a free connection. 5 s unless set.
    pub connect_timeout: Duration,
    /// How long the database may work at one statement. 5 s unless set.
    ///
    /// No call of the store takes longer than this and [`connect_timeout`](Self::connect_timeout) together. A request
    /// makes two or three calls, so the sum should stay below half of the server's own timeout of 30 s.
    pub statement_timeout: Duration,
    config: Config,
}

impl PostgresOptions {
    /// The options for the database at `url`: `postgres://user:password@host:5432/database`, with the parameters of
    /// libpq that tokio-postgres knows, several hosts and `target_session_attrs` included.
    ///
    /// # Errors
    /// [`BadUrl`], which repeats nothing that could be a part of a password.
    pub fn from_url(url: &str) -> Result<Self, BadUrl> {
        let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
        let rest = rest.ok_or_else(|| BadUrl("it does not begin with postgres://".into()))?;
        let (credentials, place) = match rest.split_once('@') {
            Some((credentials, place)) => (Some(credentials), place),
            None => (None, rest),
        };
        let (place, parameters) = place.split_once('?').unwrap_or((place, ""));
        // What follows the first would be taken for the host, which is shown to everybody who reads the log.
        if place.contains('@') {
            return Err(BadUrl("it has a second @; write one that belongs to the password as %40".into()));
        }
        let (mut mode, mut ca_file, mut kept) = (None, None, Vec::new());
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("sslmode", value)) => mode = Some(ssl_mode(value)?),
                Some(("sslrootcert", value)) => {
                    ca_file = Some(PathBuf::from(percent_decode_str(value).decode_utf8_lossy().as_ref()));
                }
                _ => kept.push(parameter),
            }
        }
        let credentials = credentials.map(|credentials| format!("{credentials}@")).unwrap_or_default();
        let url = format!("postgres://{credentials}{place}?{}", kept.join("&"));
        let mut config = Config::from_str(&url).map_err(|error| BadUrl(complaint(&error)))?;
        if config.get_hosts().is_empty() {
            return Err(BadUrl("it names no host".into()));
        }
        config.ssl_mode(if config.get_hosts().iter().all(is_socket) {
            SslMode::Disable
        } else {
            let local = config.get_hosts().iter().all(is_this_machine);
            mode.unwrap_or(if local { SslMode::Disable } else { SslMode::Require })
        });
        if config.get_application_name().is_none() {
            config.application_name("doorward");
        }
        notice_dead_peers(&mut config);
        let second = Duration::from_secs(1);
        Ok(Self {
            ca_file,
            connections: 8,
            connect_timeout: 5 * second,
            statement_timeout: 5 * second,
            config,
        })
    }

    /// Where the database is, for people: hosts and name, and never a password.
    pub(crate) fn place(&self) -> String {
        let ports = self.config.get_ports();
        let mut hosts = Vec::new();
        for (at, host) in self.config.get_hosts().iter().enumerate() {
            let port = ports.get(at).or(ports.first()).copied().unwrap_or(5432);
            hosts.push(match host {
                Host::Tcp(name) => format!("{name}:{port}"),
                Host::Unix(path) => format!("{}:{port}", path.display()),
            });
        }
        let name = self.config.get_dbname().or(self.config.get_user()).unwrap_or_default();
        format!("{}/{name}", hosts.join(","))
    }

    /// What tokio-postgres is told, one host at a time and in their order.
    ///
    /// Given all of them it waits for the first as long as that accepts connections and says nothing, as a machine does
    /// whose disk hangs, and nobody would come to the one that took over. With `load_balance_hosts=random` it is told all
    /// of them all the same, and draws the order.
    pub(super) fn hosts(&self) -> Vec<Config> {
        let hosts = self.config.get_hosts().len();
        if hosts == 1 || self.config.get_load_balance_hosts() != LoadBalanceHosts::Disable {
            return vec![self.config.clone()];
        }
        (0..hosts).map(|at| self.alone(at)).collect()
    }

    /// The same with one of the hosts.
    fn alone(&self, at: usize) -> Config {
        let (all, mut one) = (&self.config, Config::new());
        match &all.get_hosts()[at] {
            Host::Tcp(name) => one.host(name),
            Host::Unix(path) => one.host_path(path),
        };
        if let Some(port) = all.get_ports().get(at).or(all.get_ports().first()) {
            one.port(*port);
        }
        if let Some(address) = all.get_hostaddrs().get(at) {
            one.hostaddr(*address);
        }
        if let Some(user) = all.get_user() {
            one.user(user);
        }
        if let Some(password) = all.get_password() {
            one.password(password);
        }
        if let Some(name) = all.get_dbname() {
            one.dbname(name);
        }
        if let Some(options) = all.get_options() {
            one.options(options);
        }
        if let Some(name) = all.get_application_name() {
            one.application_name(name);
        }
        if let Some(time) = all.get_connect_timeout() {
            one.connect_timeout(*time);
        }
        if let Some(time) = all.get_tcp_user_timeout() {
            one.tcp_user_timeout(*time);
        }
        one.keepalives(all.get_keepalives()).keepalives_idle(all.get_keepalives_idle());
        if let Some(time) = all.get_keepalives_interval() {
            one.keepalives_interval(time);
        }
        if let Some(count) = all.get_keepalives_retries() {
            one.keepalives_retries(count);
        }
        one.ssl_mode(all.get_ssl_mode()).ssl_negotiation(all.get_ssl_negotiation());
        one.channel_binding(all.get_channel_binding()).target_session_attrs(all.get_target_session_attrs());
        one
    }

    /// Whether connections are made with TLS, at least when it is offered.
    pub(super) fn uses_tls(&self) -> bool {
        self.config.get_ssl_mode() != SslMode::Disable
    }

    /// How long a call of the store takes at most.
    pub(super) fn call_limit(&self) -> Duration {
        self.connect_timeout + self.statement_timeout
    }
}

/// Without the URL, which has the password in it.
impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions").field("place", &self.place()).finish_non_exhaustive()
    }
}

/// What is wrong with the URL of a database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the database URL cannot be used: {0}; it looks like postgres://user:password@host:5432/database")]
pub struct BadUrl(String);

fn ssl_mode(value: &str) -> Result<SslMode, BadUrl> {
    match value {
        "disable" => Ok(SslMode::Disable),
        "prefer" => Ok(SslMode::Prefer),
        "require" | "verify-ca" | "verify-full" => Ok(SslMode::Require),
        _ => Err(BadUrl("its sslmode is none of disable, prefer, require, verify-ca and verify-full".into())),
    }
}

/// The parser names options that it knows, which is safe to repeat; one that it does not know could be anything.
fn complaint(error: &tokio_postgres::Error) -> String {
    match std::error::Error::source(error).map(ToString::to_string) {
        Some(known) if known.starts_with("invalid value for option") => known,
        Some(unknown) if unknown.starts_with("unknown option") => {
            "it has a parameter that is not known".into()
        }
        _ => "it cannot be read; characters other than letters and digits are written as %XX in a password"
            .into(),
    }
}

fn is_socket(host: &Host) -> bool {
    matches!(host, Host::Unix(_))
}

fn is_this_machine(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    }
}

/// Lets the system find out within a minute that the other end is gone, instead of two hours, so that a firewall
/// that forgets idle connections costs nobody a request.
fn notice_dead_peers(config: &mut Config) {
    config.keepalives_idle(Duration::from_secs(30));
    config.keepalives_interval(Duration::from_secs(10));
    config.keepalives_retries(3);
    config.tcp_user_timeout(Duration::from_secs(15));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> SslMode {
        PostgresOptions::from_url(url).unwrap().config.get_ssl_mode()
    }

    #[test]
    fn tls_is_verified_unless_the_operator_says_otherwise() {
        for (url, expected) in [
            ("postgres://u:p@db.example/d", SslMode::Require),
            ("postgres://u:p@db.example/d?sslmode=verify-full", SslMode::Require),
            ("postgres://u:p@db.example/d?sslmode=verify-ca", SslMode::Require),
            ("postgres://u:p@db.example/d?sslmode=prefer", SslMode::Prefer),
            ("postgresql://u:p@db.example/d?application_name=x&sslmode=disable", SslMode::Disable),
            ("postgres://u:p@localhost/d", SslMode::Disable),
            ("postgres://u:p@[::1]:5433/d", SslMode::Disable),
            ("postgres://u:p@localhost/d?sslmode=require", SslMode::Require),
            ("postgres://u:p@localhost,db.example/d", SslMode::Require),
            ("postgres://u@%2Frun%2Fpostgresql/d?sslmode=require", SslMode::Disable),
        ] {
            assert_eq!(mode(url), expected, "{url}");
        }
    }

    #[test]
    fn each_host_is_asked_with_everything_that_the_url_says() {
        let url = "postgres://u:p@a.example:1,b.example:2/d?target_session_attrs=read-write&connect_timeout=3&keepalives=1\
                   &options=-cgeqo%3Doff&channel_binding=require&hostaddr=192.0.2.1,192.0.2.2&keepalives_retries=7";
        let options = PostgresOptions::from_url(url).unwrap();
        let hosts = options.hosts();
        assert_eq!(hosts.len(), 2);
        for (at, host) in hosts.iter().enumerate() {
            assert_eq!(host.get_hosts(), &options.config.get_hosts()[at..=at]);
            assert_eq!(host.get_ports(), &options.config.get_ports()[at..=at]);
            assert_eq!(host.get_hostaddrs(), &options.config.get_hostaddrs()[at..=at]);
            // Put together again they are what was read.
            let mut whole = hosts[0].clone();
            whole.host("b.example").port(2).hostaddr("192.0.2.2".parse().unwrap());
            assert_eq!(whole, options.config);
        }
        let one_port = PostgresOptions::from_url("postgres://u@a.example,b.example:7/d").unwrap().hosts();
        assert_eq!((one_port[0].get_ports(), one_port[1].get_ports()), (&[5432][..], &[7][..]));
        let drawn = "postgres://u@a.example,b.example/d?load_balance_hosts=random";
        assert_eq!(PostgresOptions::from_url(drawn).unwrap().hosts().len(), 1);
    }

    #[test]
    fn nothing_that_is_shown_has_a_part_of_the_password() {
        for url in [
            "postgres://u:hunter2@h/d?nonsense=1",
            "postgres://u:hunt@er2@h/d",
            "postgres://u:x@hunter2/@h/d",
            "postgres://u:x@h/hunter2@h/d",
            "postgres://u:hunter2/d",
            "postgres://u:hunter2",
            "postgres://u:x@h/d?hunter2=1",
            "postgres://u:x@h/d?hunter2",
            "postgres://u:x@h/d?sslmode=hunter2",
            "hunter2",
            "host=h password=hunter2",
            "postgres://u:hunter2@/d",
        ] {
            let refused = PostgresOptions::from_url(url).unwrap_err().to_string();
            assert!(!refused.contains("hunt") && !refused.contains("er2"), "{url}: {refused}");
        }
        let options =
            PostgresOptions::from_url("postgres://u:hunter2@h,i:7/d?sslrootcert=%2Fca.pem").unwrap();
        assert_eq!(options.place(), "h:5432,i:7/d");
        assert_eq!(options.ca_file, Some(PathBuf::from("/ca.pem")));
        assert!(!format!("{options:?}").contains("hunter2"));
    }
}
