//! What was being played when, and which failed logins that explains.

use super::login::Loss;
use crate::harness::https_server::lock;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What happens on purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// CAS is stopped, or accepts connections and says nothing; until a new ticket is judged again.
    CasDown,
    /// The issuer is stopped; until an unknown key is looked for again.
    IssuerDown,
    /// It starts again with the keys of this generation, those of the last one beside them; until a
    /// token of the new keys is taken.
    Rotation(usize),
    /// master and all its children are stopped; until master listens again.
    CyrusDown,
    /// master is told to read its configuration again. It explains nothing.
    CyrusHup,
    /// One imapd is killed.
    ImapdKilled,
    /// The daemon is told to end, or killed; until it answers again.
    DaemonDown,
    /// `sessions flush --user`.
    Flush(String),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CasDown => "CAS down",
            Self::IssuerDown => "issuer down",
            Self::Rotation(_) => "keys rotated",
            Self::CyrusDown => "Cyrus restarted",
            Self::CyrusHup => "Cyrus told to reload",
            Self::ImapdKilled => "imapd killed",
            Self::DaemonDown => "daemon down",
            Self::Flush(_) => "sessions flushed",
        })
    }
}

/// A process that is killed is gone a moment later.
const SLACK: Duration = Duration::from_secs(1);

struct Outage {
    event: Event,
    begin: Instant,
    /// None while it goes on.
    end: Option<Instant>,
    /// How many failures it was the explanation of.
    explained: usize,
}

/// What decides whether a login may fail, and how.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A ticket that was not known when the login began, and when the first login with it did.
    NewTicket(Instant),
    /// A ticket that opened the door before.
    KnownTicket,
    /// A token, and the generation of its keys.
    Token(usize),
    /// An ordinary password, right or wrong.
    Password,
    /// What is no good ticket: CAS may have to be asked about it.
    WrongTicket,
    /// What is no good token: the issuer may have to be asked about its key.
    WrongToken,
}

/// A login that failed.
#[derive(Clone, Debug)]
pub struct Failed {
    pub loss: Loss,
    pub subject: Subject,
    pub user: String,
    pub by_daemon: bool,
    pub begin: Instant,
    pub end: Instant,
}

impl Event {
    /// Whether a login of that time may fail so because of this.
    fn explains(&self, failed: &Failed) -> bool {
        let Failed { loss, subject, .. } = failed;
        match self {
            // imapd may still have the time to say so.
            Self::CyrusDown => matches!(loss, Loss::Cut | Loss::Outage),
            Self::ImapdKilled => *loss == Loss::Cut,
            Self::DaemonDown => *loss == Loss::Outage && failed.by_daemon,
            Self::CasDown => {
                let asks = matches!(subject, Subject::NewTicket(_) | Subject::WrongTicket);
                *loss == Loss::Outage && asks
            }
            // The last keys serve.
            Self::IssuerDown => *loss == Loss::Outage && matches!(subject, Subject::WrongToken),
            Self::Rotation(new) => match subject {
                Subject::WrongToken => *loss == Loss::Outage,
                Subject::Token(keys) => *loss != Loss::Cut && (keys == new || keys + 2 <= *new),
                _ => false,
            },
            Self::Flush(user) => {
                let ticket = matches!(subject, Subject::NewTicket(_) | Subject::KnownTicket);
                *loss == Loss::Refusal && ticket && *user == failed.user
            }
            Self::CyrusHup => false,
        }
    }

    /// Whether it may cut off a validation whose ticket CAS has spent by then.
    fn may_spend_a_ticket(&self) -> bool {
        use Event::{CasDown, CyrusDown, DaemonDown, ImapdKilled};
        matches!(self, CasDown | CyrusDown | DaemonDown | ImapdKilled)
    }
}

/// All outages of a run.
#[derive(Default)]
pub struct Ledger(Mutex<Vec<Outage>>);

impl Ledger {
    /// Does what `event` is; it is over with the end of `what`.
    pub fn play<T>(&self, event: Event, what: impl FnOnce() -> T) -> T {
        let number = {
            let mut outages = lock(&self.0);
            outages.push(Outage {
                event,
                begin: Instant::now(),
                end: None,
                explained: 0,
            });
            outages.len() - 1
        };
        let done = what();
        lock(&self.0)[number].end = Some(Instant::now());
        done
    }

    /// The outage that explains a failure.
    pub fn explanation(&self, failed: &Failed) -> Option<Event> {
        let mut outages = lock(&self.0);
        let end = failed.end;
        let during = |outage: &Outage, begin: Instant| {
            let is_over = |end: Instant| end + SLACK < begin;
            outage.begin <= end && !outage.end.is_some_and(is_over)
        };
        let is_flush = |outage: &Outage| outage.event == Event::Flush(failed.user.clone());
        let mut failed = failed.clone();
        if matches!(failed.subject, Subject::KnownTicket)
            && outages
                .iter()
                .any(|one| is_flush(one) && during(one, failed.begin))
        {
            // CAS is asked about it again.
            failed.subject = Subject::NewTicket(failed.begin);
        }
        let explains =
            |outage: &Outage| during(outage, failed.begin) && outage.event.explains(&failed);
        // A process has one connection.
        let is_kill = |outage: &Outage| outage.event == Event::ImapdKilled;
        let find = |which: &dyn Fn(&Outage) -> bool| outages.iter().position(which);
        let found = find(&|outage| explains(outage) && !is_kill(outage))
            .or_else(|| find(&|outage| explains(outage) && outage.explained == 0))
            .or_else(|| match (failed.loss, &failed.subject) {
                // Another login with it had begun before, and it was spent by that.
                (Loss::Refusal, Subject::NewTicket(first)) => {
                    let spends =
                        |outage: &Outage| outage.event.may_spend_a_ticket() || is_flush(outage);
                    find(&|outage| during(outage, *first) && spends(outage))
                }
                _ => None,
            })?;
        outages[found].explained += 1;
        Some(outages[found].event.clone())
    }

    /// Whether sessions of this user were flushed at some time since `begin`.
    pub fn was_flushed(&self, user: &str, begin: Instant) -> bool {
        lock(&self.0).iter().any(|outage| {
            let is_theirs = matches!(&outage.event, Event::Flush(whose) if whose == user);
            is_theirs && outage.end.is_none_or(|end| end >= begin)
        })
    }

    /// How often each event was played, and how long it lasted altogether.
    pub fn summary(&self) -> BTreeMap<String, (usize, Duration)> {
        let mut summary = BTreeMap::new();
        for outage in lock(&self.0).iter() {
            let entry: &mut (usize, Duration) =
                summary.entry(outage.event.to_string()).or_default();
            entry.0 += 1;
            entry.1 += outage.end.unwrap_or_else(Instant::now) - outage.begin;
        }
        summary
    }

    /// What was going on, or had just ended, for who looks for the cause of something.
    pub fn around(&self, begin: Instant, end: Instant) -> String {
        let near = Duration::from_secs(30);
        let outages = lock(&self.0);
        let then = outages.iter().filter(|outage| {
            outage.begin <= end && outage.end.is_none_or(|over| over + near >= begin)
        });
        then.map(|outage| {
            let since = |at: Instant| match begin.checked_duration_since(at) {
                Some(before) => format!("-{before:.2?}"),
                None => format!("+{:.2?}", at - begin),
            };
            let over = outage.end.map_or("on".to_owned(), since);
            format!(
                "    {:?} from {} to {over}\n",
                outage.event,
                since(outage.begin)
            )
        })
        .collect()
    }
}
