//! LMDB's environment behind a lock with a deadline.
//!
//! A reader slot belongs to a read transaction (`MDB_NOTLS`) and is returned at its end, so that
//! the number of slots depends on the number of concurrent reads, and not on the number of
//! processes. To take a slot, LMDB locks a mutex that all processes share, and waits without a
//! deadline: a process that is stopped (SIGSTOP) with this mutex would stop all others for good. So
//! each call that takes the mutex is made with [`Lock::Readers`] held, which has a deadline. These
//! calls are (mdb.c): beginning a read transaction; looking for readers that have ended; and
//! beginning a write transaction, which looks for them if the last writer was killed. Ending a
//! transaction takes no lock.
//!
//! Whoever holds LMDB's write mutex also holds
//! [`What::Writing`](crate::state_dir::lock_file::What), so that nobody waits for that mutex with
//! the lock on the readers held. clippy.toml forbids calls of LMDB that bypass this module.

#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::Duration;

use heed::{Env, MdbError, RoTxn, RwTxn, WithoutTls};

use crate::state_dir::sync_file::{Lock, SyncFile};

/// How long to wait for the lock of another process: thousands of times as long as it is usually
/// held.
pub(crate) const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// An open session cache.
#[derive(Clone)]
pub(crate) struct Environment {
    env: Env<WithoutTls>,
    sync: Arc<SyncFile>,
}

impl Environment {
    pub(crate) fn new(env: Env<WithoutTls>, sync: Arc<SyncFile>) -> Self {
        Self { env, sync }
    }

    /// LMDB's environment, for calls that need no lock.
    pub(crate) fn lmdb(&self) -> &Env<WithoutTls> {
        &self.env
    }

    /// The file by which processes of the host wait for each other.
    pub(crate) fn sync(&self) -> &Arc<SyncFile> {
        &self.sync
    }

    /// Begins a read transaction. If all slots are in use, those of readers that have ended are
    /// released.
    ///
    /// # Errors
    /// LMDB's, or an I/O error of the kind `TimedOut` if the lock was not free within `patience`.
    pub(crate) fn read_txn(
        &self,
        patience: Duration,
    ) -> Result<RoTxn<'_, WithoutTls>, heed::Error> {
        let _readers = self.sync.lock(Lock::Readers, patience)?;
        match self.env.read_txn() {
            Err(heed::Error::Mdb(MdbError::ReadersFull)) => {
                self.env.clear_stale_readers()?;
                self.env.read_txn()
            }
            begun => begun,
        }
    }

    /// Begins a write transaction. The caller must be the only writer.
    ///
    /// # Errors
    /// As [`Environment::read_txn`].
    pub(crate) fn write_txn(&self) -> Result<RwTxn<'_>, heed::Error> {
        let _readers = self.sync.lock(Lock::Readers, LOCK_TIMEOUT)?;
        self.env.write_txn()
    }

    /// Releases the slots of processes that have ended, and returns their number.
    ///
    /// # Errors
    /// As [`Environment::read_txn`].
    pub(crate) fn clear_stale_readers(&self) -> Result<usize, heed::Error> {
        let _readers = self.sync.lock(Lock::Readers, LOCK_TIMEOUT)?;
        self.env.clear_stale_readers()
    }
}
