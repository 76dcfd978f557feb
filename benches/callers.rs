//! Those who ask a saslauthd: many at once, each as libsasl2 does it (`saslauthd_verify_password` in
//! its checkpw.c): a connection for every question, and no other before the answer is there.
//!
//! They share the processors with whom they ask, so they do no more than that: what they need is
//! there before the first question.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// All that a caller does is on its stack.
const STACK: usize = 64 << 10;

/// Of one caller, for the longest that a round may take.
const QUESTIONS: usize = 1 << 16;

/// A question, in the form in which it is sent.
pub struct Question(Vec<u8>);

/// What a round of questions comes to.
pub struct Figures {
    /// Answers a second, to all callers together.
    pub rate: f64,
    /// Half of the answers took no longer.
    pub median: Duration,
    /// 99 of 100 took no longer.
    pub slow: Duration,
}

impl Question {
    /// Is this the user's password, for `imap` and in no realm? Each field has its length before
    /// it, in two bytes.
    pub fn new(user: &str, password: &str) -> Self {
        let mut bytes = Vec::new();
        for field in [user, password, "imap", ""] {
            let length = u16::try_from(field.len()).expect("a field of less than 64 kB");
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(field.as_bytes());
        }
        Self(bytes)
    }

    /// Asks it, and insists on a yes.
    pub fn ask(&self, mux: &Path) {
        let mut stream = UnixStream::connect(mux).expect("a connection");
        stream.write_all(&self.0).expect("asking");
        let (mut length, mut answer) = ([0; 2], [0; 1024]);
        stream.read_exact(&mut length).expect("an answer");
        let answer = &mut answer[..usize::from(u16::from_be_bytes(length))];
        stream.read_exact(answer).expect("a whole answer");
        assert!(
            answer.starts_with(b"OK"),
            "{}",
            String::from_utf8_lossy(answer)
        );
    }

    /// So many callers ask it again and again, for as long as that.
    pub fn ask_at_once(&self, mux: &Path, callers: usize, time: Duration) -> Figures {
        let ready = Barrier::new(callers + 1);
        let mut start = Instant::now();
        let mut times: Vec<u32> = thread::scope(|scope| {
            let caller = || {
                let mut times = Vec::with_capacity(QUESTIONS);
                ready.wait();
                self.ask_again_and_again(mux, time, &mut times);
                times
            };
            let callers: Vec<_> = (0..callers)
                .map(|_| thread::Builder::new().stack_size(STACK))
                .map(|thread| thread.spawn_scoped(scope, caller).expect("a thread"))
                .collect();
            ready.wait();
            start = Instant::now();
            let times = callers
                .into_iter()
                .flat_map(|caller| caller.join().expect("a caller's times"));
            times.collect()
        });
        let seconds = start.elapsed().as_secs_f64();
        times.sort_unstable();
        let at = |share: usize| Duration::from_nanos(times[times.len() * share / 100].into());
        Figures {
            rate: times.len() as f64 / seconds,
            median: at(50),
            slow: at(99),
        }
    }

    /// Notes how long each answer took, in nanoseconds.
    fn ask_again_and_again(&self, mux: &Path, time: Duration, times: &mut Vec<u32>) {
        let start = Instant::now();
        let mut before = start;
        while before - start < time && times.len() < times.capacity() {
            self.ask(mux);
            let now = Instant::now();
            times.push(u32::try_from((now - before).as_nanos()).unwrap_or(u32::MAX));
            before = now;
        }
    }
}
