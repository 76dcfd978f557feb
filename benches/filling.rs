//! Sessions written into a store from beside: a hundred thousand logins would take minutes.

// No process is stopped while this one fills the store.
#![allow(clippy::disallowed_methods)]

use heed::types::{Bytes, Unit};
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, WithoutTls};
use std::path::Path;

/// Sessions of one transaction at most.
const AT_ONCE: usize = 50_000;

/// Another process's hold on a store.
pub struct Filling {
    env: Env<WithoutTls>,
    sessions: Database<'static, Bytes, Bytes>,
    order: Database<'static, Bytes, Unit>,
    written: u64,
}

impl Filling {
    /// Of the store that the plugin has made in this state directory.
    pub fn of(state: &Path, table: &str) -> Self {
        let store = std::fs::read_dir(state)
            .expect("the state directory")
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|extension| extension == "mdb"))
            .expect("a store");
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.max_dbs(16);
        // SAFETY: the plugin's own flags; they only leave out flushing to the disk.
        unsafe { options.flags(EnvFlags::NO_SUB_DIR | EnvFlags::NO_SYNC) };
        // SAFETY: nobody but LMDB changes the file: the directory is ours, and new.
        let env = unsafe { options.open(&store) }.expect("the store");
        let reading = env.read_txn().expect("a transaction");
        let opened = env.open_databases_and_commit(reading, |opener, reading| {
            let sessions = opener.open_database::<Bytes, Bytes>(reading, Some(table))?;
            let by_use = format!("{table}-by-use");
            let order = opener.open_database::<Bytes, Unit>(reading, Some(&by_use))?;
            Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit((sessions, order)))
        });
        let opened = opened.expect("the store's tables").commit();
        let (sessions, order) = opened.expect("the store's tables");
        Self {
            sessions: sessions.expect("the table of sessions"),
            order: order.expect("the order of their use"),
            env,
            written: 0,
        }
    }

    /// Writes so many sessions, as long as real ones and at places as random, in transactions of
    /// no more than LMDB keeps in memory.
    pub fn write(&mut self, mut count: usize) {
        while count > 0 {
            let some = count.min(AT_ONCE);
            self.write_some(some);
            count -= some;
        }
    }

    fn write_some(&mut self, count: usize) {
        let mut transaction = self.env.write_txn().expect("a transaction");
        for _ in 0..count {
            self.written += 1;
            let key = random_key(self.written);
            // Used at the boot, opened, used, two bounds, what was flushed before, mechanism and
            // service with their lengths, name, seal: nobody will ever read that.
            let record = [0; 8 + 8 + 8 + 8 + 8 + 4 + 2 + 5 + 16 + 5 + 16];
            let place = [&[0; 8][..], &key].concat();
            self.sessions
                .put(&mut transaction, &key, &record)
                .and_then(|()| self.order.put(&mut transaction, &place, &()))
                .expect("room in the store");
        }
        transaction.commit().expect("a transaction");
    }

    /// How many were written so far.
    pub fn written(&self) -> u64 {
        self.written
    }
}

/// 32 bytes for a number, the same every time (splitmix64).
fn random_key(number: u64) -> [u8; 32] {
    let mut key = [0; 32];
    for (index, part) in (0u64..).zip(key.chunks_exact_mut(8)) {
        let mut word = (4 * number + index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        part.copy_from_slice(&(word ^ (word >> 31)).to_be_bytes());
    }
    key
}
