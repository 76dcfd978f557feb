//! The pool of credentials: new ones, known ones and bad ones.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use test_support::dice::Dice;
use test_support::https_server::lock;

/// The kind of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ticket,
    /// A token, with the generation of the keys that signed it.
    Token(usize),
}

/// A valid credential of the webmail.
pub struct Credential {
    pub kind: Kind,
    pub user: String,
    pub secret: String,
    born: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    first_login: Option<Instant>,
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

    /// Records the start of a login. Returns whether an earlier login succeeded, and when the first
    /// one started.
    pub fn begin(&self) -> (bool, Instant) {
        let mut state = lock(&self.state);
        let first_login = *state.first_login.get_or_insert_with(Instant::now);
        (state.is_known, first_login)
    }

    /// Records a successful login. Returns whether it is the first one.
    fn record_success(&self) -> bool {
        !std::mem::replace(&mut lock(&self.state).is_known, true)
    }
}

/// A credential that must always be refused, and the reason.
#[derive(Clone)]
pub struct BadCredential {
    pub is_ticket: bool,
    pub user: String,
    pub secret: String,
    pub why: &'static str,
}

/// Maximum number of new credentials of each kind. The supply must last while a server is down.
const MAX_NEW: usize = 24;
/// Maximum number of known credentials. Beyond that, a random one is dropped.
const MAX_KNOWN: usize = 150;
/// Maximum number of bad credentials. Beyond that, a random one is dropped.
const MAX_BAD: usize = 200;
/// Age at which a credential is dropped. Tokens are valid for an hour.
const MAX_AGE: Duration = Duration::from_secs(40 * 60);

/// All credentials that are available for logins.
#[derive(Default)]
pub struct CredentialPool {
    new: Mutex<VecDeque<Arc<Credential>>>,
    known: Mutex<Vec<Arc<Credential>>>,
    bad: Mutex<Vec<BadCredential>>,
}

impl CredentialPool {
    /// Returns whether there are enough new tickets or, if `tickets` is false, tokens.
    pub fn is_full(&self, tickets: bool) -> bool {
        let is_same_kind = |one: &&Arc<Credential>| (one.kind == Kind::Ticket) == tickets;
        lock(&self.new).iter().filter(is_same_kind).count() >= MAX_NEW
    }

    /// Adds a new credential, to be used by this number of connections.
    pub fn add_new(&self, credential: Credential, times: usize) {
        let credential = Arc::new(credential);
        lock(&self.new).extend(std::iter::repeat_n(credential, times));
    }

    /// Takes the next new credential.
    pub fn take_new(&self) -> Option<Arc<Credential>> {
        lock(&self.new).pop_front()
    }

    /// Adds a credential to the known ones after a login, unless `unless` returns true.
    pub fn keep(
        &self,
        credential: &Arc<Credential>,
        unless: impl FnOnce() -> bool,
        dice: &mut Dice,
    ) {
        // `unless` is evaluated under the lock. A thread that removes credentials records its event
        // before it takes the lock.
        let mut known = lock(&self.known);
        if !unless() && credential.record_success() {
            if known.len() >= MAX_KNOWN {
                let dropped = dice.roll(known.len());
                known.swap_remove(dropped);
            }
            known.push(Arc::clone(credential));
        }
    }

    /// Returns a random known credential.
    pub fn known(&self, dice: &mut Dice) -> Option<Arc<Credential>> {
        let mut known = lock(&self.known);
        known.retain(|one| one.born.elapsed() < MAX_AGE);
        (!known.is_empty()).then(|| Arc::clone(dice.pick(&known)))
    }

    /// Returns all known credentials.
    pub fn all_known(&self) -> Vec<Arc<Credential>> {
        lock(&self.known).clone()
    }

    /// Removes and returns the known credentials for which `which` returns true.
    pub fn take_out(&self, which: impl Fn(&Credential) -> bool) -> Vec<Arc<Credential>> {
        let mut known = lock(&self.known);
        let (out, stay) = known.drain(..).partition(|one: &Arc<_>| which(one));
        *known = stay;
        drop(known);
        out
    }

    /// Drops the new credentials for which `which` returns true.
    pub fn drop_new(&self, which: impl Fn(&Credential) -> bool) {
        lock(&self.new).retain(|one| !which(one));
    }

    /// Adds a bad credential.
    pub fn add_bad(&self, bad: BadCredential, dice: &mut Dice) {
        let mut all = lock(&self.bad);
        if all.len() >= MAX_BAD {
            let dropped = dice.roll(all.len());
            all.swap_remove(dropped);
        }
        all.push(bad);
    }

    /// Returns a random bad credential.
    pub fn bad(&self, dice: &mut Dice) -> Option<BadCredential> {
        let all = lock(&self.bad);
        (!all.is_empty()).then(|| dice.pick(&all).clone())
    }

    /// Returns all bad credentials.
    pub fn all_bad(&self) -> Vec<BadCredential> {
        lock(&self.bad).clone()
    }
}
