//! How a connection is made and set up, and the pools they wait in.

use std::future::{self, Future};
use std::ops::Deref;
use std::pin::Pin;
use std::time::Duration;

use deadpool_postgres::{ClientWrapper, Connect, Manager, ManagerConfig, Object, Pool, QueueMode, Runtime};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Config, Connection, Error, NoTls, Socket};

use super::error::PostgresError;
use super::options::PostgresOptions;
use super::tls;

/// Nobody waits longer for a lock, so that a row which somebody holds does not use up the time of a statement. More
/// than the second after which PostgreSQL looks for deadlocks.
const LONGEST_LOCK: Duration = Duration::from_secs(2);

/// A pool of at most `connections` connections, each made when it is first needed.
pub(super) fn pool(options: &PostgresOptions, connections: usize) -> Result<Pool, PostgresError> {
    let manager =
        if options.uses_tls() { manager(options, tls::connector(options)?) } else { manager(options, NoTls) };
    Pool::builder(manager)
        .max_size(connections.max(1))
        .wait_timeout(Some(options.connect_timeout))
        .create_timeout(Some(options.connect_timeout))
        .recycle_timeout(Some(options.connect_timeout))
        // Few connections that are busy, and with their statements prepared, rather than many that are not.
        .queue_mode(QueueMode::Lifo)
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| PostgresError::Unusable(error.to_string()))
}

/// A connection for a while. It goes back to its pool only when it is [kept](Lease::keep): one whose user failed, ran
/// out of time or went away in the middle has a statement under way that the next would wait for.
pub(super) struct Lease(Option<Object>);

impl Lease {
    pub(super) const fn new(object: Object) -> Self {
        Self(Some(object))
    }

    /// Gives the connection back for others to use.
    pub(super) fn keep(mut self) {
        drop(self.0.take());
    }
}

impl Deref for Lease {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        // Only `keep` and `drop` take it, and nothing comes after either.
        self.0.as_ref().expect("the connection is here until the lease ends")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.take().map(Object::take);
    }
}

fn manager<T>(options: &PostgresOptions, tls: T) -> Manager
where
    T: MakeTlsConnect<Socket> + Clone + Sync + Send + 'static,
    T::Stream: Sync + Send,
    T::TlsConnect: Sync + Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    let (hosts, setup) = (options.hosts(), setup(options.statement_timeout));
    // The manager has a configuration to hand to the connector, which has its own.
    let first = hosts[0].clone();
    let share = options.connect_timeout / u32::try_from(hosts.len()).unwrap_or(u32::MAX);
    Manager::from_connect(first, Connector { hosts, share, tls, setup }, ManagerConfig::default())
}

/// Sent on each new connection. What a client is answered must be on disk; with `synchronous_commit` off it is not, so
/// that is turned on, and any stricter value left. As statements and not as startup options, which PgBouncer refuses.
fn setup(statement_timeout: Duration) -> String {
    let lock_timeout = LONGEST_LOCK.min(statement_timeout / 2);
    format!(
        "SET statement_timeout = {}; SET lock_timeout = {}; SET idle_in_transaction_session_timeout = {}; \
         SET default_transaction_isolation = 'read committed'; \
         SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit', true) = 'off'",
        statement_timeout.as_millis(),
        lock_timeout.as_millis(),
        statement_timeout.as_millis(),
    )
}

/// Connects to the first host that is fit, and sets the connection up before anybody gets it; the pool's time for making
/// a connection covers all of it.
struct Connector<T> {
    hosts: Vec<Config>,
    /// How much of that time each host has, or one that says nothing would use it up.
    share: Duration,
    tls: T,
    setup: String,
}

impl<T> Connect for Connector<T>
where
    T: MakeTlsConnect<Socket> + Clone + Sync + Send + 'static,
    T::Stream: Sync + Send,
    T::TlsConnect: Sync + Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    fn connect(
        &self,
        _: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + '_>> {
        Box::pin(async move {
            let (client, connection) = self.first_fit().await?;
            let task = tokio::spawn(async move {
                // Whoever uses the connection hears of it too, and tells the operator.
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection to the database ended");
                }
            });
            client.batch_execute(&self.setup).await?;
            Ok((client, task))
        })
    }
}

impl<T: MakeTlsConnect<Socket> + Clone> Connector<T> {
    async fn first_fit(&self) -> Result<(Client, Connection<Socket, T::Stream>), Error> {
        let mut refused = None;
        for host in &self.hosts {
            match timeout(self.share, host.connect(self.tls.clone())).await {
                Ok(Ok(connected)) => return Ok(connected),
                Ok(Err(error)) => refused = Some(error),
                Err(_) => tracing::debug!(host = ?host.get_hosts(), "a database host does not answer"),
            }
        }
        match refused {
            Some(error) => Err(error),
            // None of them said anything, and the pool's time is over too: it says so.
            None => future::pending().await,
        }
    }
}
