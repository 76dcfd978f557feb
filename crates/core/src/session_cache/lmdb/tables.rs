//! The contents of the session cache: for each table its records and their order of use, the
//! flushes, and the host's secret.

#![forbid(unsafe_code)]

use heed::types::{Bytes, Unit};
use heed::{CommitOrAbort, Database, MdbError, RwTxn};

use super::locked_env::{Environment, LOCK_TIMEOUT};
use crate::platform::clock::BootTime;
use crate::session_cache::backend::Table;
use crate::session_cache::cache_key::{Key, Secret};
use crate::session_cache::entry::boot_time;
use crate::session_cache::flush_log::FlushLog;

/// The number of LMDB databases: two for each table, one for the flushes, one for the secret.
pub(crate) const DATABASES: u32 = 2 * Table::ALL.len() as u32 + 2;

/// The maximum number of records that one write evicts, if `sso_sessions` was lowered.
const MAX_EVICTIONS_PER_WRITE: usize = 64;

/// The key of the host's secret.
const SECRET: &[u8] = b"secret";

type Records = Database<'static, Bytes, Bytes>;
type Order = Database<'static, Bytes, Unit>;

/// One table: the records, each after the time of its last use, and the keys in the order of last
/// use.
#[derive(Clone, Copy)]
pub(crate) struct LruTable {
    pub(crate) records: Records,
    pub(crate) order: Order,
}

/// All contents.
pub(crate) struct Tables {
    pub(crate) all: [LruTable; Table::ALL.len()],
    /// The flushes.
    pub(crate) flushes: FlushLog,
    /// The host's secret.
    pub(crate) secret: [u8; Secret::LENGTH],
}

impl Tables {
    /// Opens the tables; `None` if some are missing.
    pub(crate) fn open(env: &Environment) -> Result<Option<Self>, heed::Error> {
        let Some((all, flushes, secrets)) = open_tables(env)? else {
            return Ok(None);
        };
        let flushes = FlushLog(flushes);
        let secret = read_secret(env, secrets)?;
        Ok(secret.map(|secret| Self {
            all,
            flushes,
            secret,
        }))
    }

    /// Creates the missing tables. The caller must be the only writer.
    pub(crate) fn make(env: &Environment) -> Result<Self, heed::Error> {
        let (all, flushes, secrets) = create_tables(env)?;
        let flushes = FlushLog(flushes);
        if read_secret(env, secrets)?.is_none() {
            let secret = Secret::random();
            let secret = secret.map_err(|error| heed::Error::Encoding(Box::new(error)))?;
            let mut transaction = env.write_txn()?;
            secrets.put(&mut transaction, SECRET, &secret)?;
            transaction.commit()?;
        }
        let secret = read_secret(env, secrets)?.ok_or(heed::Error::Mdb(MdbError::Problem))?;
        Ok(Self {
            all,
            flushes,
            secret,
        })
    }
}

/// The tables, the flushes, and the secrets.
type Opened = ([LruTable; Table::ALL.len()], Records, Records);

impl From<(Records, Order)> for LruTable {
    fn from((records, order): (Records, Order)) -> Self {
        Self { records, order }
    }
}

impl LruTable {
    pub(crate) fn put_in(
        self,
        transaction: &mut RwTxn<'_>,
        key: &Key,
        now: BootTime,
        record: &[u8],
    ) -> Result<(), heed::Error> {
        let used = now.as_millis().to_be_bytes();
        let dated = [&used[..], record].concat();
        self.records.put(transaction, key.as_bytes(), &dated)?;
        self.order
            .put(transaction, &place(&used, key.as_bytes()), &())
    }

    pub(crate) fn remove(self, transaction: &mut RwTxn<'_>, key: &Key) -> Result<(), heed::Error> {
        let Some(dated) = self.records.get(transaction, key.as_bytes())? else {
            return Ok(());
        };
        let used = dated.first_chunk::<8>().copied().unwrap_or_default();
        self.order
            .delete(transaction, &place(&used, key.as_bytes()))?;
        self.records.delete(transaction, key.as_bytes())?;
        Ok(())
    }

    /// Evicts the least recently used records until there is room for one more, and useless ones
    /// among them, up to [`MAX_EVICTIONS_PER_WRITE`], because other processes wait. Returns the
    /// number of evicted sessions that had not ended.
    pub(crate) fn make_room(
        self,
        transaction: &mut RwTxn<'_>,
        capacity: usize,
        table: Table,
        now: BootTime,
        is_session: impl Fn(&[u8]) -> bool,
    ) -> Result<u64, heed::Error> {
        let mut evicted = 0;
        for _ in 0..MAX_EVICTIONS_PER_WRITE {
            let held = usize::try_from(self.records.len(transaction)?).unwrap_or(usize::MAX);
            let Some((place, ())) = self.order.first(transaction)? else {
                break;
            };
            let outlived = table.keeps().is_some_and(|keeps| {
                boot_time(place)
                    .and_then(|(used, _)| now.since(used))
                    .is_some_and(|age| age > keeps)
            });
            if held < capacity.max(1) && !outlived {
                break;
            }
            let place = place.to_vec();
            let key = place
                .get(8..)
                .filter(|key| key.len() == Key::LENGTH)
                .ok_or(heed::Error::Mdb(MdbError::Corrupted))?;
            let dated = self.records.get(transaction, key)?;
            let record = dated.and_then(boot_time).map(|(_, record)| record);
            evicted += u64::from(record.is_some_and(&is_session));
            self.order.delete(transaction, &place)?;
            self.records.delete(transaction, key)?;
        }
        Ok(evicted)
    }
}

/// The key in the order of use: the time, then the record's key.
fn place(used: &[u8; 8], key: &[u8; Key::LENGTH]) -> [u8; 8 + Key::LENGTH] {
    let mut place = [0; 8 + Key::LENGTH];
    place[..8].copy_from_slice(used);
    place[8..].copy_from_slice(key);
    place
}

/// The names of a table's two databases.
fn database_names(table: Table) -> [String; 2] {
    [table.name().to_owned(), format!("{}-by-use", table.name())]
}

/// Opens the tables, or returns `None` if they must be created.
fn open_tables(env: &Environment) -> Result<Option<Opened>, heed::Error> {
    let transaction = env.read_txn(LOCK_TIMEOUT)?;
    let opened = env
        .lmdb()
        .open_databases_and_commit(transaction, |opener, transaction| {
            let table = |table| -> Result<_, heed::Error> {
                let [records, order] = database_names(table);
                let records = opener.open_database::<Bytes, Bytes>(transaction, Some(&records))?;
                let order = opener.open_database::<Bytes, Unit>(transaction, Some(&order))?;
                Ok(records.zip(order))
            };
            let [
                tickets,
                tokens,
                refusals,
                breakers,
                budgets,
                clients,
                accepted,
                notes,
            ] = Table::ALL.map(table);
            let flushes = opener.open_database::<Bytes, Bytes>(transaction, Some("flushes"))?;
            let secrets = opener.open_database::<Bytes, Bytes>(transaction, Some("secrets"))?;
            let all = (
                tickets?, tokens?, refusals?, breakers?, budgets?, clients?, accepted?, notes?,
                flushes, secrets,
            );
            Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(all))
        })?;
    Ok(opened.commit().and_then(|all| match all {
        (
            Some(tickets),
            Some(tokens),
            Some(refusals),
            Some(breakers),
            Some(budgets),
            Some(clients),
            Some(accepted),
            Some(notes),
            Some(flushes),
            Some(secrets),
        ) => {
            let tables = [
                tickets, tokens, refusals, breakers, budgets, clients, accepted, notes,
            ];
            Some((tables.map(LruTable::from), flushes, secrets))
        }
        _ => None,
    }))
}

fn create_tables(env: &Environment) -> Result<Opened, heed::Error> {
    let transaction = env.write_txn()?;
    let created = env
        .lmdb()
        .create_databases_and_commit(transaction, |opener, transaction| {
            let table = |table| -> Result<_, heed::Error> {
                let [records, order] = database_names(table);
                let records =
                    opener.create_database::<Bytes, Bytes>(transaction, Some(&records))?;
                let order = opener.create_database::<Bytes, Unit>(transaction, Some(&order))?;
                Ok((records, order))
            };
            let [
                tickets,
                tokens,
                refusals,
                breakers,
                budgets,
                clients,
                accepted,
                notes,
            ] = Table::ALL.map(table);
            let flushes = opener.create_database::<Bytes, Bytes>(transaction, Some("flushes"))?;
            let secrets = opener.create_database::<Bytes, Bytes>(transaction, Some("secrets"))?;
            let all = (
                tickets?, tokens?, refusals?, breakers?, budgets?, clients?, accepted?, notes?,
                flushes, secrets,
            );
            Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(all))
        })?;
    let (tickets, tokens, refusals, breakers, budgets, clients, accepted, notes, flushes, secrets) =
        created
            .commit()
            .ok_or(heed::Error::Mdb(MdbError::Problem))?;
    let tables = [
        tickets, tokens, refusals, breakers, budgets, clients, accepted, notes,
    ];
    Ok((tables.map(LruTable::from), flushes, secrets))
}

fn read_secret(
    env: &Environment,
    secrets: Records,
) -> Result<Option<[u8; Secret::LENGTH]>, heed::Error> {
    let transaction = env.read_txn(LOCK_TIMEOUT)?;
    let bytes = secrets.get(&transaction, SECRET)?;
    Ok(bytes.and_then(|bytes| bytes.try_into().ok()))
}
