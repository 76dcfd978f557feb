//! Who may present a user: the policy on the chain of proxies of a ticket.
//!
//! Some CAS servers issue proxy tickets for any target to any portal, so this
//! policy is the only gate between a portal and everybody's mail.

#![forbid(unsafe_code)]

use std::fmt;

use url::Url;

use crate::log::quoted;
use crate::outcome::{Failure, Reason};
use crate::witness::{Checks, Step, Told};

/// `caspt_proxies` and `caspt_allow_direct`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyPolicy {
    patterns: Vec<Pattern>,
    allow_direct: bool,
}

/// A proxy callback URL, or the beginning of one.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Whole(String),
    Beginning(String),
}

impl ProxyPolicy {
    /// Parses patterns, and returns with the policy what is wrong with those
    /// that are refused.
    ///
    /// A pattern must name the whole of a host: `https://mail.univ.fr*` would
    /// let in `https://mail.univ.fr.evil.example/`.
    pub fn parse(patterns: &[String], allow_direct: bool) -> (Self, Vec<String>) {
        let mut problems = Vec::new();
        let mut parsed = Vec::new();
        for text in patterns {
            match Pattern::parse(text) {
                Ok(pattern) => parsed.push(pattern),
                Err(problem) => problems.push(format!("\"{text}\" {problem}")),
            }
        }
        let policy = Self {
            patterns: parsed,
            allow_direct,
        };
        (policy, problems)
    }

    /// Judges a chain of proxies, in the order of the reply (CAS protocol 3.0,
    /// section 2.6.2: the most recent first).
    ///
    /// # Errors
    /// [`Reason::ProxyNotAllowed`] if one of them matches no pattern,
    /// [`Reason::DirectNotAllowed`] if there is none and that is not allowed.
    pub fn judge(&self, chain: &[String], checks: &mut Checks<'_>) -> Result<(), Failure> {
        if chain.is_empty() {
            let allowed = if self.allow_direct {
                Ok(())
            } else {
                let what =
                    "the ticket was not got through a proxy; caspt_allow_direct would allow that";
                Err(Failure::new(Reason::DirectNotAllowed, what))
            };
            checks.check(Step::Proxy, |_| Told::found("none"), allowed)?;
        }
        for proxy in chain {
            let pattern = self.patterns.iter().find(|pattern| pattern.matches(proxy));
            let allowed = match pattern {
                Some(_) => Ok(()),
                None => {
                    let what = format!("proxy {proxy} matches no pattern of caspt_proxies");
                    Err(Failure::new(Reason::ProxyNotAllowed, what))
                }
            };
            let told = |_: Option<&()>| {
                let patterns = self
                    .patterns
                    .iter()
                    .filter(|one| pattern.is_none_or(|p| p == *one));
                let patterns: Vec<String> = patterns.map(Pattern::to_string).collect();
                Told::found(quoted(proxy)).wanted(patterns.join(" "))
            };
            checks.check(Step::Proxy, told, allowed)?;
        }
        Ok(())
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let (beginning, is_whole) = match text.strip_suffix('*') {
            Some(beginning) => (beginning, false),
            None => (text, true),
        };
        if beginning.contains('*') {
            return Err("has a * elsewhere than at its end");
        }
        let url = Url::parse(beginning)
            .map_err(|_| "is not a URL; write https://webmail.univ.fr/cas/proxy or …/*")?;
        if !matches!(url.scheme(), "https" | "http") || !url.has_host() {
            return Err("is not a web URL; write https://webmail.univ.fr/…");
        }
        let after_scheme = beginning.split_once("://").map_or("", |(_, rest)| rest);
        if !is_whole && !after_scheme.contains('/') {
            return Err("has a * in the host's name; put a / behind the host, then the *");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("has a user name before the host");
        }
        Ok(if is_whole {
            Self::Whole(text.to_owned())
        } else {
            Self::Beginning(beginning.to_owned())
        })
    }

    fn matches(&self, proxy: &str) -> bool {
        match self {
            Self::Whole(url) => proxy == url,
            Self::Beginning(beginning) => proxy.starts_with(beginning) && !climbs(proxy),
        }
    }
}

/// As it is written.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(url) => f.write_str(url),
            Self::Beginning(beginning) => write!(f, "{beginning}*"),
        }
    }
}

/// Whether a URL has dot segments (RFC 3986, section 3.3), plain or encoded, by
/// which it leaves the path that it begins with.
fn climbs(url: &str) -> bool {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let mut path = path.to_ascii_lowercase().replace("%2e", ".");
    // What some servers take for a slash, and what some cut off a segment.
    for slash in ["%2f", "%5c", "\\"] {
        path = path.replace(slash, "/");
    }
    path.split('/')
        .filter_map(|segment| segment.split([';', '%']).next())
        .any(|segment| matches!(segment, "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::witness::Witness;

    fn policy(patterns: &[&str], allow_direct: bool) -> ProxyPolicy {
        let patterns: Vec<String> = patterns.iter().map(|p| (*p).to_owned()).collect();
        let (policy, problems) = ProxyPolicy::parse(&patterns, allow_direct);
        assert_eq!(problems, Vec::<String>::new());
        policy
    }

    fn verdict(policy: &ProxyPolicy, chain: &[&str]) -> Option<Reason> {
        let chain: Vec<String> = chain.iter().map(|p| (*p).to_owned()).collect();
        let judged = policy.judge(&chain, &mut Checks::new(Witness::NOBODY));
        judged.err().map(|failure| failure.reason())
    }

    const WEBMAIL: &str = "https://webmail.univ.fr/cas/callback";

    #[test]
    fn without_patterns_everybody_is_refused() {
        let policy = ProxyPolicy::default();
        assert_eq!(verdict(&policy, &[WEBMAIL]), Some(Reason::ProxyNotAllowed));
        assert_eq!(verdict(&policy, &[]), Some(Reason::DirectNotAllowed));
    }

    #[test]
    fn every_proxy_of_the_chain_must_match() {
        let policy = policy(
            &["https://webmail.univ.fr/*", "https://portal.univ.fr/x"],
            false,
        );
        assert_eq!(verdict(&policy, &[WEBMAIL]), None);
        assert_eq!(
            verdict(&policy, &[WEBMAIL, "https://portal.univ.fr/x"]),
            None
        );
        assert_eq!(
            verdict(&policy, &[WEBMAIL, "https://evil.example/"]),
            Some(Reason::ProxyNotAllowed)
        );
        assert_eq!(
            verdict(&policy, &["https://evil.example/", WEBMAIL]),
            Some(Reason::ProxyNotAllowed)
        );
        for climbing in [
            "../x",
            "a/%2E%2e/x",
            "./x",
            "..",
            "..\\x",
            ".%2e?x",
            "..%2fx",
            "%2e%2e%2Fx",
            "x%2f..%2f..%2fx",
            "..%5Cx",
            "..;/x",
            "..;x=1/x",
            "..%3b/x",
        ] {
            let proxy = format!("https://webmail.univ.fr/{climbing}");
            assert_eq!(verdict(&policy, &[&proxy]), Some(Reason::ProxyNotAllowed));
        }
        assert_eq!(
            verdict(&policy, &["https://webmail.univ.fr/a..b?../c"]),
            None
        );
        assert_eq!(
            verdict(&policy, &["https://portal.univ.fr/xy"]),
            Some(Reason::ProxyNotAllowed)
        );
    }

    #[test]
    fn a_direct_ticket_needs_its_own_permission_and_gives_no_other() {
        let policy = policy(&[], true);
        assert_eq!(verdict(&policy, &[]), None);
        assert_eq!(verdict(&policy, &[WEBMAIL]), Some(Reason::ProxyNotAllowed));
    }

    #[test]
    fn a_pattern_that_would_let_in_another_host_is_refused() {
        for text in [
            "*",
            "https://*",
            "https://webmail.univ.fr*",
            "https://*.univ.fr/",
            "https://webmail.univ.fr/*/x",
            "https://me@webmail.univ.fr/*",
            "imap://mail.univ.fr/",
            "webmail.univ.fr",
        ] {
            let (_, problems) = ProxyPolicy::parse(&[text.to_owned()], false);
            assert_eq!(problems.len(), 1, "{text}");
        }
    }
}
