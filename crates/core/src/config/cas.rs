//! The options of CAS, `caspt_…`.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::parser::Reader;
use super::server_url::base_url;
use crate::policy::attribute_rules::Rules;
use crate::policy::cas_proxies::ProxyPolicy;
use crate::policy::cas_service::ServiceName;

/// The configuration for tickets.
#[derive(Clone, Debug)]
pub struct CasConfig {
    /// `caspt_url`: base URLs of the CAS server, in order of preference.
    pub urls: Vec<Url>,
    /// `caspt_service`: the service that a ticket must be issued for.
    pub service: ServiceName,
    /// `caspt_proxies` and `caspt_allow_direct`: which proxies may present a user.
    pub proxies: ProxyPolicy,
    /// `caspt_ca_file`: the trusted CAs, if not the system's.
    pub ca_file: Option<PathBuf>,
    /// `caspt_timeout`: the maximum duration of a validation, from the client's message on.
    pub timeout: Duration,
    /// `caspt_user_attribute`: the attribute with the user name, if not `cas:user`.
    pub user_attribute: Option<String>,
    /// `caspt_require`: conditions on the attributes.
    pub require: Rules,
    /// `caspt_list_attributes`: the attributes whose values `[a, b]` are lists.
    pub list_attributes: Vec<String>,
    /// The rate limit (`caspt_rate_limit`): how many tickets of one name CAS may refuse in a
    /// minute.
    pub rate_limit: u64,
    /// `caspt_session_ttl`: the TTL of a ticket's session.
    pub session_ttl: Duration,
    /// `caspt_session_idle`: the idle time-out of a ticket's session.
    pub session_idle: Duration,
}

impl CasConfig {
    /// Reads the options, or returns `None` if no server is configured.
    pub(crate) fn read(reader: &mut Reader) -> Option<Self> {
        const MONTH: usize = 31 * 24 * 3600;
        reader.text("caspt_url")?;
        Some(Self {
            urls: read_urls(reader),
            service: read_service(reader),
            proxies: read_proxies(reader),
            ca_file: reader.path("caspt_ca_file"),
            timeout: reader.seconds("caspt_timeout", 5, 1..=60),
            user_attribute: reader.text("caspt_user_attribute"),
            require: reader.rules("caspt_require"),
            list_attributes: reader.words("caspt_list_attributes"),
            rate_limit: {
                let name = reader.current_or_former("caspt_rate_limit");
                reader.number(name, 3_000, 1..=60_000) as u64
            },
            session_ttl: reader.seconds("caspt_session_ttl", 28_800, 1..=MONTH),
            session_idle: reader.seconds("caspt_session_idle", 3_600, 1..=MONTH),
        })
    }

    /// A text of everything but the ticket and the service that a validation depends on. A session
    /// is valid only under the policy that it was opened with.
    pub fn policy(&self) -> String {
        let urls: Vec<&str> = self.urls.iter().map(Url::as_str).collect();
        let mut policy = format!(
            "{urls:?} {:?} {:?} {:?}",
            self.proxies, self.user_attribute, self.require
        );
        // This ends sessions from versions whose rules compared single words of a value.
        if !self.require.conditions().is_empty() {
            policy += &format!(" whole values, lists {:?}", self.list_attributes);
        }
        policy
    }
}

fn read_urls(reader: &mut Reader) -> Vec<Url> {
    let mut urls = Vec::new();
    for word in reader.words("caspt_url") {
        match base_url(&word) {
            Ok(url) => urls.push(url),
            Err(problem) => reader.fault("caspt_url", format!("\"{word}\" {problem}")),
        }
    }
    urls
}

fn read_service(reader: &mut Reader) -> ServiceName {
    let Some(text) = reader.text("caspt_service") else {
        return ServiceName::default();
    };
    ServiceName::parse(&text).unwrap_or_else(|problem| {
        reader.fault("caspt_service", problem);
        ServiceName::default()
    })
}

fn read_proxies(reader: &mut Reader) -> ProxyPolicy {
    let patterns = reader.words("caspt_proxies");
    let allow_direct = reader.switch("caspt_allow_direct");
    let (policy, problems) = ProxyPolicy::parse(&patterns, allow_direct);
    for problem in problems {
        reader.fault("caspt_proxies", problem);
    }
    policy
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::tests::{CAS, ConfigArgs, faults};

    fn with(option: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
        let mut given = CAS.to_vec();
        given.retain(|(name, _)| *name != option);
        given.push((option, value));
        given
    }

    fn cas(option: &'static str, value: &'static str) -> CasConfig {
        Config::read(&ConfigArgs(with(option, value)))
            .unwrap()
            .cas
            .unwrap()
    }

    #[test]
    fn http_is_accepted_for_loopback_only() {
        for url in [
            "http://localhost:8080/cas",
            "http://127.0.0.9/",
            "http://[::1]/",
        ] {
            assert!(faults(&with("caspt_url", url)).is_empty(), "{url}");
        }
        for url in [
            "http://cas.univ.fr/",
            "http://localhost.evil.example/",
            "http://128.0.0.1/",
            "ftp://localhost/",
            "cas.univ.fr",
            "https://user:pw@cas.univ.fr/",
            "https://cas.univ.fr/?a=b",
        ] {
            assert_eq!(faults(&with("caspt_url", url)), ["caspt_url"], "{url}");
        }
    }

    #[test]
    fn servers_keep_their_order() {
        let cas = cas("caspt_url", "https://a.univ.fr/cas/ https://b.univ.fr");
        let urls: Vec<&str> = cas.urls.iter().map(Url::as_str).collect();
        assert_eq!(urls, ["https://a.univ.fr/cas", "https://b.univ.fr/"]);
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let cas = cas("caspt_allow_direct", "no");
        assert_eq!(cas.timeout, Duration::from_secs(5));
        assert_eq!(cas.session_ttl, Duration::from_secs(28_800));
        assert_eq!(cas.session_idle, Duration::from_secs(3_600));
        assert_eq!(
            cas.service.name("imap", "mail.univ.fr"),
            "imap://mail.univ.fr"
        );
    }

    #[test]
    fn each_option_changes_the_policy() {
        let policy = |option, value| cas(option, value).policy();
        let usual = policy("caspt_timeout", "5");
        assert_eq!(usual, policy("caspt_timeout", "6"));
        for (option, value) in [
            ("caspt_url", "https://other.univ.fr/cas"),
            ("caspt_proxies", "https://other.univ.fr/*"),
            ("caspt_allow_direct", "yes"),
            ("caspt_user_attribute", "uid"),
            ("caspt_require", "role=mail"),
        ] {
            assert_ne!(usual, policy(option, value), "{option}");
        }
        let with_lists = |lists| {
            let mut given = with("caspt_require", "role=mail");
            given.push(("caspt_list_attributes", lists));
            Config::read(&ConfigArgs(given))
                .unwrap()
                .cas
                .unwrap()
                .policy()
        };
        assert_ne!(with_lists("role"), with_lists("roles"));
    }
}
