//! Single flight: of requests with equal cache keys, one, the leader, is validated. The others, its
//! followers, wait for its verdict and need no worker.
//!
//! A flight ends with its leader. If the leader is dropped without a verdict, its followers
//! validate for themselves. Only requests of open connections are leaders, so there are never more
//! flights than connections.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use sso_core::error::Failure;
use sso_core::policy::user_mapping::SessionUser;
use sso_core::session_cache::Key;

/// The verdict of a leader, for its followers. Each follower compares the user with its own name.
#[derive(Clone, Debug)]
pub(crate) struct SharedVerdict {
    /// The user name in the leader's request.
    pub(crate) name: String,
    /// The authenticated user, or why authentication failed.
    pub(crate) result: Result<SessionUser, Failure>,
    /// The cache key, for the log.
    pub(crate) key: Option<Key>,
}

type Sender = watch::Sender<Option<Arc<SharedVerdict>>>;
type Receiver = watch::Receiver<Option<Arc<SharedVerdict>>>;

/// The validations in progress, by cache key.
#[derive(Default)]
pub(crate) struct Flights {
    open: Mutex<HashMap<Key, Receiver>>,
}

/// The role of a request.
pub(crate) enum Role<'f> {
    /// The request has its credential validated.
    Leader(Leader<'f>),
    /// The request waits for the leader's verdict.
    Follower(Follower),
}

pub(crate) struct Leader<'f> {
    flights: &'f Flights,
    /// `None` after the flight has ended.
    key: Option<Key>,
    sender: Sender,
}

pub(crate) struct Follower(Receiver);

/// Why a follower has no verdict.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoVerdict {
    /// The follower's own deadline has passed.
    Late,
    /// The leader ended without a verdict.
    Abandoned,
}

impl Flights {
    /// Joins the flight for `key`, or begins one.
    pub(crate) fn join(&self, key: Key) -> Role<'_> {
        let mut open = self.open.lock();
        if let Some(receiver) = open.get(&key) {
            return Role::Follower(Follower(receiver.clone()));
        }
        let (sender, receiver) = watch::channel(None);
        open.insert(key, receiver);
        Role::Leader(Leader {
            flights: self,
            key: Some(key),
            sender,
        })
    }
}

impl Leader<'_> {
    /// Ends the flight with a verdict.
    pub(crate) fn finish(mut self, shared: SharedVerdict) {
        self.end();
        self.sender.send_replace(Some(Arc::new(shared)));
    }

    /// Prevents others from joining.
    fn end(&mut self) {
        if let Some(key) = self.key.take() {
            self.flights.open.lock().remove(&key);
        }
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

impl Follower {
    /// Waits for the verdict of the leader, until `end` at the latest.
    pub(crate) async fn verdict(mut self, end: Instant) -> Result<Arc<SharedVerdict>, NoVerdict> {
        match timeout_at(end, self.0.wait_for(Option::is_some)).await {
            Ok(Ok(shared)) => shared.clone().ok_or(NoVerdict::Abandoned),
            Ok(Err(_)) => Err(NoVerdict::Abandoned),
            Err(_) => Err(NoVerdict::Late),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sso_core::error::Reason;
    use std::time::Duration;

    fn shared(reason: Reason) -> SharedVerdict {
        SharedVerdict {
            name: "alice".to_owned(),
            result: Err(Failure::new(reason, "")),
            key: None,
        }
    }

    /// The verdict that a follower receives until `end`.
    fn wait_for(follower: Follower, end: Instant) -> Result<Arc<SharedVerdict>, NoVerdict> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        runtime.unwrap().block_on(follower.verdict(end))
    }

    fn later(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    fn follow(flights: &Flights, key: Key) -> Follower {
        match flights.join(key) {
            Role::Follower(follower) => follower,
            Role::Leader(_) => panic!("nobody leads"),
        }
    }

    fn lead(flights: &Flights, key: Key) -> Leader<'_> {
        match flights.join(key) {
            Role::Leader(leader) => leader,
            Role::Follower(_) => panic!("somebody leads already"),
        }
    }

    #[test]
    fn followers_share_the_verdict_of_the_leader() {
        let flights = Flights::default();
        let [key, other] = [1, 2].map(Key::of_test);
        let leader = lead(&flights, key);
        let followers = [follow(&flights, key), follow(&flights, key)];
        drop(lead(&flights, other));
        leader.finish(shared(Reason::TicketRefused));
        for follower in followers {
            let shared = wait_for(follower, later(60)).unwrap();
            let failure = shared.result.as_ref().unwrap_err();
            assert_eq!(failure.reason(), Reason::TicketRefused);
        }
        assert!(flights.open.lock().is_empty());
    }

    #[test]
    fn followers_of_a_dropped_leader_are_released() {
        let flights = Flights::default();
        let key = Key::of_test(1);
        let leader = lead(&flights, key);
        let follower = follow(&flights, key);
        drop(leader);
        let end = wait_for(follower, later(60)).unwrap_err();
        assert_eq!(end, NoVerdict::Abandoned);
        // Another request can lead.
        drop(lead(&flights, key));
    }

    #[test]
    fn follower_waits_until_its_own_deadline() {
        let flights = Flights::default();
        let key = Key::of_test(1);
        let leader = lead(&flights, key);
        let end = wait_for(follow(&flights, key), later(0)).unwrap_err();
        assert_eq!(end, NoVerdict::Late);
        leader.finish(shared(Reason::TicketRefused));
    }
}
