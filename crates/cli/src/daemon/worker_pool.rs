//! A limited number of workers, shared fairly between the names in requests.
//!
//! - One name has at most [`Limits::workers_per_name`] of the workers at a time, so that the others
//!   are free for other names.
//! - Names take turns: a free worker goes to the name that has waited longest, however many
//!   requests of another name are in the queue. Names without a worker go before those that have
//!   one.
//! - When the queue is full, the newest request of the name with the most requests gives its place
//!   to a name that has fewer. So the queue is full for a new name only while as many different
//!   names wait as there are places.

#![forbid(unsafe_code)]

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use sso_core::error::{Failure, Reason};

/// The limits of a pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The maximum number of requests that are processed at the same time.
    pub(crate) workers: usize,
    /// The maximum number of these that belong to one name.
    pub(crate) workers_per_name: usize,
    /// The maximum number of requests that wait for a worker.
    pub(crate) queue: usize,
}

/// Workers and the queue for them.
pub(crate) struct Pool {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: usize,
    queued: usize,
    last_id: u64,
    /// The names that have a worker or wait for one.
    names: HashMap<Arc<str>, Share>,
    /// The names in the order of their turns: those that wait for their first worker, and those
    /// that wait for another one and may have it.
    turns: [VecDeque<Arc<str>>; 2],
}

/// The workers and waiting requests of one name.
#[derive(Default)]
struct Share {
    running: usize,
    waiting: VecDeque<Request>,
    /// The index in [`State::turns`] of the list that contains the name.
    turn: Option<usize>,
}

struct Request {
    id: u64,
    /// If it is dropped without a value, the request has lost its place.
    granted: oneshot::Sender<()>,
}

/// A worker for one request, until it is dropped.
pub(crate) struct Worker {
    pool: Arc<Pool>,
    name: Arc<str>,
}

/// A request in the queue, until it is dropped.
struct Waiting {
    pool: Arc<Pool>,
    name: Arc<str>,
    id: u64,
    granted: oneshot::Receiver<()>,
}

impl Pool {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            state: Mutex::default(),
        })
    }

    /// Waits for a worker, until `end` at the latest.
    ///
    /// # Errors
    /// [`Reason::Busy`]: the queue is full, or no worker was free in time.
    pub(crate) async fn acquire(
        self: &Arc<Self>,
        name: &str,
        end: Instant,
    ) -> Result<Worker, Failure> {
        let name: Arc<str> = Arc::from(name);
        let Some(mut waiting) = self.enter(&name)? else {
            return Ok(self.worker(name));
        };
        match timeout_at(end, &mut waiting.granted).await {
            Ok(Ok(())) => Ok(self.worker(name)),
            Ok(Err(_)) => Err(busy(
                "a name with fewer requests took the place in the queue",
            )),
            Err(_) => Err(busy("no worker was free within the time allowed")),
        }
    }

    /// Takes a worker, or a place in the queue (`Some`).
    fn enter(self: &Arc<Self>, name: &Arc<str>) -> Result<Option<Waiting>, Failure> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let share = state.names.entry(Arc::clone(name)).or_default();
        // A name that waits while a worker is free has as many workers as it may have.
        if state.running < self.limits.workers && share.running < self.limits.workers_per_name {
            state.running += 1;
            share.running += 1;
            return Ok(None);
        }
        if state.queued >= self.limits.queue && !state.make_room(name) {
            state.forget_idle(name);
            return Err(busy("the queue for the workers is full"));
        }
        state.last_id += 1;
        let (id, (sender, granted)) = (state.last_id, oneshot::channel());
        state.queued += 1;
        let share = state.names.entry(Arc::clone(name)).or_default();
        share.waiting.push_back(Request {
            id,
            granted: sender,
        });
        state.give_turn(name, &self.limits);
        Ok(Some(Waiting {
            pool: Arc::clone(self),
            name: Arc::clone(name),
            id,
            granted,
        }))
    }

    fn worker(self: &Arc<Self>, name: Arc<str>) -> Worker {
        Worker {
            pool: Arc::clone(self),
            name,
        }
    }

    /// Returns one worker of `name` to the pool.
    fn release(&self, name: &Arc<str>) {
        let mut state = self.state.lock();
        state.running -= 1;
        if let Some(share) = state.names.get_mut(name) {
            share.running -= 1;
        }
        state.give_turn(name, &self.limits);
        state.forget_idle(name);
        state.dispatch(&self.limits);
    }
}

impl State {
    /// Assigns free workers to the names whose turn it is.
    fn dispatch(&mut self, limits: &Limits) {
        while self.running < limits.workers {
            let [first, more] = &mut self.turns;
            let Some(name) = first.pop_front().or_else(|| more.pop_front()) else {
                return;
            };
            if let Some(share) = self.names.get_mut(&name) {
                share.turn = None;
                if let Some(request) = share.waiting.pop_front() {
                    self.queued -= 1;
                    if request.granted.send(()).is_ok() {
                        share.running += 1;
                        self.running += 1;
                    }
                }
            }
            self.give_turn(&name, limits);
            self.forget_idle(&name);
        }
    }

    /// Adds `name` to the turns, if it waits and may have another worker.
    fn give_turn(&mut self, name: &Arc<str>, limits: &Limits) {
        let Some(share) = self.names.get_mut(name) else {
            return;
        };
        let may_have = !share.waiting.is_empty() && share.running < limits.workers_per_name;
        let turn = may_have.then_some(usize::from(share.running > 0));
        let before = std::mem::replace(&mut share.turn, turn);
        if before == turn {
            return;
        }
        if let Some(before) = before {
            self.turns[before].retain(|other| other != name);
        }
        if let Some(turn) = turn {
            self.turns[turn].push_back(Arc::clone(name));
        }
    }

    /// Makes room for `name` in a full queue, if another name has at least two more requests in it.
    fn make_room(&mut self, name: &Arc<str>) -> bool {
        let ours = self.names.get(name).map_or(0, |share| share.waiting.len());
        let longest = self
            .names
            .values_mut()
            .max_by_key(|share| share.waiting.len());
        match longest {
            Some(share) if share.waiting.len() > ours + 1 => {
                share.waiting.pop_back();
                self.queued -= 1;
                true
            }
            _ => false,
        }
    }

    fn forget_idle(&mut self, name: &Arc<str>) {
        let is_idle = |share: &Share| share.running == 0 && share.waiting.is_empty();
        if self.names.get(name).is_some_and(is_idle)
            && let Some(turn) = self.names.remove(name).and_then(|share| share.turn)
        {
            self.turns[turn].retain(|other| other != name);
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.pool.release(&self.name);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.pool.state.lock();
        if let Some(share) = state.names.get_mut(&self.name) {
            let before = share.waiting.len();
            share.waiting.retain(|request| request.id != self.id);
            if share.waiting.len() < before {
                state.queued -= 1;
                // A name without waiting requests keeps no turn.
                state.give_turn(&self.name, &self.pool.limits);
                state.forget_idle(&self.name);
                return;
            }
        }
        drop(state);
        // A worker was granted at the moment when the wait ended.
        if self.granted.try_recv().is_ok() {
            self.pool.release(&self.name);
        }
    }
}

fn busy(what: &str) -> Failure {
    Failure::new(Reason::Busy, what)
}

#[cfg(test)]
#[path = "worker_pool_tests.rs"]
mod tests;
