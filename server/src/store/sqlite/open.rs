//! Opening: lock, checks, migrations, connections.

use std::fs::{File, TryLockError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use tokio::sync::Semaphore;

use super::commit::Writer;
use crate::store::Error;

/// Connections for reading. Lists and watches are short; more would only compete for the two cores.
const READERS: usize = 4;

/// Each is applied once, in this order, and never changed afterwards.
const MIGRATIONS: &[&str] = &[
    include_str!("../../../migrations/0001_init.sql"),
    include_str!("../../../migrations/0008_queues.sql"),
    include_str!("../../../migrations/0004_key_work.sql"),
    include_str!("../../../migrations/0003_schedules.sql"),
    include_str!("../../../migrations/0009_uploads.sql"),
    include_str!("../../../migrations/0010_audit.sql"),
    include_str!("../../../migrations/0060_events.sql"),
    include_str!("../../../migrations/0011_deletes.sql"),
    include_str!("../../../migrations/0070_suspects.sql"),
    include_str!("../../../migrations/0061_event_gaps.sql"),
    include_str!("../../../migrations/0130_deaths_without_a_key.sql"),
    include_str!("../../../migrations/0101_figures.sql"),
    include_str!("../../../migrations/0105_traces.sql"),
    include_str!("../../../migrations/0110_event_deletes.sql"),
    include_str!("../../../migrations/0120_reports.sql"),
    include_str!("../../../migrations/0140_left_uploads.sql"),
    include_str!("../../../migrations/0145_paces.sql"),
    include_str!("../../../migrations/0150_receivers.sql"),
    include_str!("../../../migrations/0156_receive_pace.sql"),
    include_str!("../../../migrations/0175_permitted_objects.sql"),
    include_str!("../../../migrations/0170_late_commits.sql"),
];

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another server has it open.
    #[error("{} is in use by another server; stop that one, or choose another --data-dir", .0.display())]
    InUse(PathBuf),
    /// It was written by a newer program.
    #[error(
        "the database has schema {found}, this program knows {known}; use a newer s3sync-server"
    )]
    TooNew {
        /// Its schema.
        found: usize,
        /// The newest this program knows.
        known: usize,
    },
    /// It is damaged.
    #[error("the database is damaged: {0}; restore it from a backup")]
    Damaged(String),
    /// The folder or a file in it cannot be used.
    #[error("cannot use {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// SQLite refused.
    #[error("cannot open the database")]
    Sqlite(#[from] rusqlite::Error),
    /// The runtime is stopping.
    #[error("the program is stopping")]
    Stopping,
}

pub(super) fn stopped(_: tokio::task::JoinError) -> OpenError {
    OpenError::Stopping
}

/// What opening made.
pub(super) struct Opened {
    pub(super) incarnation: String,
    pub(super) writer: Writer,
    pub(super) readers: Readers,
}

/// Connections for reading, each used by one caller at a time.
pub(super) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    fn over(connections: Vec<Connection>) -> Self {
        let permits = Arc::new(Semaphore::new(connections.len()));
        Self { idle: Arc::new(Mutex::new(connections)), permits }
    }

    /// Runs a look at the database in one read transaction.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let closed = |_| Error::Unavailable("the store is closed".into());
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(closed)?;
        let idle = Arc::clone(&self.idle);
        let work = move || {
            let mut db = idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop()
                .ok_or_else(|| Error::Unavailable("no connection is left".into()))?;
            // A panic must not take the connection along.
            let result = catch_unwind(AssertUnwindSafe(|| in_transaction(&mut db, look)))
                .unwrap_or_else(|_| {
                    tracing::error!("a look at the store panicked");
                    Err(Error::Unavailable("a look at the store panicked".into()))
                });
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(db);
            drop(permit);
            result
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| Error::Unavailable(Box::new(error)))?
    }
}

/// One consistent view for all statements of a look.
fn in_transaction<T>(
    db: &mut Connection,
    look: impl FnOnce(&Connection) -> Result<T, Error>,
) -> Result<T, Error> {
    let transaction = db.transaction()?;
    look(&transaction)
}

/// Opens the store in a folder.
pub(super) fn file(folder: &Path) -> Result<Opened, OpenError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Io { path, source }
    };
    std::fs::create_dir_all(folder).map_err(io(folder))?;
    let lock_path = folder.join("s3sync.lock");
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(io(&lock_path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(OpenError::InUse(folder.to_owned())),
        Err(TryLockError::Error(source)) => return Err(OpenError::Io { path: lock_path, source }),
    }
    let path = folder.join("s3sync.db");
    let writer = Connection::open(&path)?;
    // FULL: an acknowledgement must survive a loss of power, not only of the process.
    writer.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")?;
    let check: String = writer.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if check != "ok" {
        return Err(OpenError::Damaged(check));
    }
    let incarnation = prepare(&writer)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let readers: Result<Vec<_>, _> =
        (0..READERS).map(|_| Connection::open_with_flags(&path, flags).and_then(reader)).collect();
    let writer = Writer { db: writer, _lock: Some(lock) };
    Ok(Opened { incarnation, writer, readers: Readers::over(readers?) })
}

/// Opens a store in memory: several connections to one database that lives as long as the writer.
pub(super) fn memory() -> Result<Opened, OpenError> {
    let uri = format!("file:/s3sync-{:032x}?vfs=memdb", fastrand::u128(..));
    let writer = Connection::open(&uri)?;
    let incarnation = prepare(&writer)?;
    let readers: Result<Vec<_>, _> =
        (0..READERS).map(|_| Connection::open(&uri).and_then(reader)).collect();
    let writer = Writer { db: writer, _lock: None };
    Ok(Opened { incarnation, writer, readers: Readers::over(readers?) })
}

/// Waiting for a checkpoint to let a reader or the writer in; both hold locks for milliseconds.
const BUSY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

fn reader(db: Connection) -> Result<Connection, rusqlite::Error> {
    db.busy_timeout(BUSY_TIMEOUT)?;
    db.pragma_update(None, "query_only", true)?;
    Ok(db)
}

/// Brings the schema up to date; returns the incarnation.
fn prepare(db: &Connection) -> Result<String, OpenError> {
    db.busy_timeout(BUSY_TIMEOUT)?;
    db.pragma_update(None, "foreign_keys", true)?;
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let version = usize::try_from(version).unwrap_or(usize::MAX);
    if version > MIGRATIONS.len() {
        return Err(OpenError::TooNew { found: version, known: MIGRATIONS.len() });
    }
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(version) {
        db.execute_batch("BEGIN IMMEDIATE")?;
        db.execute_batch(migration)?;
        db.pragma_update(None, "user_version", i64::try_from(index + 1).unwrap_or(i64::MAX))?;
        db.execute_batch("COMMIT")?;
    }
    let known: Option<String> = db
        .query_row("SELECT incarnation FROM meta WHERE id = 1", [], |row| row.get(0))
        .optional()?;
    match known {
        Some(incarnation) => Ok(incarnation),
        None => {
            let incarnation = format!("{:032x}", fastrand::u128(..));
            db.execute("INSERT INTO meta (id, incarnation) VALUES (1, ?1)", params![incarnation])?;
            Ok(incarnation)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_received_from_a_queue_before_there_were_several_goes_on() {
        let db = Connection::open_in_memory().unwrap();
        let receivers = "migrations/0150_receivers.sql";
        let text = std::fs::read_to_string(receivers).unwrap();
        let before = MIGRATIONS.iter().position(|migration| *migration == text).unwrap();
        for migration in &MIGRATIONS[..before] {
            db.execute_batch(migration).unwrap();
        }
        db.execute_batch(
            "INSERT INTO watches (queue, state, epoch, session, told, messages) VALUES ('q', 1, 7, 3, 50, 9);
             INSERT INTO watches (queue) VALUES ('new');",
        )
        .unwrap();
        for migration in &MIGRATIONS[before..] {
            db.execute_batch(migration).unwrap();
        }
        let sql = "SELECT receivers.id, epoch, session, receivers.told, messages
                   FROM receivers JOIN watches ON watches.queue = receivers.queue WHERE state = 1";
        let found = db.query_row(sql, [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        });
        let first: i64 = (1 << 52) + 1;
        assert_eq!(found, Ok((first, 7, 3, 50, 9)));
        let sql = "INSERT INTO receivers (queue) VALUES ('q') RETURNING id";
        let next = db.query_row(sql, [], |row| row.get::<_, i64>(0));
        assert_eq!(next, Ok(first + 2), "no number is used again");
        let empty = Connection::open_in_memory().unwrap();
        MIGRATIONS.iter().for_each(|migration| empty.execute_batch(migration).unwrap());
        assert_eq!(empty.query_row(sql, [], |row| row.get::<_, i64>(0)), Ok(first));
    }
}
