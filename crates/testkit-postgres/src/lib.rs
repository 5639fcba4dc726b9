//! A PostgreSQL server of a test's own, from the system's packages: it is killed, frozen, copied and promoted as a test
//! likes, and goes with it. What goes wrong here panics with what the server said.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which clippy does not know for tests")]

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

/// A running server. It listens on a Unix socket in its directory, and goes with the test.
///
/// It does not sync: what the kernel was given survives the death of every process, and no test takes the power away.
pub struct Server {
    dir: TempDir,
    /// For TCP, and in the name of the socket.
    port: Option<u16>,
    settings: Vec<String>,
    process: Option<Child>,
    /// Those that may not have ended yet.
    killed: Vec<u32>,
    databases: AtomicU32,
}

impl Server {
    /// A server that is reached by its socket alone.
    pub async fn start() -> Self {
        Self::with(None, &[], |_| {}).await
    }

    /// A server with these settings that listens on `port` of the loopback too, and has in its directory the files
    /// that `prepare` puts there.
    pub async fn with(port: Option<u16>, settings: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let mut server = Self::prepared(port, settings);
        prepare(server.dir.path());
        for entry in fs::read_dir(server.dir.path()).unwrap() {
            let path = entry.unwrap().path();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            own(&path);
        }
        let mut initdb = command("initdb");
        initdb.args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C"]);
        succeed(initdb.arg("-D").arg(server.data()));
        server.start_again().await;
        server
    }

    /// A standby of this server, on `port` of the loopback. This server then answers a commit once the standby has it
    /// on disk.
    pub async fn synchronous_standby(&self, port: u16) -> Self {
        // Or it may sleep for five seconds before it sees that it is promoted.
        let mut standby = Self::prepared(Some(port), &["wal_retrieve_retry_interval=500ms"]);
        let name = "doorward_standby";
        // What the standby will find its primary by is written into its settings.
        let mut copy = command("pg_basebackup");
        copy.args(["--no-sync", "--checkpoint=fast", "--write-recovery-conf", "-D"]).arg(standby.data());
        copy.arg("-d").arg(format!(
            "host={} port={} user=postgres application_name={name}",
            self.dir.path().display(),
            self.port.unwrap_or(5432)
        ));
        succeed(&mut copy);
        standby.start_again().await;
        // Only now, and so not in the copy: once promoted it must not wait for a standby that it does not have.
        self.sql("postgres", &format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'")).await;
        self.sql("postgres", "SELECT pg_reload_conf()").await;
        let begun = Instant::now();
        while self
            .number("postgres", "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'")
            .await
            != 1
        {
            assert!(begun.elapsed() < Duration::from_mins(1), "{}", standby.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        standby
    }

    /// Makes a standby the primary: it takes writes when this is done.
    pub fn promote(&self) {
        succeed(command("pg_ctl").args(["promote", "--wait", "-D"]).arg(self.data()));
    }

    /// A server that has a directory, and nothing in it.
    fn prepared(port: Option<u16>, settings: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        own(dir.path());
        let settings = settings.iter().map(ToString::to_string).collect();
        Self { dir, port, settings, process: None, killed: Vec::new(), databases: AtomicU32::new(0) }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Starts it after it was stopped or killed, and waits until it answers.
    pub async fn start_again(&mut self) {
        // A server does not start on memory that a process of the one before still has.
        while self.killed.iter().any(|process| stat(*process).is_some_and(|(state, _)| state != "Z")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let dir = self.dir.path().display();
        let log = File::options().create(true).append(true).open(self.log_file()).unwrap();
        let mut command = command("postgres");
        command.arg("-D").arg(self.data());
        for setting in [
            format!("unix_socket_directories={dir}"),
            format!("listen_addresses={}", self.port.map_or("", |_| "127.0.0.1")),
            format!("port={}", self.port.unwrap_or(5432)),
            "max_connections=300".into(),
            "shared_buffers=32MB".into(),
            "fsync=off".into(),
        ]
        .iter()
        .chain(&self.settings)
        {
            command.args(["-c", setting]);
        }
        let process = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn();
        self.process = Some(process.unwrap());
        let begun = Instant::now();
        while let Err(error) = tokio_postgres::connect(&self.url("postgres"), NoTls).await {
            assert!(begun.elapsed() < Duration::from_mins(1), "{error}: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Shuts it down, connections and all.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            signal("INT", &[process.id()]);
            process.wait().unwrap();
        }
    }

    /// Kills all of its processes at the same moment, as near as can be.
    pub fn kill(&mut self) {
        self.killed = self.processes();
        signal("KILL", &self.killed);
        self.process.take().unwrap().wait().unwrap();
    }

    /// Stops the processes where they are, as a machine that hangs would.
    pub fn freeze(&self) {
        signal("STOP", &self.processes());
    }

    /// Lets them go on.
    pub fn thaw(&self) {
        signal("CONT", &self.processes());
    }

    /// An empty database of its own, by name.
    pub async fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}")).await;
        name
    }

    /// The URL of a database, by way of the socket.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.url_through(self.dir.path(), database)
    }

    /// The URL by way of a socket in another directory.
    #[must_use]
    pub fn url_through(&self, dir: &Path, database: &str) -> String {
        let dir = dir.display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{dir}:{}/{database}", self.port.unwrap_or(5432))
    }

    /// Its socket, when it has no port.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join(".s.PGSQL.5432")
    }

    /// A connection that no store knows of.
    pub async fn client(&self, database: &str) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url(database), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Runs statements.
    pub async fn sql(&self, database: &str, sql: &str) {
        self.client(database).await.batch_execute(sql).await.unwrap();
    }

    /// The one number that `sql` answers.
    pub async fn number(&self, database: &str, sql: &str) -> i64 {
        self.client(database).await.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// The process that we started, and its children.
    fn processes(&self) -> Vec<u32> {
        let parent = self.process.as_ref().unwrap().id();
        let mut processes = vec![parent];
        for entry in fs::read_dir("/proc").unwrap() {
            let Ok(process) = entry.unwrap().file_name().to_string_lossy().parse::<u32>() else { continue };
            if stat(process).is_some_and(|(_, of)| of == parent.to_string()) {
                processes.push(process);
            }
        }
        processes
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.thaw();
            self.stop();
        }
    }
}

/// A port of the loopback that nobody has now.
#[must_use]
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// The state and the parent of a process. They come after its name, which is in parentheses.
fn stat(process: u32) -> Option<(String, String)> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').map(ToOwned::to_owned);
    Some((fields.next()?, fields.next()?))
}

/// A command of PostgreSQL's, which refuses to be run by root, and which ends with the test however that ends.
fn command(name: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "INT"]);
    if is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    command.arg(binaries().join(name)).current_dir("/");
    command
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Where the newest server's commands are.
fn binaries() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let installed = versions.map(|version| version.unwrap().path().join("bin"));
    installed.filter(|bin| bin.join("initdb").exists()).max().expect(
        "this test needs the PostgreSQL server: apt-get install -y postgresql (it is looked for in /usr/lib/postgresql)",
    )
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Gives `path` to the user who runs the server.
fn own(path: &Path) {
    if is_root() {
        let users = fs::read_to_string("/etc/passwd").unwrap();
        let postgres =
            users.lines().find(|line| line.starts_with("postgres:")).expect("there is a user postgres");
        let ids: Vec<u32> = postgres.split(':').filter_map(|field| field.parse().ok()).collect();
        chown(path, Some(ids[0]), Some(ids[1])).unwrap();
    }
}

fn signal(signal: &str, processes: &[u32]) {
    let processes = processes.iter().map(ToString::to_string);
    // One of them may have ended by itself.
    Command::new("kill").arg(format!("-{signal}")).args(processes).stderr(Stdio::null()).status().unwrap();
}
