//! Reading a database as it was at one moment, and filling an empty one; see [`crate::copy`].

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use doorward_core::store::CommitError;
use rusqlite::{Connection, InterruptHandle, params};
use tempfile::TempPath;

use super::changes::{self, Stop};
use super::files::{DataDirectory, connect_reader, connect_writer, database_in};
use super::rows::{self, ReadError};
use super::schema;
use super::unfolded::Unfolded;
use crate::access::blocking;
use crate::copy::CopyError;
use crate::copy::row::{Counts, PAGE, Place, Row};
use crate::open::OpenError;
use crate::records::Record;

/// What the names of files end with that are not whole.
const UNFINISHED: &str = ".unfinished";

/// Keeps every server and every guest from a data directory until it is dropped.
pub(crate) struct Holding {
    _directory: DataDirectory,
}

/// Takes the data directory, which must be there.
pub(crate) fn hold(dir: &Path) -> Result<Holding, CopyError> {
    must_exist(&database_in(dir))?;
    Ok(Holding { _directory: DataDirectory::take_alone(dir)? })
}

/// A database as it was when this was opened: one transaction that only reads. A server that writes to the database
/// does not wait for it, but cannot shorten its write-ahead log meanwhile.
pub(crate) struct Snapshot {
    database: Database,
    /// The version of its schema: a backup may be older than this doorward.
    schema: i64,
    unfolded: Arc<Unfolded>,
}

impl Snapshot {
    /// The database of a data directory, which a server may be using.
    pub(crate) async fn of_directory(dir: &Path) -> Result<Self, CopyError> {
        Self::of_file(&database_in(dir)).await
    }

    /// The database in a file.
    pub(crate) async fn of_file(file: &Path) -> Result<Self, CopyError> {
        must_exist(file)?;
        let database = Database::new(file, "read", |file| connect_reader(&file))?;
        let path = file.to_owned();
        let (schema, unfolded) = database
            .with(move |connection| {
                // The first read is what fixes the moment.
                connection.execute_batch("BEGIN").map_err(|error| read_error(&path, &error.into()))?;
                match schema::version(connection) {
                    Ok(None) => Err(CopyError::Nothing { place: path.display().to_string() }),
                    // It had no log.
                    Ok(Some(1)) => Ok((1, Unfolded::default())),
                    Ok(Some(schema)) => match rows::log(connection) {
                        Ok((unfolded, _)) => Ok((schema, unfolded)),
                        Err(error) => Err(read_error(&path, &error)),
                    },
                    Err(refusal) => Err(refusal.at(&path).into()),
                }
            })
            .await?;
        Ok(Self { database, schema, unfolded: Arc::new(unfolded) })
    }

    pub(crate) fn name(&self) -> String {
        self.database.file.display().to_string()
    }

    pub(crate) async fn count(&self) -> Result<Counts, CopyError> {
        let schema = self.schema;
        self.read(move |connection| {
            let (sessions, device_requests) = rows::count(connection)?;
            let records = if schema < 3 { 0 } else { rows::count_records(connection)? };
            let used = if schema < 4 { 0 } else { rows::count_used(connection)? };
            let directory_version = schema::directory(connection, schema)?.version();
            Ok(Counts { sessions, device_requests, records, used, directory_version })
        })
        .await
    }

    pub(crate) async fn page(&self, place: &Place) -> Result<Vec<Row>, CopyError> {
        let (place, schema, unfolded) = (place.clone(), self.schema, self.unfolded.clone());
        self.read(move |connection| {
            Ok(match place {
                Place::Directory => vec![Row::directory(&schema::directory(connection, schema)?)],
                Place::Records(_) if schema < 3 => Vec::new(),
                Place::Records(after) => {
                    let records = rows::records_after(connection, after.as_ref(), PAGE)?;
                    records.into_iter().map(Row::record).collect::<Result<_, _>>()?
                }
                Place::DeviceRequests(after) => {
                    let requests = rows::device_requests_after(connection, after, PAGE)?;
                    requests.into_iter().map(Row::DeviceRequest).collect()
                }
                Place::Used(_) if schema < 4 => Vec::new(),
                Place::Used(after) => {
                    let used = rows::used_after(connection, after, PAGE)?;
                    used.into_iter().map(|(id, until)| Row::Used(id, until)).collect()
                }
                Place::Sessions(after) => {
                    let mut sessions = rows::sessions_after(connection, schema, after, PAGE)?;
                    unfolded.advance(&mut sessions);
                    sessions.into_iter().map(Row::Session).collect()
                }
            })
        })
        .await
    }

    /// Checks the file itself: its pages, and that its indexes and its tables say the same.
    pub(crate) async fn check(&self) -> Result<(), CopyError> {
        self.read(rows::examine).await
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, CopyError> {
        let file = self.database.file.clone();
        self.database
            .with(move |connection| work(connection).map_err(|error| read_error(&file, &error)))
            .await
    }
}

/// A database that is being filled, under a name that no server looks for. Dropped before it is kept, it is gone.
pub(crate) struct Target {
    /// Closed once everything is written.
    database: Option<Database>,
    /// Removes the file, unless it was kept.
    unfinished: TempPath,
    becomes: Becomes,
    /// The statements that make the indexes, which come last: sorting is faster than inserting in no order.
    indexes: Vec<String>,
}

/// What the file becomes.
enum Becomes {
    Backup(PathBuf),
    /// The directory is ours until then.
    DatabaseOf(DataDirectory),
}

impl Becomes {
    fn path(&self) -> &Path {
        match self {
            Self::Backup(path) => path,
            Self::DatabaseOf(directory) => directory.database(),
        }
    }
}

impl Target {
    /// A file that must not be there.
    pub(crate) async fn file(path: &Path) -> Result<Self, CopyError> {
        if path.symlink_metadata().is_ok() {
            return Err(CopyError::Exists { path: path.to_owned() });
        }
        // Several backups may be made at once, so each has a name of its own.
        Self::new(path, 6, Becomes::Backup(path.to_owned())).await
    }

    /// A data directory that has no database, or an empty one.
    pub(crate) async fn directory(dir: &Path) -> Result<Self, CopyError> {
        let directory = DataDirectory::take_alone(dir)?;
        let database = directory.database().to_owned();
        match Snapshot::of_file(&database).await {
            Ok(snapshot) => snapshot.count().await?.none_at(&snapshot.name())?,
            Err(CopyError::Nothing { .. }) => {}
            Err(error) => return Err(error),
        }
        // Left by a copy that was killed: the directory is ours, so nobody else is writing it.
        let left = with_suffix(&database, UNFINISHED);
        remove(&left)?;
        Self::new(&database, 0, Becomes::DatabaseOf(directory)).await
    }

    async fn new(path: &Path, random: usize, becomes: Becomes) -> Result<Self, CopyError> {
        let refused = |why| CopyError::File { path: path.to_owned(), why };
        let name = path.file_name().ok_or_else(|| refused(io::ErrorKind::IsADirectory.into()))?;
        let name = if random == 0 { name.to_owned() } else { with_suffix(Path::new(name), ".").into() };
        // Made here and not by SQLite, for the mode: readable for nobody else.
        let unfinished = tempfile::Builder::new()
            .prefix(&name)
            .suffix(UNFINISHED)
            .rand_bytes(random)
            .tempfile_in(folder(path));
        let unfinished = unfinished.map_err(refused)?.into_temp_path();
        let database = Database::new(&unfinished, "write", |file| connect_writer(&file))?;
        let mut target = Self { database: Some(database), unfinished, becomes, indexes: Vec::new() };
        target.indexes = target.write_with(begin).await?;
        Ok(target)
    }

    pub(crate) async fn write(&mut self, rows: Vec<Row>) -> Result<(), CopyError> {
        self.write_with(|connection| rows.into_iter().try_for_each(|row| insert(connection, row))).await
    }

    /// Ends the writing, and checks the file.
    pub(crate) async fn written(&mut self) -> Result<Snapshot, CopyError> {
        let indexes = std::mem::take(&mut self.indexes);
        self.write_with(move |connection| {
            indexes.iter().try_for_each(|index| connection.execute_batch(index))?;
            Ok(connection.execute_batch("COMMIT")?)
        })
        .await?;
        self.database = None;
        let file = self.unfinished.to_path_buf();
        // Before it is read again, lest what is verified be something else than what the disk has taken.
        blocking(move || File::open(&file)?.sync_all()).await.map_err(|why| self.file_error(why))?;
        let snapshot = Snapshot::of_file(&self.unfinished).await?;
        snapshot.check().await?;
        Ok(snapshot)
    }

    /// Gives the file its name. Answers its size in bytes.
    pub(crate) async fn keep(self) -> Result<u64, CopyError> {
        let Self { unfinished, becomes, .. } = self;
        let kept = blocking(move || -> Result<u64, CopyError> {
            let path = becomes.path();
            let failed = |why| CopyError::File { path: path.to_owned(), why };
            let bytes = unfinished.metadata().map_err(failed)?.len();
            // Opened before: what cannot be synced is not given its name.
            let folder = File::open(folder(path)).map_err(failed)?;
            match &becomes {
                Becomes::Backup(_) => {
                    unfinished.persist_noclobber(path).map_err(|error| match error.error.kind() {
                        io::ErrorKind::AlreadyExists => CopyError::Exists { path: path.to_owned() },
                        _ => failed(error.error),
                    })?;
                }
                Becomes::DatabaseOf(_) => {
                    // The log of the empty database would be taken for the log of this one.
                    for suffix in ["-wal", "-shm"] {
                        remove(&with_suffix(path, suffix))?;
                    }
                    unfinished.persist(path).map_err(|error| failed(error.error))?;
                }
            }
            folder.sync_all().map_err(failed)?;
            Ok(bytes)
        });
        kept.await
    }

    async fn write_with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T, CopyError> {
        // It is here until `written`, and nothing is written afterwards.
        let database = self.database.as_ref().expect("a target that is still being written");
        let place = self.becomes.path().display().to_string();
        database.with(move |connection| work(connection).map_err(|stop| write_error(place, &stop))).await
    }

    fn file_error(&self, why: io::Error) -> CopyError {
        CopyError::File { path: self.unfinished.to_path_buf(), why }
    }
}

/// Makes the schema without its indexes, and begins the one transaction. Answers the statements that make the indexes.
/// Nothing is synced: what becomes of a file that is not whole does not matter.
fn begin(connection: &Connection) -> Result<Vec<String>, Stop> {
    // Of new pages nothing is kept for a rollback. (Without any journal SQLite does not do, in defensive mode.)
    connection.pragma_update(None, "journal_mode", "MEMORY")?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    // 64 MiB, also for sorting the indexes.
    connection.pragma_update(None, "cache_size", -65_536)?;
    connection.set_prepared_statement_cache_capacity(32);
    schema::create(connection)?;
    connection.execute_batch("BEGIN")?;
    let sql = "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL";
    let mut statement = connection.prepare(sql)?;
    let indexes = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (names, indexes): (Vec<String>, Vec<String>) =
        indexes.collect::<rusqlite::Result<Vec<_>>>()?.into_iter().unzip();
    for name in names {
        connection.execute_batch(&format!("DROP INDEX {name}"))?;
    }
    Ok(indexes)
}

fn insert(connection: &Connection, row: Row) -> Result<(), Stop> {
    match row {
        Row::Directory { version, file, departed } => {
            let refuse = |why: &dyn std::fmt::Display| {
                Stop::Refused(doorward_core::store::Outage(why.to_string()).into())
            };
            let content = serde_json::to_string(&file).map_err(|error| refuse(&error))?;
            let departed = serde_json::to_string(&departed).map_err(|error| refuse(&error))?;
            let version = i64::try_from(version).map_err(|error| refuse(&error))?;
            let sql = "UPDATE directory SET version = ?1, content = ?2, departed = ?3";
            connection.execute(sql, params![version, content, departed])?;
            Ok(())
        }
        Row::Record(key, Record { version, content }) => {
            let version = key.version_column(version).map_err(|outage| Stop::Refused(outage.into()))?;
            changes::insert_record(connection, &key, version, &content)
        }
        Row::DeviceRequest(request) => changes::open_device_request(connection, &request),
        Row::Used(id, until) => changes::use_once(connection, id, until),
        Row::Session(session) => changes::start_session(connection, &session),
    }
}

/// A connection whose work is done where it may block. What is still being done when this is dropped is broken off.
struct Database {
    file: PathBuf,
    connection: Arc<Mutex<Connection>>,
    interrupt: InterruptHandle,
}

impl Database {
    fn new(
        file: &Path,
        doing: &'static str,
        connect: impl FnOnce(PathBuf) -> rusqlite::Result<Connection>,
    ) -> Result<Self, CopyError> {
        let connection = connect(file.to_owned())
            .map_err(|error| database_error(doing, file.display().to_string(), &error))?;
        let interrupt = connection.get_interrupt_handle();
        Ok(Self { file: file.to_owned(), connection: Arc::new(Mutex::new(connection)), interrupt })
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, CopyError> + Send + 'static,
    ) -> Result<T, CopyError> {
        let connection = self.connection.clone();
        blocking(move || work(&connection.lock().unwrap_or_else(PoisonError::into_inner))).await
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.interrupt.interrupt();
    }
}

fn must_exist(file: &Path) -> Result<(), CopyError> {
    match file.metadata() {
        Ok(_) => Ok(()),
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            Err(CopyError::Nothing { place: file.display().to_string() })
        }
        Err(why) => Err(database_error("read", file.display().to_string(), &why)),
    }
}

fn read_error(file: &Path, error: &ReadError) -> CopyError {
    let place = file.display().to_string();
    match error {
        ReadError::Damaged(why) => CopyError::Damaged { path: file.to_owned(), why: why.clone() },
        ReadError::BadRow(problem) => CopyError::Row { place, problem: problem.to_string() },
        ReadError::Sqlite(error) => database_error("read", place, error),
    }
}

fn write_error(place: String, stop: &Stop) -> CopyError {
    let why: &dyn std::fmt::Display = match stop {
        Stop::Refused(CommitError::Conflict) => &"two rows have the same id or user code",
        Stop::Refused(CommitError::Outage(outage)) => outage,
        Stop::Failed(error) => error,
    };
    database_error("write", place, why)
}

fn database_error(doing: &'static str, place: String, why: &dyn std::fmt::Display) -> CopyError {
    CopyError::Database { doing, place, why: why.to_string() }
}

fn remove(file: &Path) -> Result<(), CopyError> {
    match fs::remove_file(file) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => {
            Err(OpenError::Directory { path: file.to_owned(), why }.into())
        }
        _ => Ok(()),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// The folder that a file is in.
fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
