//! The host tier: records in LMDB, shared by every process of the host.
//!
//! The store is one file per boot and format. A boot's end is the end of its
//! sessions, so nothing need ever be flushed to the disk, and a file that a
//! crash of the machine left half written is never read.
//!
//! The module's unsafe calls are about opening the file: a memory map is sound
//! as long as nobody but LMDB changes what is mapped, which the directory's
//! owner and mode provide (`state_dir`).

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::libc;

use heed::types::{Bytes, Unit};
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, MdbError, RwTxn, WithoutTls};

use super::key::{Key, Secret};
use super::locks::{Locks, What};
use super::record::moment;
use super::state_dir::{self, trouble};
use super::tier::{Change, Claim, Table, Tier, Trouble};
use crate::clock::Moment;

/// The number of the format of the file. Another number is another file.
const FORMAT: u32 = 1;

/// How long a process waits for another one that writes: thousands of times as
/// long as a write takes.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many processes may read at the same instant.
const READERS: u32 = 2_048;

/// Room for one record with its place in the order of use, in bytes: twice what
/// the longest takes, for LMDB copies pages before it changes them, and leaves
/// them half empty when it splits them.
const ROOM_PER_RECORD: usize = 1_024;

/// Under this key of the table of secrets is the host's.
const SECRET: &[u8] = b"secret";

type Records = Database<'static, Bytes, Bytes>;
type Order = Database<'static, Bytes, Unit>;

/// One table: the records, each behind the moment of its last use, and the keys
/// in the order of their last use.
#[derive(Clone, Copy)]
struct Shelf {
    records: Records,
    order: Order,
}

pub(super) struct Host {
    env: Env<WithoutTls>,
    shelves: [Shelf; Table::ALL.len()],
    secret: [u8; Secret::LENGTH],
    locks: Locks,
    path: PathBuf,
    capacity: usize,
    /// A child that was forked must not use its parent's map (lmdb.h, caveats).
    pid: u32,
}

/// Everything that is opened within the store.
struct Opened {
    shelves: [Shelf; Table::ALL.len()],
    secrets: Records,
}

impl Host {
    /// Opens the store in `directory`, with room for `capacity` sessions, and
    /// makes it if it is not there yet.
    pub(super) fn open(directory: &Path, capacity: usize) -> Result<Self, Trouble> {
        let records: usize = Table::ALL
            .map(|table| table.capacity(capacity))
            .iter()
            .sum();
        let room = records * ROOM_PER_RECORD + (4 << 20);
        Self::open_with_room(directory, capacity, room.next_multiple_of(1 << 20))
    }

    pub(super) fn open_with_room(
        directory: &Path,
        capacity: usize,
        room: usize,
    ) -> Result<Self, Trouble> {
        state_dir::prepare(directory)?;
        let locks = Locks::new(directory);
        // One process opens at a time: LMDB's own waiting has no bound.
        let _opening = locks.lock(What::Opening, PATIENCE).map_err(|error| {
            let remedy = "make it writable, or end the process that holds its lock";
            trouble(&directory.join("locks"), &error, remedy)
        })?;
        let name = store_name();
        remove_other_stores(directory, &name);
        let path = directory.join(name);
        let broken = |problem: &dyn std::fmt::Display| {
            let remedy = "remove it and restart the mail server; it is made anew";
            trouble(&path, problem, remedy)
        };
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options
            .map_size(room)
            .max_readers(READERS)
            .max_dbs(2 * Table::ALL.len() as u32 + 1);
        // SAFETY: these flags only leave out flushing to the disk, which the
        // name of the file makes needless (see above).
        unsafe { options.flags(EnvFlags::NO_SUB_DIR | EnvFlags::NO_SYNC) };
        // SAFETY: LMDB needs a file that nothing but LMDB changes. The
        // directory is ours and nobody else may write it, and the file's name
        // is this format's own.
        let env = unsafe { options.open(&path) }.map_err(|error| broken(&error))?;
        close_on_exec(&path).map_err(|error| broken(&error))?;
        let page_size = u64::from(env.unnamed_database_stat().page_size);
        let needed = (env.info().last_page_number as u64 + 1) * page_size;
        if env.real_disk_size().map_err(|error| broken(&error))? < needed {
            return Err(broken(&"is shorter than it says"));
        }
        let opened = match open_tables(&env).map_err(|error| broken(&error))? {
            Some(opened) => opened,
            None => create_tables(&env).map_err(|error| broken(&error))?,
        };
        let secret = read_or_make_secret(&env, opened.secrets).map_err(|error| broken(&error))?;
        Ok(Self {
            env,
            shelves: opened.shelves,
            secret,
            locks,
            path,
            capacity,
            pid: std::process::id(),
        })
    }

    /// The host's secret.
    pub(super) fn secret(&self) -> &[u8; Secret::LENGTH] {
        &self.secret
    }

    fn shelf(&self, table: Table) -> Shelf {
        self.shelves[table as usize]
    }

    fn check_process(&self) -> Result<(), Trouble> {
        if self.pid == std::process::id() {
            return Ok(());
        }
        let remedy = "start the process anew after a fork";
        Err(trouble(&self.path, &"was opened before a fork", remedy))
    }

    fn trouble(&self, error: &heed::Error) -> Trouble {
        let remedy = match error {
            heed::Error::Mdb(MdbError::MapFull) => {
                "raise sso_sessions, or look for a process that was stopped while it read"
            }
            heed::Error::Mdb(MdbError::MapResized) => {
                "restart the mail server: sso_sessions was changed while it ran"
            }
            heed::Error::Io(_) => "make room in its file system and look to its rights",
            _ => "remove it and restart the mail server; it is made anew",
        };
        trouble(&self.path, error, remedy)
    }

    /// One try of [`Tier::update`].
    fn change(
        &self,
        table: Table,
        key: &Key,
        now: Moment,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), heed::Error> {
        let shelf = self.shelf(table);
        let mut transaction = self.env.write_txn()?;
        let before = shelf.records.get(&transaction, key.as_bytes())?;
        let change = change(before.and_then(moment).map(|(_, record)| record));
        if matches!(change, Change::Keep) {
            return Ok(());
        }
        shelf.take_out(&mut transaction, key)?;
        if let Change::Put(record) = change {
            let capacity = table.capacity(self.capacity);
            shelf.make_room(&mut transaction, capacity, table, now)?;
            shelf.put_in(&mut transaction, key, now, &record)?;
        }
        transaction.commit()
    }
}

impl From<(Records, Order)> for Shelf {
    fn from((records, order): (Records, Order)) -> Self {
        Self { records, order }
    }
}

impl Shelf {
    fn put_in(
        self,
        transaction: &mut RwTxn<'_>,
        key: &Key,
        now: Moment,
        record: &[u8],
    ) -> Result<(), heed::Error> {
        let used = now.as_millis().to_be_bytes();
        let dated = [&used[..], record].concat();
        self.records.put(transaction, key.as_bytes(), &dated)?;
        self.order
            .put(transaction, &place(&used, key.as_bytes()), &())
    }

    fn take_out(self, transaction: &mut RwTxn<'_>, key: &Key) -> Result<(), heed::Error> {
        let Some(dated) = self.records.get(transaction, key.as_bytes())? else {
            return Ok(());
        };
        let used = dated.first_chunk::<8>().copied().unwrap_or_default();
        self.order
            .delete(transaction, &place(&used, key.as_bytes()))?;
        self.records.delete(transaction, key.as_bytes())?;
        Ok(())
    }

    /// Takes out the least recently used records until there is room for one
    /// more, and those that are of no use any more as they come.
    fn make_room(
        self,
        transaction: &mut RwTxn<'_>,
        capacity: usize,
        table: Table,
        now: Moment,
    ) -> Result<(), heed::Error> {
        loop {
            let held = usize::try_from(self.records.len(transaction)?).unwrap_or(usize::MAX);
            let Some((place, ())) = self.order.first(transaction)? else {
                return Ok(());
            };
            let outlived = table.keeps().is_some_and(|keeps| {
                moment(place)
                    .and_then(|(used, _)| now.since(used))
                    .is_some_and(|age| age > keeps)
            });
            if held < capacity.max(1) && !outlived {
                return Ok(());
            }
            let place = place.to_vec();
            self.order.delete(transaction, &place)?;
            self.records.delete(transaction, &place[8..])?;
        }
    }
}

/// The key of the order of use: the moment, then the record's key.
fn place(used: &[u8; 8], key: &[u8; Key::LENGTH]) -> [u8; 8 + Key::LENGTH] {
    let mut place = [0; 8 + Key::LENGTH];
    place[..8].copy_from_slice(used);
    place[8..].copy_from_slice(key);
    place
}

impl Tier for Host {
    fn find(&self, table: Table, key: &Key) -> Result<Option<Vec<u8>>, Trouble> {
        self.check_process()?;
        let read = || -> Result<_, heed::Error> {
            let transaction = self.env.read_txn()?;
            let dated = self
                .shelf(table)
                .records
                .get(&transaction, key.as_bytes())?;
            Ok(dated.and_then(moment).map(|(_, record)| record.to_vec()))
        };
        match read() {
            Err(heed::Error::Mdb(MdbError::ReadersFull)) => {
                // Processes that were killed while they read leave their slots.
                self.env
                    .clear_stale_readers()
                    .and_then(|_| read())
                    .map_err(|error| self.trouble(&error))
            }
            answer => answer.map_err(|error| self.trouble(&error)),
        }
    }

    fn update(
        &self,
        table: Table,
        key: &Key,
        now: Moment,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), Trouble> {
        self.check_process()?;
        // LMDB's own lock has no bound: a process that was stopped (SIGSTOP)
        // while it writes would stop all of them.
        let _writing = self.locks.lock(What::Writing, PATIENCE).map_err(|error| {
            let remedy = "end the process that holds its lock";
            trouble(&self.path, &error, remedy)
        })?;
        match self.change(table, key, now, change) {
            Err(heed::Error::Mdb(MdbError::MapFull)) => {
                // A reader that was killed pins old pages.
                self.env
                    .clear_stale_readers()
                    .and_then(|_| self.change(table, key, now, change))
                    .map_err(|error| self.trouble(&error))
            }
            answer => answer.map_err(|error| self.trouble(&error)),
        }
    }

    fn claim(&self, key: &Key) -> Result<Option<Claim>, Trouble> {
        let held = self
            .locks
            .try_lock(What::Validating(key))
            .map_err(|error| {
                let remedy = "make the directory writable for us";
                trouble(&self.path, &error, remedy)
            })?;
        Ok(held.map(Claim::new))
    }
}

/// The name of the store of this format and this boot.
fn store_name() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let boot: String = boot
        .chars()
        .filter(char::is_ascii_hexdigit)
        .take(12)
        .collect();
    format!("sessions-{FORMAT}-{boot}.mdb")
}

/// LMDB opens the file of its records, alone of all its files, so that it stays
/// open in the programs that the host starts.
fn close_on_exec(path: &Path) -> std::io::Result<()> {
    let ours = std::fs::metadata(path)?;
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        let number = entry.file_name().to_string_lossy().parse::<libc::c_int>();
        let (Ok(number), Ok(open)) = (number, std::fs::metadata(entry.path())) else {
            continue;
        };
        if (open.dev(), open.ino()) == (ours.dev(), ours.ino()) {
            // SAFETY: the flag changes nothing in this process; the number
            // belongs to this file, which nothing but this store opens.
            unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

/// Removes what earlier boots left. What cannot be removed is in nobody's way.
fn remove_other_stores(directory: &Path, name: &str) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    let prefix = format!("sessions-{FORMAT}-");
    for entry in entries.flatten() {
        let other = entry.file_name();
        let other = other.to_string_lossy();
        if other.starts_with(&prefix) && !other.starts_with(name) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// The names of a table's two databases.
fn shelf_names(table: Table) -> [String; 2] {
    [table.name().to_owned(), format!("{}-by-use", table.name())]
}

/// The tables, or `None` if they are still to be made.
fn open_tables(env: &Env<WithoutTls>) -> Result<Option<Opened>, heed::Error> {
    let opened = env.open_databases_and_commit(env.read_txn()?, |opener, transaction| {
        let shelf = |table| -> Result<_, heed::Error> {
            let [records, order] = shelf_names(table);
            let records = opener.open_database::<Bytes, Bytes>(transaction, Some(&records))?;
            let order = opener.open_database::<Bytes, Unit>(transaction, Some(&order))?;
            Ok(records.zip(order))
        };
        let [sessions, refusals, breakers] = Table::ALL.map(shelf);
        let secrets = opener.open_database::<Bytes, Bytes>(transaction, Some("secrets"))?;
        let all = (sessions?, refusals?, breakers?, secrets);
        Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(all))
    })?;
    Ok(opened.commit().and_then(|all| match all {
        (Some(sessions), Some(refusals), Some(breakers), Some(secrets)) => Some(Opened {
            shelves: [sessions, refusals, breakers].map(Shelf::from),
            secrets,
        }),
        _ => None,
    }))
}

fn create_tables(env: &Env<WithoutTls>) -> Result<Opened, heed::Error> {
    let created = env.create_databases_and_commit(env.write_txn()?, |opener, transaction| {
        let shelf = |table| -> Result<_, heed::Error> {
            let [records, order] = shelf_names(table);
            let records = opener.create_database::<Bytes, Bytes>(transaction, Some(&records))?;
            let order = opener.create_database::<Bytes, Unit>(transaction, Some(&order))?;
            Ok((records, order))
        };
        let [sessions, refusals, breakers] = Table::ALL.map(shelf);
        let secrets = opener.create_database::<Bytes, Bytes>(transaction, Some("secrets"))?;
        let all = (sessions?, refusals?, breakers?, secrets);
        Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(all))
    })?;
    let (sessions, refusals, breakers, secrets) = created
        .commit()
        .ok_or(heed::Error::Mdb(MdbError::Problem))?;
    Ok(Opened {
        shelves: [sessions, refusals, breakers].map(Shelf::from),
        secrets,
    })
}

fn read_or_make_secret(
    env: &Env<WithoutTls>,
    secrets: Records,
) -> Result<[u8; Secret::LENGTH], heed::Error> {
    let found = {
        let transaction = env.read_txn()?;
        let bytes = secrets.get(&transaction, SECRET)?;
        bytes.and_then(|bytes| bytes.try_into().ok())
    };
    if let Some(secret) = found {
        return Ok(secret);
    }
    let secret = Secret::random().map_err(|error| heed::Error::Encoding(Box::new(error)))?;
    let mut transaction = env.write_txn()?;
    secrets.put(&mut transaction, SECRET, &secret)?;
    transaction.commit()?;
    Ok(secret)
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
