//! Runs a model in many orders, and counts those that were different.

use shuttle::scheduler::{DfsScheduler, RandomScheduler, Schedule, Scheduler, Task, TaskId};
use shuttle::{Config, MaxSteps, Runner};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

/// A scheduler, and the orders that it chose.
struct Counted<S> {
    inner: S,
    order: DefaultHasher,
    orders: Arc<Mutex<HashSet<u64>>>,
}

impl<S> Counted<S> {
    fn note(&mut self) {
        let order = std::mem::take(&mut self.order).finish();
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        orders.insert(order);
    }
}

impl<S: Scheduler> Scheduler for Counted<S> {
    fn new_execution(&mut self) -> Option<Schedule> {
        self.note();
        self.inner.new_execution()
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let next = self.inner.next_task(runnable, current, is_yielding);
        let number = next.map_or(usize::MAX, usize::from);
        self.order.write_usize(number);
        next
    }

    fn next_u64(&mut self) -> u64 {
        self.inner.next_u64()
    }
}

/// What was tried.
#[derive(Clone, Copy, Debug)]
pub struct Explored {
    /// How often the model ran.
    pub runs: usize,
    /// In how many different orders.
    pub orders: usize,
}

fn run<S: Scheduler + 'static>(inner: S, model: impl Fn() + Send + Sync + 'static) -> Explored {
    let orders = Arc::<Mutex<HashSet<u64>>>::default();
    let counted = Counted {
        inner,
        order: DefaultHasher::new(),
        orders: Arc::clone(&orders),
    };
    let mut config = Config::new();
    // TLS libraries, HTTP clients and LMDB are used to more than shuttle's default.
    config.stack_size = 1 << 20;
    config.max_steps = MaxSteps::FailAfter(1_000_000);
    let runs = Runner::new(counted, config).run(model);
    let orders = orders.lock().unwrap_or_else(PoisonError::into_inner).len();
    // That of nothing, before the first.
    let orders = orders.saturating_sub(1);
    Explored { runs, orders }
}

/// Runs the model so often, in orders that are thrown. `SSO_RACES` is so many times as often.
pub fn at_random(runs: usize, model: impl Fn() + Send + Sync + 'static) -> Explored {
    let given = std::env::var("SSO_RACES").ok();
    let times = given.and_then(|text| text.parse().ok()).unwrap_or(1);
    run(RandomScheduler::new(runs * times), model)
}

/// Runs the model in every order that there is.
pub fn in_every_order(model: impl Fn() + Send + Sync + 'static) -> Explored {
    run(DfsScheduler::new(None, false), model)
}
