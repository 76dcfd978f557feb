//! The mechanisms that a service offers: a line for people, and JSON.

#![forbid(unsafe_code)]

use std::fmt;
use std::path::PathBuf;

use serde_json::{Value, json};

/// The mechanisms that one service offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) file: PathBuf,
    /// `None` stands for services without options of their own.
    pub(crate) service: Option<String>,
    /// Empty with [`Offered::No`].
    pub(crate) mechanisms: Vec<&'static str>,
    pub(crate) offered: Offered,
    /// The service that tickets must be issued for, if tickets are accepted.
    pub(crate) tickets_for: Option<String>,
}

/// Whether the mechanisms are offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    Yes,
    /// The host application starts and the plugin offers the mechanisms, but there are faults.
    WithFaults,
    /// No mechanism is offered, for this reason.
    No(String),
}

impl Offer {
    pub(crate) fn json(&self) -> Value {
        json!({
            "file": self.file.to_string_lossy(),
            "service": self.service,
            "mechanisms": self.mechanisms,
            "tickets_for": self.tickets_for,
        })
    }
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (names, is_one) = match &self.mechanisms[..] {
            [] => (String::new(), true),
            [only] => ((*only).to_owned(), true),
            [all @ .., last] => (format!("{} and {last}", all.join(", ")), false),
        };
        match &self.offered {
            Offered::Yes if is_one => write!(f, "{names} is offered")?,
            Offered::Yes => write!(f, "{names} are offered")?,
            Offered::WithFaults => write!(f, "{names} would be offered, but there are faults")?,
            Offered::No(reason) => write!(f, "nothing is offered{reason}")?,
        }
        match &self.tickets_for {
            Some(service) => write!(f, "; tickets must be for {service}"),
            None => Ok(()),
        }
    }
}

/// Lines for people: services of a file with the same offer share a line. A line that applies to
/// all services names none.
pub(crate) fn lines(offers: &[Offer]) -> Vec<String> {
    let mut groups: Vec<(&Offer, Vec<&str>)> = Vec::new();
    for offer in offers {
        let is_same = |other: &Offer| {
            other.file == offer.file
                && other.mechanisms == offer.mechanisms
                && other.offered == offer.offered
                && other.tickets_for == offer.tickets_for
        };
        let service = offer.service.as_deref();
        match groups.iter_mut().find(|(first, _)| is_same(first)) {
            Some((first, _)) if first.service.is_none() => {}
            Some((_, services)) => services.extend(service),
            None => groups.push((offer, service.into_iter().collect())),
        }
    }
    let line = |(offer, services): &(&Offer, Vec<&str>)| match services.is_empty() {
        true => format!("{}: {offer}", offer.file.display()),
        false => format!(
            "{} for {}: {offer}",
            offer.file.display(),
            services.join(", ")
        ),
    };
    groups.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(service: Option<&str>, mechanisms: &[&'static str], tickets_for: &str) -> Offer {
        Offer {
            file: PathBuf::from("imapd.conf"),
            service: service.map(str::to_owned),
            mechanisms: mechanisms.to_vec(),
            offered: match mechanisms.is_empty() {
                true => Offered::No(": no list has any".to_owned()),
                false => Offered::Yes,
            },
            tickets_for: (!tickets_for.is_empty()).then(|| tickets_for.to_owned()),
        }
    }

    #[test]
    fn services_with_the_same_offer_share_a_line() {
        let offers = [
            offer(Some("imap"), &["CASPT"], "imap://m"),
            offer(Some("imaps"), &["CASPT"], "imap://m"),
            offer(Some("pop3"), &["CASPT", "PLAIN"], "pop://m"),
            offer(Some("sieve"), &[], ""),
        ];
        assert_eq!(
            lines(&offers),
            [
                "imapd.conf for imap, imaps: CASPT is offered; tickets must be for imap://m",
                "imapd.conf for pop3: CASPT and PLAIN are offered; tickets must be for pop://m",
                "imapd.conf for sieve: nothing is offered: no list has any",
            ]
        );
        let offers = [
            offer(None, &["XOAUTH2"], ""),
            offer(Some("pop3"), &["XOAUTH2"], ""),
        ];
        assert_eq!(lines(&offers), ["imapd.conf: XOAUTH2 is offered"]);
    }
}
