//! The credentials that are there: new ones, known ones, and those that must open nothing.

use crate::harness::dice::Dice;
use crate::harness::https_server::lock;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Of what kind a credential is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ticket,
    /// With the generation of the keys that signed it.
    Token(usize),
}

/// A good one, as the webmail has it.
pub struct Credential {
    pub kind: Kind,
    pub user: String,
    pub secret: String,
    born: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tried: Option<Instant>,
    is_known: bool,
}

impl Credential {
    pub fn new(kind: Kind, user: &str, secret: String) -> Self {
        Self {
            kind,
            user: user.to_owned(),
            secret,
            born: Instant::now(),
            state: Mutex::default(),
        }
    }

    /// Notes that a login begins: whether one has succeeded before, and when the first one began.
    pub fn begin(&self) -> (bool, Instant) {
        let mut state = lock(&self.state);
        let tried = *state.tried.get_or_insert_with(Instant::now);
        (state.is_known, tried)
    }

    /// Notes that it opened the door; whether it is the first time.
    fn becomes_known(&self) -> bool {
        !std::mem::replace(&mut lock(&self.state).is_known, true)
    }
}

/// One that must open nothing, whenever it is tried, and why.
#[derive(Clone)]
pub struct Wrong {
    pub is_ticket: bool,
    pub user: String,
    pub secret: String,
    pub why: &'static str,
}

/// So many new ones are kept in stock, so that there are some when their server is down.
const NEW: usize = 24;
/// So many known ones; beyond that the webmail forgets one.
const KNOWN: usize = 150;
/// So many wrong ones.
const WRONG: usize = 200;
/// Tokens are good for an hour.
const OLD: Duration = Duration::from_secs(40 * 60);

/// All of them.
#[derive(Default)]
pub struct Stock {
    new: Mutex<VecDeque<Arc<Credential>>>,
    known: Mutex<Vec<Arc<Credential>>>,
    wrong: Mutex<Vec<Wrong>>,
}

impl Stock {
    /// Whether there are new ones enough of tickets, or of tokens.
    pub fn is_full(&self, of_tickets: bool) -> bool {
        let is_such = |one: &&Arc<Credential>| (one.kind == Kind::Ticket) == of_tickets;
        lock(&self.new).iter().filter(is_such).count() >= NEW
    }

    /// A new one for the connections of so many.
    pub fn add_new(&self, credential: Credential, times: usize) {
        let credential = Arc::new(credential);
        lock(&self.new).extend(std::iter::repeat_n(credential, times));
    }

    /// The next new one.
    pub fn take_new(&self) -> Option<Arc<Credential>> {
        lock(&self.new).pop_front()
    }

    /// One that opened the door; it is in stock from then on, `unless` something came between.
    pub fn keep(
        &self,
        credential: &Arc<Credential>,
        unless: impl FnOnce() -> bool,
        dice: &mut Dice,
    ) {
        // Looked at under the lock: who takes some out begins by saying so.
        let mut known = lock(&self.known);
        if !unless() && credential.becomes_known() {
            if known.len() >= KNOWN {
                let forgotten = dice.roll(known.len());
                known.swap_remove(forgotten);
            }
            known.push(Arc::clone(credential));
        }
    }

    /// One that opened the door before.
    pub fn known(&self, dice: &mut Dice) -> Option<Arc<Credential>> {
        let mut known = lock(&self.known);
        known.retain(|one| one.born.elapsed() < OLD);
        (!known.is_empty()).then(|| Arc::clone(dice.pick(&known)))
    }

    /// All that did.
    pub fn all_known(&self) -> Vec<Arc<Credential>> {
        lock(&self.known).clone()
    }

    /// Takes those out, new and known, that `which` names.
    pub fn take_out(&self, which: impl Fn(&Credential) -> bool) -> Vec<Arc<Credential>> {
        let mut known = lock(&self.known);
        let (out, stay) = known.drain(..).partition(|one: &Arc<_>| which(one));
        *known = stay;
        drop(known);
        out
    }

    /// The same of those that are still new, which are lost.
    pub fn drop_new(&self, which: impl Fn(&Credential) -> bool) {
        lock(&self.new).retain(|one| !which(one));
    }

    /// One that must open nothing from now on.
    pub fn add_wrong(&self, wrong: Wrong, dice: &mut Dice) {
        let mut all = lock(&self.wrong);
        if all.len() >= WRONG {
            let forgotten = dice.roll(all.len());
            all.swap_remove(forgotten);
        }
        all.push(wrong);
    }

    /// One of them.
    pub fn wrong(&self, dice: &mut Dice) -> Option<Wrong> {
        let all = lock(&self.wrong);
        (!all.is_empty()).then(|| dice.pick(&all).clone())
    }

    /// All of them.
    pub fn all_wrong(&self) -> Vec<Wrong> {
        lock(&self.wrong).clone()
    }
}
