//! LMDB's environment behind a lock that has a time-out.
//!
//! A reader slot is a read transaction's (`MDB_NOTLS`) and is given back at its end, so
//! that slots are bounded by how many reads there are at a time, and not by how many
//! processes live. To take one, LMDB locks a mutex that all processes share, and waits for
//! it without an end: a process that is stopped (SIGSTOP) while it has that mutex would
//! stop all others for good. So each call that takes the mutex is made with
//! [`Lock::Readers`] held, which is waited for no longer than the caller says. These are
//! (mdb.c): to begin a read transaction; to look for readers that have ended; and to begin
//! a write transaction, which looks for them where the last writer was killed. To end a
//! transaction takes no lock.
//!
//! Whoever holds LMDB's write mutex holds [`What::Writing`](crate::state_dir::lock_file::What) as well,
//! so that nobody waits for that mutex with the lock on the readers held. clippy.toml
//! keeps the rest of the code from calling LMDB past this module.

#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::Duration;

use heed::{Env, MdbError, RoTxn, RwTxn, WithoutTls};

use crate::state_dir::sync_file::{Lock, SyncFile};

/// How long a lock of another process is waited for: thousands of times as long as it is
/// held.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// An open store.
#[derive(Clone)]
pub(crate) struct Environment {
    env: Env<WithoutTls>,
    sync: Arc<SyncFile>,
}

impl Environment {
    pub(crate) fn new(env: Env<WithoutTls>, sync: Arc<SyncFile>) -> Self {
        Self { env, sync }
    }

    /// LMDB's own, for what needs no lock.
    pub(crate) fn lmdb(&self) -> &Env<WithoutTls> {
        &self.env
    }

    /// What processes of the host wait for one another by.
    pub(crate) fn sync(&self) -> &Arc<SyncFile> {
        &self.sync
    }

    /// Begins a read transaction. If all slots are taken, those of readers that have ended
    /// are used.
    ///
    /// # Errors
    /// LMDB's, or an I/O error of the kind `TimedOut` if the lock was not free for
    /// `patience`.
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

    /// Begins a write transaction. The caller is the only writer.
    ///
    /// # Errors
    /// As [`Environment::read_txn`].
    pub(crate) fn write_txn(&self) -> Result<RwTxn<'_>, heed::Error> {
        let _readers = self.sync.lock(Lock::Readers, PATIENCE)?;
        self.env.write_txn()
    }

    /// Gives back the slots of processes that have ended; how many there were.
    ///
    /// # Errors
    /// As [`Environment::read_txn`].
    pub(crate) fn clear_stale_readers(&self) -> Result<usize, heed::Error> {
        let _readers = self.sync.lock(Lock::Readers, PATIENCE)?;
        self.env.clear_stale_readers()
    }
}
