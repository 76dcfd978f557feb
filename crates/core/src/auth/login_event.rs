//! The log line of a login: stable fields of the form `key=value`.

#![forbid(unsafe_code)]

use std::fmt::{self, Write};
use std::time::Duration;

use crate::auth::{Authenticator, Source};
use crate::credential::CredentialKind;
use crate::error::{Failure, FailureKind, Reason};
use crate::platform::log::{Level, Log, quoted};
use crate::session_cache::Key;

/// The result of one login, and how it came about.
pub struct LoginEvent<'e> {
    /// The SASL mechanism.
    pub mechanism: &'e str,
    /// The service that a ticket must be issued for.
    pub service: &'e str,
    /// The client's address in the host's notation, if the host reveals it.
    pub client: Option<&'e str>,
    /// The mail user, or why the login failed.
    pub outcome: Result<&'e str, &'e Failure>,
    /// Where the result comes from; `None` for an outage.
    pub source: Option<Source>,
    /// The cache key, whose first digits are the digest in the line.
    pub key: Option<Key>,
    /// The kind of the credential, if there was one.
    pub kind: Option<CredentialKind>,
    /// The time from the client's message to the result.
    pub elapsed: Duration,
}

impl LoginEvent<'_> {
    /// The log level. Refusals are normal; outages are not.
    pub fn level(&self) -> Level {
        match self.outcome.map_err(Failure::kind) {
            Ok(_)
            | Err(FailureKind::Malformed | FailureKind::Refused | FailureKind::NotAllowed) => {
                Level::Notice
            }
            Err(FailureKind::Unavailable) if self.needs_administrator() => Level::Error,
            Err(FailureKind::Unavailable) => Level::Warning,
            Err(FailureKind::Internal) => Level::Error,
        }
    }

    /// Counts the login in the metrics. Whoever writes the line calls this too.
    pub fn count(&self, authenticator: &Authenticator, log: &dyn Log) {
        let failure = self.outcome.err().map(Failure::reason);
        authenticator.count(self.kind, self.source, failure, log);
    }

    /// The line. It is built in one allocation.
    pub fn line(&self) -> String {
        let mut line = String::with_capacity(256);
        // Writing to a String does not fail.
        let _ = write!(line, "{self}");
        line
    }

    /// Whether the outage needs an administrator to end it.
    fn needs_administrator(&self) -> bool {
        let reason = self.outcome.err().map(Failure::reason);
        matches!(
            reason,
            Some(
                Reason::ServerUntrusted
                    | Reason::TrustUnusable
                    | Reason::KeysUnusable
                    | Reason::FallbackUnusable
                    | Reason::ProcessExhausted
            )
        )
    }
}

impl fmt::Display for LoginEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sso: mech={}", self.mechanism)?;
        write!(f, " service={}", quoted(self.service))?;
        match self.outcome {
            Ok(user) => write!(f, " outcome=accepted user={}", quoted(user))?,
            Err(failure) => {
                let (outcome, reason) = (failure.kind().code(), failure.reason().code());
                write!(f, " outcome={outcome} reason={reason}")?;
                write!(f, " detail={}", quoted(failure.detail()))?;
            }
        }
        if let Some(source) = self.source {
            write!(f, " source={}", source.code())?;
        }
        write!(f, " ms={}", self.elapsed.as_millis())?;
        if let Some(key) = &self.key {
            write!(f, " digest={key}")?;
        }
        match self.client {
            Some(client) => write!(f, " client={}", quoted(client)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event<'e>(outcome: Result<&'e str, &'e Failure>) -> LoginEvent<'e> {
        LoginEvent {
            mechanism: "CASPT",
            service: "imap://mail.univ.fr",
            client: Some("192.0.2.1;4711"),
            outcome,
            source: Some(Source::Validated),
            key: Some(Key::of_test(1)),
            kind: Some(CredentialKind::Ticket),
            elapsed: Duration::from_millis(12),
        }
    }

    #[test]
    fn login_is_one_line_of_fields() {
        assert_eq!(
            event(Ok("alice")).to_string(),
            "sso: mech=CASPT service=imap://mail.univ.fr outcome=accepted user=alice \
             source=validated ms=12 digest=000000010000 client=192.0.2.1;4711"
        );
        let failure = Failure::new(Reason::TicketRefused, "CAS says INVALID_TICKET: \"no\"");
        assert_eq!(
            event(Err(&failure)).to_string(),
            "sso: mech=CASPT service=imap://mail.univ.fr outcome=refused reason=ticket_refused \
             detail=\"CAS says INVALID_TICKET: 'no'\" source=validated ms=12 \
             digest=000000010000 client=192.0.2.1;4711"
        );
    }

    #[test]
    fn outage_has_a_higher_level_than_a_refusal() {
        let level = |reason| event(Err(&Failure::new(reason, ""))).level();
        assert_eq!(level(Reason::TicketRefused), Level::Notice);
        assert_eq!(level(Reason::ServerTimeout), Level::Warning);
        assert_eq!(level(Reason::ServerUntrusted), Level::Error);
        assert_eq!(level(Reason::KeysUnusable), Level::Error);
        assert_eq!(level(Reason::InternalError), Level::Error);
    }

    /// The documentation of the log.
    const GUIDE: &str = include_str!("../../../../docs/log.md");

    /// The words in the first column of the table with this head.
    fn documented(head: &str) -> Vec<&'static str> {
        let (_, table) = GUIDE.split_once(head).unwrap();
        let rows = table.lines().skip(1).take_while(|row| row.starts_with('|'));
        rows.map(|row| row.split('`').nth(1).unwrap()).collect()
    }

    /// The names of a line's fields.
    fn fields(line: &str) -> Vec<&str> {
        let words = line.split(' ').skip(1);
        words.map(|word| word.split_once('=').unwrap().0).collect()
    }

    #[test]
    fn fields_and_their_documentation_agree_in_order() {
        let failure = Failure::new(Reason::TicketRefused, "why");
        let accepted = event(Ok("alice")).to_string();
        let refused = event(Err(&failure)).to_string();
        let table = documented("| field | there | meaning |\n");
        for line in [&accepted, &refused] {
            let there = |name: &&str| fields(line).contains(name);
            let in_order: Vec<&str> = table.iter().copied().filter(there).collect();
            assert_eq!(fields(line), in_order);
        }
        let both = [fields(&accepted), fields(&refused)].concat();
        assert!(table.iter().all(|name| both.contains(name)), "{table:?}");
    }

    #[test]
    fn reasons_outcomes_and_their_documentation_agree() {
        let word = |line: &str, name: &str| {
            let value = line.split_once(&format!(" {name}=")).unwrap().1;
            value.split(' ').next().unwrap().to_owned()
        };
        let mut outcomes = vec!["accepted".to_owned()];
        for reason in Reason::ALL {
            let line = event(Err(&Failure::new(*reason, ""))).to_string();
            let outcome = word(&line, "outcome");
            let row = format!("\n| `{}` | `{outcome}` | ", reason.code());
            assert!(GUIDE.contains(&row), "docs/log.md has no row {row}");
            outcomes.push(outcome);
        }
        let reasons = documented("| reason | outcome | what it means | what to do |\n");
        assert_eq!(reasons.len(), Reason::ALL.len(), "{reasons:?}");
        let table = documented("| outcome | level | meaning |\n");
        assert!(outcomes.iter().all(|word| table.contains(&word.as_str())));
        assert!(
            table
                .iter()
                .all(|word| outcomes.iter().any(|known| known == word))
        );
    }
}
