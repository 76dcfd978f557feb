//! Records the events of a run and determines which failed logins they explain.

use super::login::Failure;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use test_support::https_server::lock;

/// A deliberate disruption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// CAS is stopped or hangs, until it validates tickets again.
    CasDown,
    /// The issuer is stopped, until keys are fetched from it again.
    IssuerDown,
    /// The issuer restarts with keys of this generation and also publishes those of the previous
    /// one, until tokens signed with the new keys are accepted.
    Rotation(usize),
    /// master and all its children are stopped, until master listens again.
    CyrusDown,
    /// master reloads its configuration. This explains no failure.
    CyrusHup,
    /// One imapd is killed.
    ImapdKilled,
    /// The daemon is terminated or killed, until it answers again.
    DaemonDown,
    /// Sessions of this user are flushed (`sessions flush --user`).
    Flush(String),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CasDown => "CAS down",
            Self::IssuerDown => "issuer down",
            Self::Rotation(_) => "keys rotated",
            Self::CyrusDown => "Cyrus restarted",
            Self::CyrusHup => "Cyrus reloaded",
            Self::ImapdKilled => "imapd killed",
            Self::DaemonDown => "daemon down",
            Self::Flush(_) => "sessions flushed",
        })
    }
}

/// Time for a killed process to disappear after the end of an event.
const EVENT_SLACK: Duration = Duration::from_secs(1);

struct Outage {
    event: Event,
    begin: Instant,
    /// `None` while the event lasts.
    end: Option<Instant>,
    /// Number of failures that this event explains.
    explained: usize,
}

/// What was presented, which decides how a login may fail.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A ticket that was not known when this login began, and when the first login with it began.
    NewTicket(Instant),
    /// A ticket that has been accepted before.
    KnownTicket,
    /// A token, and the generation of its keys.
    Token(usize),
    /// An ordinary password, right or wrong.
    Password,
    /// A bad ticket. CAS may have to be asked about it.
    BadTicket,
    /// A bad token. The key set may have to be fetched for it.
    BadToken,
}

/// A failed login.
#[derive(Clone, Debug)]
pub struct FailedLogin {
    pub failure: Failure,
    pub subject: Subject,
    pub user: String,
    pub by_daemon: bool,
    pub begin: Instant,
    pub end: Instant,
}

impl Event {
    /// Returns whether this event explains a failure that happened during it.
    fn explains(&self, failed: &FailedLogin) -> bool {
        let FailedLogin {
            failure, subject, ..
        } = failed;
        match self {
            // imapd may still reply while it shuts down.
            Self::CyrusDown => matches!(failure, Failure::Disconnected | Failure::Outage),
            Self::ImapdKilled => *failure == Failure::Disconnected,
            Self::DaemonDown => *failure == Failure::Outage && failed.by_daemon,
            Self::CasDown => {
                let asks = matches!(subject, Subject::NewTicket(_) | Subject::BadTicket);
                *failure == Failure::Outage && asks
            }
            // Tokens of known keys are accepted meanwhile.
            Self::IssuerDown => *failure == Failure::Outage && matches!(subject, Subject::BadToken),
            Self::Rotation(new) => match subject {
                Subject::BadToken => *failure == Failure::Outage,
                Subject::Token(keys) => {
                    *failure != Failure::Disconnected && (keys == new || keys + 2 <= *new)
                }
                _ => false,
            },
            Self::Flush(user) => {
                let ticket = matches!(subject, Subject::NewTicket(_) | Subject::KnownTicket);
                *failure == Failure::Refusal && ticket && *user == failed.user
            }
            Self::CyrusHup => false,
        }
    }

    /// Returns whether this event may interrupt a validation after CAS has consumed the ticket.
    fn may_consume_ticket(&self) -> bool {
        use Event::{CasDown, CyrusDown, DaemonDown, ImapdKilled};
        matches!(self, CasDown | CyrusDown | DaemonDown | ImapdKilled)
    }
}

/// All events of a run.
#[derive(Default)]
pub struct Ledger(Mutex<Vec<Outage>>);

impl Ledger {
    /// Runs `what` and records it as `event`.
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

    /// Returns the event that explains a failure, if there is one.
    pub fn explanation(&self, failed: &FailedLogin) -> Option<Event> {
        let mut outages = lock(&self.0);
        let end = failed.end;
        let during = |outage: &Outage, begin: Instant| {
            let is_over = |end: Instant| end + EVENT_SLACK < begin;
            outage.begin <= end && !outage.end.is_some_and(is_over)
        };
        let is_flush = |outage: &Outage| outage.event == Event::Flush(failed.user.clone());
        let mut failed = failed.clone();
        if matches!(failed.subject, Subject::KnownTicket)
            && outages
                .iter()
                .any(|one| is_flush(one) && during(one, failed.begin))
        {
            // After a flush, CAS must validate the ticket again.
            failed.subject = Subject::NewTicket(failed.begin);
        }
        let explains =
            |outage: &Outage| during(outage, failed.begin) && outage.event.explains(&failed);
        // A killed process interrupts only one connection.
        let is_kill = |outage: &Outage| outage.event == Event::ImapdKilled;
        let find = |which: &dyn Fn(&Outage) -> bool| outages.iter().position(which);
        let found = find(&|outage| explains(outage) && !is_kill(outage))
            .or_else(|| find(&|outage| explains(outage) && outage.explained == 0))
            .or_else(|| match (failed.failure, &failed.subject) {
                // An earlier login with the ticket was interrupted after CAS had consumed the
                // ticket.
                (Failure::Refusal, Subject::NewTicket(first)) => {
                    let consumes =
                        |outage: &Outage| outage.event.may_consume_ticket() || is_flush(outage);
                    find(&|outage| during(outage, *first) && consumes(outage))
                }
                _ => None,
            })?;
        outages[found].explained += 1;
        Some(outages[found].event.clone())
    }

    /// Returns whether sessions of this user were flushed after `begin`.
    pub fn was_flushed(&self, user: &str, begin: Instant) -> bool {
        lock(&self.0).iter().any(|outage| {
            let is_of_user = matches!(&outage.event, Event::Flush(whose) if whose == user);
            is_of_user && outage.end.is_none_or(|end| end >= begin)
        })
    }

    /// Returns how often each event occurred and its total duration.
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

    /// Describes the events during this time and the 30 seconds before it, for an error message.
    pub fn events_between(&self, begin: Instant, end: Instant) -> String {
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
            let over = outage.end.map_or("now".to_owned(), since);
            format!(
                "    {:?} from {} to {over}\n",
                outage.event,
                since(outage.begin)
            )
        })
        .collect()
    }
}
