//! Parses the options into a validated configuration, or into a list of all faults.
//!
//! A configuration with a fault is rejected as a whole: half a policy could accept what the other
//! half would refuse.

#![forbid(unsafe_code)]

mod cas;
mod jwt;
mod option_table;
mod parser;
mod server_url;

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

pub use cas::CasConfig;
pub(crate) use jwt::media_type;
pub use jwt::{Expected, IssuerConfig, JwtConfig, KeysAt};
pub use option_table::{DefaultValue, OPTIONS, OptionSpec, RENAMED};
pub(crate) use server_url::server_url;

use crate::policy::host_names::HostNamePolicy;
use crate::policy::user_mapping::{Mapping, UserPolicy};
use parser::Reader;
pub use parser::is_on;

/// A source of options: the host's `getopt`, or a file.
pub trait Options {
    /// The value of the option `name` (without `sasl_`), if it is set.
    fn get(&self, name: &str) -> Option<String>;
}

/// The names of all options (without `sasl_`). Options of an issuer have the form that they have if
/// there is only one issuer.
pub fn names() -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().map(|option| option.name)
}

/// Whether `name` (without `sasl_`) is an option, including former names and the options of the
/// issuers in `jwt_issuers`.
pub fn is_option(options: &dyn Options, name: &str) -> bool {
    let is_of = |issuer: &str| {
        let rest = name
            .strip_prefix("jwt_")
            .and_then(|rest| rest.strip_prefix(issuer))
            .and_then(|rest| rest.strip_prefix('_'));
        rest.is_some_and(|rest| option_table::of_issuer().any(|option| option.rest() == Some(rest)))
    };
    let issuers = options.get("jwt_issuers").unwrap_or_default();
    let is_former = RENAMED.iter().any(|(former, _)| *former == name);
    OPTIONS.iter().any(|option| option.name == name)
        || is_former
        || issuers.split_whitespace().any(is_of)
}

/// The problem of one option, with the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The name of the option, without `sasl_`.
    pub option: Cow<'static, str>,
    /// A sentence without a full stop that names the remedy.
    pub problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.option, self.problem)
    }
}

/// A configuration without faults.
#[derive(Clone, Debug)]
pub struct Config {
    /// CAS, if `caspt_url` is set.
    pub cas: Option<CasConfig>,
    /// Access tokens, if `jwt_keys` or `jwt_issuers` is set.
    pub jwt: Option<JwtConfig>,
    /// The session cache.
    pub sessions: SessionsConfig,
    /// The mapping of principals to mail users.
    pub users: UserPolicy,
    /// `sso_plain`: whether the plugin offers PLAIN.
    pub plain: bool,
    /// `sso_fallback_socket`: the saslauthd that checks ordinary passwords for the daemon.
    pub fallback: Option<PathBuf>,
    /// `sso_fallback_user`: the user besides root who may own that socket.
    pub fallback_user: String,
    /// Options that work but should be changed, such as those with a former name.
    pub warnings: Vec<ConfigError>,
}

/// The location and size of the session cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionsConfig {
    /// `sso_state_dir`: the directory that all processes of the host share.
    pub state_dir: PathBuf,
    /// `sso_sessions`: the maximum number of sessions. Beyond it, the least recently used ones are
    /// evicted.
    pub capacity: usize,
}

impl Config {
    /// Reads and checks all options.
    ///
    /// If no mechanism is configured, no other option is checked: every program on the host that
    /// links libsasl2 loads the plugin, most of them without any configuration, and must not see
    /// errors.
    ///
    /// # Errors
    /// All faults.
    pub fn read(options: &dyn Options) -> Result<Self, Vec<ConfigError>> {
        let (config, faults) = Self::examine(options);
        if faults.is_empty() {
            Ok(config)
        } else {
            Err(faults)
        }
    }

    /// Reads all options, and returns the configuration even if it has faults. Only a command that
    /// reports on the configuration may use it.
    pub fn examine(options: &dyn Options) -> (Self, Vec<ConfigError>) {
        let mut reader = Reader::new(options);
        let cas = CasConfig::read(&mut reader);
        let jwt = JwtConfig::read(&mut reader);
        if cas.is_none() && jwt.is_none() {
            let nothing = Self {
                cas,
                jwt,
                sessions: SessionsConfig::default(),
                users: UserPolicy::default(),
                plain: false,
                fallback: None,
                fallback_user: FALLBACK_USER.to_owned(),
                warnings: Vec::new(),
            };
            return (nothing, Vec::new());
        }
        let mut config = Self {
            cas,
            jwt,
            sessions: SessionsConfig::read(&mut reader),
            users: read_user_policy(&mut reader),
            plain: reader.switch("sso_plain"),
            fallback: reader.path("sso_fallback_socket"),
            fallback_user: reader
                .text("sso_fallback_user")
                .unwrap_or_else(|| FALLBACK_USER.to_owned()),
            warnings: Vec::new(),
        };
        let (faults, warnings) = reader.problems();
        config.warnings = warnings;
        (config, faults)
    }
}

/// The default of `sso_fallback_user`.
const FALLBACK_USER: &str = "root";

impl Default for SessionsConfig {
    fn default() -> Self {
        Self {
            state_dir: PathBuf::from("/run/cyrus/sasl-sso"),
            capacity: 100_000,
        }
    }
}

impl SessionsConfig {
    fn read(reader: &mut Reader) -> Self {
        let default = Self::default();
        Self {
            state_dir: reader.path("sso_state_dir").unwrap_or(default.state_dir),
            capacity: reader.number("sso_sessions", default.capacity, 1..=10_000_000),
        }
    }
}

fn read_user_policy(reader: &mut Reader) -> UserPolicy {
    let default = UserPolicy::default();
    let denied_users = reader.words("sso_denied_users");
    UserPolicy {
        mapping: read_mapping(reader),
        denied_users: match denied_users.is_empty() {
            true => default.denied_users,
            false => denied_users,
        },
        host_names: reader.choice("sso_host_names", &HostNamePolicy::ALL),
    }
}

fn read_mapping(reader: &mut Reader) -> Mapping {
    let strip_domains = reader.words("sso_strip_domain");
    let realm = reader.text("sso_realm");
    for domain in &strip_domains {
        check_domain(reader, "sso_strip_domain", domain);
    }
    if let Some(realm) = &realm {
        check_domain(reader, "sso_realm", realm);
    }
    Mapping {
        strip_domains: strip_domains
            .iter()
            .map(|domain| domain.to_ascii_lowercase())
            .collect(),
        realm,
    }
}

fn check_domain(reader: &mut Reader, option: &'static str, text: &str) {
    if text.starts_with('.') || text.contains('@') || text.contains(char::is_whitespace) {
        reader.fault(
            option,
            format!("\"{text}\" is not a domain; write it like univ.fr"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub struct ConfigArgs(pub(crate) Vec<(&'static str, &'static str)>);

    impl Options for ConfigArgs {
        fn get(&self, name: &str) -> Option<String> {
            let is_known = name == "jwt_issuers" || is_option(self, name);
            assert!(is_known, "{name} is missing in OPTIONS");
            let found = self.0.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        }
    }

    pub(crate) fn faults(given: &[(&'static str, &'static str)]) -> Vec<String> {
        match Config::read(&ConfigArgs(given.to_vec())) {
            Ok(_) => Vec::new(),
            Err(faults) => faults
                .into_iter()
                .map(|fault| fault.option.into_owned())
                .collect(),
        }
    }

    pub(crate) const CAS: [(&str, &str); 2] = [
        ("caspt_url", "https://cas.univ.fr/cas"),
        ("caspt_proxies", "https://webmail.univ.fr/*"),
    ];

    #[test]
    fn missing_options_are_no_fault() {
        let given = vec![("sso_sessions", "many"), ("jwt_issuer", "x y")];
        let config = Config::read(&ConfigArgs(given)).unwrap();
        assert!(config.cas.is_none() && config.jwt.is_none());
    }

    #[test]
    fn two_options_are_sufficient_for_cas() {
        let config = Config::read(&ConfigArgs(CAS.to_vec())).unwrap();
        assert!(config.cas.is_some());
        assert_eq!(config.sessions, SessionsConfig::default());
    }

    #[test]
    fn all_faults_are_reported_at_once() {
        assert_eq!(
            faults(&[
                ("caspt_url", "http://cas.univ.fr/"),
                ("caspt_proxies", "*"),
                ("caspt_timeout", "0"),
                ("caspt_allow_direct", "maybe"),
                ("caspt_require", "role="),
                ("sso_sessions", "-1"),
                ("sso_state_dir", "run"),
                ("sso_strip_domain", "univ.fr @old.fr"),
                ("sso_realm", "a b"),
                ("sso_host_names", "other"),
                ("sso_plain", "perhaps"),
                ("sso_fallback_socket", "mux"),
            ]),
            [
                "caspt_url",
                "caspt_allow_direct",
                "caspt_proxies",
                "caspt_timeout",
                "caspt_require",
                "sso_state_dir",
                "sso_sessions",
                "sso_strip_domain",
                "sso_realm",
                "sso_host_names",
                "sso_plain",
                "sso_fallback_socket",
            ]
        );
    }

    /// The row of the reference for an option of the table.
    fn row(option: &OptionSpec) -> String {
        let default = match option.default {
            DefaultValue::Is(value) if value.parse::<u32>().is_err() => format!("`{value}`"),
            DefaultValue::Is(text) | DefaultValue::Means(text) => text.to_owned(),
        };
        let meaning = option.meaning.replace('|', "\\|");
        format!("| `{}` | {default} | {meaning} |", option.name)
    }

    #[test]
    fn reference_and_option_table_agree() {
        let reference = include_str!("../../../../docs/options.md");
        let rows = || reference.lines().filter(|line| line.starts_with("| `"));
        for (found, option) in rows().zip(OPTIONS) {
            assert_eq!(found, row(option));
        }
        assert_eq!(rows().count(), OPTIONS.len());
    }

    #[test]
    fn each_option_is_in_an_example() {
        let examples = [
            include_str!("../../../../cyrus-conf-examples/cas.conf"),
            include_str!("../../../../cyrus-conf-examples/application-key.conf"),
            include_str!("../../../../cyrus-conf-examples/keycloak.conf"),
            include_str!("../../../../cyrus-conf-examples/two-issuers.conf"),
            include_str!("../../../../cyrus-conf-examples/cas-and-jwt.conf"),
            include_str!("../../../../cyrus-conf-examples/passwords.conf"),
        ]
        .concat();
        for OptionSpec { name, .. } in OPTIONS {
            let of_issuer = name.replace("jwt_", "jwt_portal_");
            let is_shown = |name: &str| examples.contains(&format!("sasl_{name}: "));
            assert!(is_shown(name) || is_shown(&of_issuer), "{name}");
        }
    }
}
