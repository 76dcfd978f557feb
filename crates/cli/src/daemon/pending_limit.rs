//! Limits how many requests of a kind, such as those of one name, wait for an answer. Otherwise
//! they could occupy the connections of all others, although most of them need no worker.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

use parking_lot::Mutex;

/// The number of waiting requests of each kind.
pub(crate) struct WaitingRequests<K> {
    limit: usize,
    counts: Mutex<HashMap<K, usize>>,
}

/// One waiting request, until it is dropped.
pub(crate) struct WaitingRequest<'w, K: Eq + Hash + Clone> {
    all: &'w WaitingRequests<K>,
    kind: K,
}

impl<K: Eq + Hash + Clone> WaitingRequests<K> {
    /// Creates a counter that allows `limit` requests of each kind.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            counts: Mutex::default(),
        }
    }

    /// Counts one more request of `kind`; `None` if there are too many.
    pub(crate) fn add(&self, kind: K) -> Option<WaitingRequest<'_, K>> {
        let mut counts = self.counts.lock();
        let count = counts.entry(kind.clone()).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(WaitingRequest { all: self, kind })
    }
}

impl<K: Eq + Hash + Clone> Drop for WaitingRequest<'_, K> {
    fn drop(&mut self) {
        let mut counts = self.all.counts.lock();
        if let Entry::Occupied(mut entry) = counts.entry(self.kind.clone()) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_is_limited_to_its_share() {
        let all = WaitingRequests::new(2);
        let eve = [all.add("eve"), all.add("eve")];
        assert!(all.add("eve").is_none());
        assert!(all.add("alice").is_some());
        drop(eve);
        assert!(all.add("eve").is_some());
        assert!(all.counts.lock().is_empty());
    }
}
