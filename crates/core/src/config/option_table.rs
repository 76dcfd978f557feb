//! The table of all options: their names, defaults and meanings. The parser reads options by it,
//! and the manual page and the reference are compared with it.

#![forbid(unsafe_code)]

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// The name without `sasl_`. For an issuer's option, the name that it has if there is only one
    /// issuer.
    pub name: &'static str,
    /// The value if the option is not set.
    pub default: DefaultValue,
    /// The meaning, as a phrase. Text that is written literally in the file is in backquotes.
    pub meaning: &'static str,
    /// Whether each issuer has this option: with several issuers, issuer `x` has `jwt_x_keys` for
    /// `jwt_keys`.
    pub of_issuer: bool,
}

/// The value of an option that is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultValue {
    /// A value that could also be set.
    Is(&'static str),
    /// A behaviour that no value expresses, in words.
    Means(&'static str),
}

use DefaultValue::{Is, Means};

/// Options that were renamed: the former name, which this release still reads, and the current one.
pub const RENAMED: [(&str, &str); 1] = [("caspt_budget", "caspt_rate_limit")];

/// All options, in the order of the reference.
pub const OPTIONS: &[OptionSpec] = &[
    of_all(
        "caspt_url",
        Means("none: CASPT is off"),
        "base URLs of the CAS server, in order of preference; https, or http on loopback",
    ),
    of_all(
        "caspt_service",
        Is("{service}://{host}"),
        "the service that tickets must be issued for",
    ),
    of_all(
        "caspt_proxies",
        Means("none: all are refused"),
        "callback URLs of those who may present users; `*` at the end matches the rest",
    ),
    of_all(
        "caspt_allow_direct",
        Is("no"),
        "take tickets that came through no proxy",
    ),
    of_all(
        "caspt_ca_file",
        Means("the system's"),
        "PEM file of the CAs trusted for CAS",
    ),
    of_all(
        "caspt_timeout",
        Is("5"),
        "seconds for a whole validation, waiting for others included (1 to 60)",
    ),
    of_all(
        "caspt_rate_limit",
        Is("3000"),
        "how many tickets of one name at one client address CAS may refuse in a minute until new \
         ones are not put to it, by CASPT and as passwords apart; of one address four times as \
         many, of all twenty times; what is known is never counted, and what CAS accepts makes up \
         for it (1 to 60000)",
    ),
    of_all(
        "caspt_user_attribute",
        Means("none: `cas:user`"),
        "attribute that names the mail user",
    ),
    of_all(
        "caspt_require",
        Means("none"),
        "conditions on the attributes: `role=mail unit=it|physics`; a value counts as a whole, and \
         one with a blank in it stands in double quotes",
    ),
    of_all(
        "caspt_list_attributes",
        Means("none"),
        "attributes whose value `[a, b]` is a list of values to `caspt_require`",
    ),
    of_all(
        "caspt_session_ttl",
        Is("28800"),
        "seconds that a ticket stays good here (1 to 2678400)",
    ),
    of_all(
        "caspt_session_idle",
        Is("3600"),
        "seconds that it stays good without being used (1 to 2678400)",
    ),
    of_each(
        "jwt_keys",
        Means("none: tokens are off"),
        "where the issuer's keys are: a PEM file, a directory of them, a JWK set, all by path; the \
         https URL of a JWK set; or `discovery`",
    ),
    of_each(
        "jwt_issuer",
        Means("none: must be set"),
        "the `iss` of its tokens, to the letter; `*` for tokens that may have none",
    ),
    of_each(
        "jwt_audience",
        Means("none: must be set"),
        "the `aud` values of which a token must have one; `*` for any or none",
    ),
    of_each(
        "jwt_algorithms",
        Means("all that the keys allow"),
        "`RS256` `RS384` `RS512` `PS256` `PS384` `PS512` `ES256` `ES384` `ES512` `EdDSA` `HS256` \
         `HS384` `HS512`",
    ),
    of_each(
        "jwt_types",
        Is("JWT at+jwt"),
        "the `typ` values taken; a token without one counts as JWT",
    ),
    of_each(
        "jwt_user_claim",
        Is("sub"),
        "the claim that names the mail user; a dot descends",
    ),
    of_each(
        "jwt_require",
        Means("none"),
        "conditions on the claims: `scope=imap realm_access.roles=staff|student`; a value counts as \
         a whole, only `scope` and `scp` by their words, and one with a blank in it stands in \
         double quotes",
    ),
    of_each(
        "jwt_max_age",
        Is("0"),
        "seconds since `iat`, 0 for any; a token without `exp` is taken only if this bounds it \
         (0 to 31622400)",
    ),
    of_each(
        "jwt_leeway",
        Is("30"),
        "seconds that clocks may differ (0 to 300)",
    ),
    of_each(
        "jwt_allow_clients",
        Is("no"),
        "take tokens that a client got for itself",
    ),
    of_each(
        "jwt_ca_file",
        Means("the system's"),
        "PEM file of the CAs trusted for fetching keys",
    ),
    of_each(
        "jwt_timeout",
        Is("5"),
        "seconds for a whole validation, fetching keys included (1 to 60)",
    ),
    of_each(
        "jwt_keys_refresh",
        Is("300"),
        "seconds after which keys are fetched, and known tokens validated, again (1 to 2678400)",
    ),
    of_each(
        "jwt_keys_keep",
        Is("86400"),
        "seconds that the last keys serve beyond that while the issuer does not answer (0 to \
         2678400)",
    ),
    of_all(
        "jwt_issuers",
        Means("none"),
        "names of several issuers; the options of issuer `x` are `jwt_x_keys`, `jwt_x_issuer` and \
         so on, and those above are not set",
    ),
    of_all(
        "sso_plain",
        Is("no"),
        "offer PLAIN in the process, where a ticket or a token may be the password; ordinary ones \
         go on as before",
    ),
    of_all(
        "sso_fallback_socket",
        Means("none: they are refused"),
        "socket of the saslauthd that checks ordinary passwords for `sasl-sso serve`",
    ),
    of_all(
        "sso_fallback_user",
        Is("root"),
        "user as whom that saslauthd runs, if not root: nobody else gets passwords",
    ),
    of_all(
        "sso_strip_domain",
        Means("none"),
        "domains that are removed from user names: `univ.fr` from `alice@univ.fr`, `UNIV` from \
         `UNIV\\alice`",
    ),
    of_all(
        "sso_realm",
        Means("none"),
        "realm that is added to user names without one",
    ),
    of_all(
        "sso_denied_users",
        Is("cyrus"),
        "mail users that nobody becomes through single sign-on: list all `admins`, `proxyservers` \
         and `lmtp_admins`",
    ),
    of_all(
        "sso_host_names",
        Is("same"),
        "which changes that the mail server makes to a user name are accepted: `same` for lower \
         case and the loss of the default domain, `domain` also for a domain that it adds, `any` \
         for every other name (`pts_module: ldap`)",
    ),
    of_all(
        "sso_state_dir",
        Is("/run/cyrus/sasl-sso"),
        "where the processes of the host share sessions",
    ),
    of_all(
        "sso_sessions",
        Is("100000"),
        "how many of tickets, and how many of tokens, they keep; the least recently used go first \
         (1 to 10000000)",
    ),
];

const fn of_all(name: &'static str, default: DefaultValue, meaning: &'static str) -> OptionSpec {
    OptionSpec {
        name,
        default,
        meaning,
        of_issuer: false,
    }
}

const fn of_each(name: &'static str, default: DefaultValue, meaning: &'static str) -> OptionSpec {
    OptionSpec {
        name,
        default,
        meaning,
        of_issuer: true,
    }
}

/// The options that each issuer has.
pub(crate) fn of_issuer() -> impl Iterator<Item = &'static OptionSpec> {
    OPTIONS.iter().filter(|option| option.of_issuer)
}

impl OptionSpec {
    /// The part of the name after `jwt_` or the issuer's name, if each issuer has the option.
    pub fn rest(&self) -> Option<&'static str> {
        self.name.strip_prefix("jwt_").filter(|_| self.of_issuer)
    }
}

#[cfg(test)]
#[path = "option_table_tests.rs"]
mod tests;
