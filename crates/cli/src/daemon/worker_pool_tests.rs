use super::*;
use std::time::Duration;

const LIMITS: Limits = Limits {
    workers: 4,
    workers_per_name: 2,
    queue: 6,
};

/// Runs a future in a runtime with a clock.
fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.unwrap().block_on(future)
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// Takes a worker that must be free.
fn take(pool: &Arc<Pool>, name: &str) -> Worker {
    let name = Arc::from(name);
    assert!(pool.enter(&name).unwrap().is_none(), "no worker is free");
    pool.worker(name)
}

/// Takes a place in the queue.
fn wait(pool: &Arc<Pool>, name: &str) -> Waiting {
    let waiting = pool.enter(&Arc::from(name)).unwrap();
    waiting.expect("a worker is free")
}

fn is_granted(waiting: &mut Waiting) -> bool {
    let granted = waiting.granted.try_recv().is_ok();
    if granted {
        // acquire() does the same.
        drop(waiting.pool.worker(Arc::clone(&waiting.name)));
    }
    granted
}

fn assert_idle(pool: &Pool) {
    let state = pool.state.lock();
    assert_eq!((state.running, state.queued), (0, 0));
    assert!(state.names.is_empty() && state.turns.iter().all(VecDeque::is_empty));
}

#[test]
fn one_name_cannot_take_all_workers() {
    let pool = Pool::new(LIMITS);
    let eve = [take(&pool, "eve"), take(&pool, "eve")];
    let queued = wait(&pool, "eve");
    let alice = run(async { pool.acquire("alice", later()).await }).unwrap();
    drop((eve, queued, alice));
    assert_idle(&pool);
}

#[test]
fn names_take_turns_regardless_of_their_queues() {
    let pool = Pool::new(LIMITS);
    let mut running: Vec<Worker> = ["a", "a", "b", "b"].map(|name| take(&pool, name)).into();
    let mut eve: Vec<Waiting> = (0..4).map(|_| wait(&pool, "eve")).collect();
    let mut alice = wait(&pool, "alice");
    running.pop();
    assert!(eve[0].granted.try_recv().is_ok());
    let first = pool.worker(Arc::clone(&eve[0].name));
    running.pop();
    // The second worker of eve is not free yet.
    assert!(is_granted(&mut alice));
    drop((first, running));
    drop((eve, alice));
    assert_idle(&pool);
}

#[test]
fn names_without_a_worker_go_before_those_that_have_one() {
    let pool = Pool::new(LIMITS);
    let mut running: Vec<Worker> = ["eve", "a", "b", "b"].map(|name| take(&pool, name)).into();
    let mut eve = wait(&pool, "eve");
    let mut alice = wait(&pool, "alice");
    running.pop();
    assert!(is_granted(&mut alice));
    // The worker is free again, and no other name waits.
    assert!(is_granted(&mut eve));
    drop((running, eve, alice));
    assert_idle(&pool);
}

#[test]
fn full_queue_makes_room_for_a_name_with_fewer_requests() {
    let pool = Pool::new(LIMITS);
    let running = ["a", "a", "b", "b"].map(|name| take(&pool, name));
    let mut eve: Vec<Waiting> = (0..6).map(|_| wait(&pool, "eve")).collect();
    let more = pool.enter(&Arc::from("eve")).err().unwrap();
    assert_eq!(more.reason(), Reason::Busy);
    let mut others: Vec<Waiting> = ["alice", "bert", "carl"]
        .map(|name| wait(&pool, name))
        .into();
    // The newest requests of eve have lost their places.
    for lost in &mut eve[3..] {
        let lost = lost.granted.try_recv();
        assert_eq!(lost, Err(oneshot::error::TryRecvError::Closed));
    }
    // There are as many different names as places.
    others.extend(["dora", "emil"].map(|name| wait(&pool, name)));
    assert!(pool.enter(&Arc::from("fritz")).is_err());
    drop(running);
    drop((eve, others));
    assert_idle(&pool);
}

#[test]
fn worker_granted_at_the_end_of_a_wait_is_not_lost() {
    let pool = Pool::new(LIMITS);
    let running = ["a", "a", "b", "b"].map(|name| take(&pool, name));
    let late = run(async { pool.acquire("alice", Instant::now()).await });
    let late = late.err().unwrap();
    assert_eq!(late.reason(), Reason::Busy);
    // The worker is granted at the moment when the wait ends.
    let waiting = wait(&pool, "alice");
    drop(running);
    drop(waiting);
    assert_idle(&pool);
}

#[test]
fn name_whose_wait_ended_loses_its_turn() {
    let pool = Pool::new(LIMITS);
    let mut running: Vec<Worker> = ["a", "eve", "b", "b"].map(|name| take(&pool, name)).into();
    let late = wait(&pool, "eve");
    let mut other = wait(&pool, "a");
    // The request ends, and another one arrives.
    drop(late);
    let mut eve = wait(&pool, "eve");
    running.pop();
    assert!(other.granted.try_recv().is_ok());
    let other = pool.worker(Arc::clone(&other.name));
    assert!(eve.granted.try_recv().is_err());
    drop((running, other, eve));
    assert_idle(&pool);
}
