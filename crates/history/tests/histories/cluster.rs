//! `doorward serve`, as real processes that are killed and started again.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use doorward_testkit_postgres::free_port;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

pub(crate) const PASSWORD: &str = "a password of theirs";
pub(crate) const START_URL: &str = "https://corp.doorward.awsapps.com/start";
pub(crate) const ACCOUNT: &str = "111122223333";
pub(crate) const ROLE: &str = "ReadOnly";
const READY_WITHIN: Duration = Duration::from_mins(1);

/// The name of a person of the directory.
pub(crate) fn person(number: usize) -> String {
    format!("person{number}")
}

/// The binary beside this test. A test run of the workspace builds it, one of this package alone does not; and one that is
/// older than what it is made of would pass or fail for reasons that are no longer there.
fn binary() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let path = here.parent().and_then(Path::parent).unwrap().join("doorward");
    let advice = "run `cargo build --locked`";
    let Ok(built) = modified(&path) else { panic!("{} is missing: {advice}", path.display()) };
    // What Cargo writes down for make: the binary, a colon, and its sources.
    let sources = fs::read_to_string(path.with_extension("d")).unwrap_or_default();
    for source in sources.split_ascii_whitespace().skip(1) {
        let is_older = modified(Path::new(source)).is_ok_and(|changed| changed > built);
        assert!(!is_older, "{} is older than {source}: {advice}", path.display());
    }
    path
}

fn modified(file: &Path) -> std::io::Result<SystemTime> {
    fs::metadata(file)?.modified()
}

/// Nodes with one key and one directory.
pub(crate) struct Cluster {
    nodes: Vec<Node>,
    /// `refresh_grace`.
    pub(crate) grace: Duration,
    /// After the nodes, which write into it until they are gone.
    dir: TempDir,
}

struct Node {
    address: SocketAddr,
    process: Option<Child>,
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself; either way it is awaited.
            let _ = process.start_kill();
            let begun = Instant::now();
            while matches!(process.try_wait(), Ok(None)) && begun.elapsed() < Duration::from_secs(5) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

impl Cluster {
    /// One node that keeps its state in a folder.
    pub(crate) async fn embedded(people: usize, grace: Duration) -> Self {
        Self::start(1, people, grace, ["data_dir = \"data\"\n", ""]).await
    }

    /// Nodes on the database at `url`.
    pub(crate) async fn on_postgres(count: usize, people: usize, grace: Duration, url: &str) -> Self {
        let keys = "master_key_file = \"../master.key\"\n";
        Self::start(count, people, grace, [keys, &format!("[postgres]\nurl = \"{url}\"\n")]).await
    }

    async fn start(count: usize, people: usize, grace: Duration, [place, store]: [&str; 2]) -> Self {
        let dir = TempDir::new().unwrap();
        write(&dir.path().join("directory.toml"), &directory(people, &hash(dir.path()).await));
        write(&dir.path().join("master.key"), &format!("{}\n", "5e".repeat(32)));
        let ports: Vec<u16> = (0..count).map(|_| free_port()).collect();
        let mut nodes = Vec::new();
        for (number, port) in ports.iter().enumerate() {
            let folder = dir.path().join(number.to_string());
            fs::create_dir(&folder).unwrap();
            // Browsers know all of them by one name, as they would behind a balancer.
            let config = format!(
                "listen = \"127.0.0.1:{port}\"\npublic_url = \"http://127.0.0.1:{}\"\n\
                 start_url_aliases = [\"{START_URL}\"]\ndirectory = \"../directory.toml\"\n\
                 insecure_built_in_credentials = true\n{place}[lifetimes]\nrefresh_grace = {}\n{store}",
                ports[0],
                grace.as_secs()
            );
            write(&folder.join("doorward.toml"), &config);
            nodes.push(Node { address: ([127, 0, 0, 1], *port).into(), process: None });
        }
        let mut cluster = Self { nodes, grace, dir };
        for node in 0..count {
            cluster.spawn(node);
        }
        for node in 0..count {
            cluster.ready(node).await;
        }
        cluster
    }

    pub(crate) fn addresses(&self) -> Arc<[SocketAddr]> {
        self.nodes.iter().map(|node| node.address).collect()
    }

    /// Kills a node where it stands.
    pub(crate) async fn kill(&mut self, node: usize) {
        self.nodes[node].process.take().unwrap().kill().await.unwrap();
    }

    pub(crate) fn spawn(&mut self, node: usize) {
        let log = File::options().create(true).append(true).open(self.log_file(node)).unwrap();
        // It goes with the test, however that ends.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(binary())
            .args(["serve", "-c", "doorward.toml"])
            .current_dir(self.dir.path().join(node.to_string()))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn();
        self.nodes[node].process = Some(child.unwrap());
    }

    /// Waits until a node says that it is well.
    pub(crate) async fn ready(&mut self, node: usize) {
        let begun = Instant::now();
        while !is_well(self.nodes[node].address).await {
            let ended = self.nodes[node].process.as_mut().unwrap().try_wait().unwrap();
            assert!(
                ended.is_none() && begun.elapsed() < READY_WITHIN,
                "node {node} is not ready ({ended:?}):\n{}",
                self.log(node)
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// What a node has logged.
    pub(crate) fn log(&self, node: usize) -> String {
        fs::read_to_string(self.log_file(node)).unwrap_or_default()
    }

    /// The lines of all logs that say `what`.
    pub(crate) fn logged(&self, what: &str) -> Vec<String> {
        let logs = (0..self.nodes.len()).map(|node| self.log(node));
        logs.flat_map(|log| {
            log.lines().filter(|line| line.contains(what)).map(ToOwned::to_owned).collect::<Vec<_>>()
        })
        .collect()
    }

    fn log_file(&self, node: usize) -> PathBuf {
        self.dir.path().join(format!("log-{node}"))
    }
}

async fn is_well(address: SocketAddr) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer.starts_with("HTTP/1.1 200 "))
    };
    matches!(timeout(Duration::from_secs(10), asked).await, Ok(Ok(true)))
}

async fn hash(folder: &Path) -> String {
    write(&folder.join("password"), &format!("{PASSWORD}\n"));
    let password = File::open(folder.join("password")).unwrap();
    let output = Command::new(binary()).arg("hash-password").stdin(password).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn directory(people: usize, hash: &str) -> String {
    let names: Vec<_> = (0..people).map(person).collect();
    let entry = |name: &String| format!("[[people]]\nuser_name = \"{name}\"\npassword_hash = \"{hash}\"\n\n");
    let entries: String = names.iter().map(entry).collect();
    format!(
        "{entries}[[accounts]]\nid = \"{ACCOUNT}\"\nname = \"Production\"\n\n\
         [[permission_sets]]\nname = \"{ROLE}\"\n\n\
         [[assignments]]\npeople = {names:?}\naccounts = [\"{ACCOUNT}\"]\npermission_sets = [\"{ROLE}\"]\n"
    )
}

/// Writes a file that nobody else may read.
fn write(file: &Path, text: &str) {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut opened = File::options().create(true).truncate(true).write(true).mode(0o600).open(file).unwrap();
    opened.write_all(text.as_bytes()).unwrap();
}
