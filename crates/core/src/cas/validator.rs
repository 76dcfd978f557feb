//! The way of a ticket through its validation.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::time::Instant;

use url::Url;

use super::probe;
use super::response::{self, Success};
use crate::config::CasConfig;
use crate::credential::Ticket;
use crate::error::{Failure, Reason};
use crate::net::http_client::{Client, Error, Response};
use crate::platform::deadline::Deadline;
use crate::platform::log::{listed, quoted};
use crate::policy::attribute_rules::{Condition, values_of};
use crate::principal::Principal;
use crate::trace::{Check, CheckObserver, Checks, Comparison, Describe, Step};

/// The endpoints that validate proxy tickets: with attributes (CAS protocol 3.0, section 2.8),
/// and for servers without that one (section 2.6).
pub(super) const PATHS: [&str; 2] = ["/p3/proxyValidate", "/proxyValidate"];

/// The maximum length of a reply, in bytes.
pub(super) const MAX_REPLY_BYTES: usize = 64 * 1024;

/// The maximum number of attributes that are described.
const MAX_DESCRIBED_ATTRIBUTES: usize = 40;

/// Validates tickets by asking CAS servers.
#[derive(Debug)]
pub struct CasValidator {
    config: CasConfig,
    pub(super) http: Client,
}

impl CasValidator {
    /// Creates a validator. Nothing is opened or read until the first ticket.
    pub fn new(config: CasConfig) -> Self {
        let http = Client::new(
            config.ca_file.clone(),
            config.timeout / u32::try_from(config.urls.len()).unwrap_or(1).max(1),
        );
        Self { config, http }
    }

    /// The configuration.
    pub fn config(&self) -> &CasConfig {
        &self.config
    }

    /// Asks CAS whether `ticket` was issued for `service`, and validates the reply. The request
    /// consumes the ticket, whatever the reply is.
    ///
    /// # Errors
    /// Why the ticket is invalid or not allowed, or why that could not be found out.
    pub fn validate(
        &self,
        ticket: &Ticket,
        service: &str,
        deadline: &Deadline<'_>,
        observer: CheckObserver<'_>,
    ) -> Result<Principal, Failure> {
        self.request(ticket, service, deadline, observer)
            .and_then(|response| self.validate_reply(&response.body, Checks::new(observer)))
            .map_err(|failure| {
                // CAS quotes tickets in its messages.
                Failure::new(failure.reason(), ticket.masked_in(failure.detail()))
            })
    }

    /// Asks CAS about a ticket that nobody issued, as [`CasValidator::validate`] would.
    ///
    /// # Errors
    /// That CAS refuses the ticket, or why it does not answer.
    pub fn try_out(&self, service: &str, deadline: &Deadline<'_>) -> Result<Principal, Failure> {
        let ticket = probe::impossible_ticket("does-CAS-answer-again")?;
        self.validate(&ticket, service, deadline, CheckObserver::NONE)
    }

    /// Requests the validation of a ticket from the first server that can be reached. The next
    /// server is asked only if nothing was written to the one before: a ticket that one server has
    /// read is consumed on all of them.
    fn request(
        &self,
        ticket: &Ticket,
        service: &str,
        deadline: &Deadline<'_>,
        observer: CheckObserver<'_>,
    ) -> Result<Response, Failure> {
        let mut failure = Failure::new(Reason::ServerUnreachable, "no server to ask");
        for base in &self.config.urls {
            match self.request_from(base, ticket, service, deadline, observer) {
                Ok(response) if response.status == 200 => return Ok(response),
                Ok(response) => {
                    let what = format!("{base} answers with HTTP status {}", response.status);
                    failure = Failure::new(Reason::ReplyUnusable, what);
                    break;
                }
                Err(error) => {
                    failure = error.failure;
                    if !error.nothing_written {
                        break;
                    }
                }
            }
        }
        observer.observe(Check::new(Step::Request, Err(failure), Comparison::default))
    }

    /// Requests the validation from one server; at the older endpoint if the server does not
    /// have the newer one.
    fn request_from(
        &self,
        base: &Url,
        ticket: &Ticket,
        service: &str,
        deadline: &Deadline<'_>,
        observer: CheckObserver<'_>,
    ) -> Result<Response, Error> {
        let get = |path| {
            let start = Instant::now();
            let url = request_url(base, path, ticket.expose(), service);
            let answer = self.http.get(url, MAX_REPLY_BYTES, deadline);
            observer.note(Step::Request, || {
                let result = match &answer {
                    Ok(Response { status, body, .. }) => {
                        format!("HTTP status {status}, {} bytes", body.len())
                    }
                    Err(error) => error.failure.to_string(),
                };
                let url = request_url(base, path, ticket.shown(), service);
                Comparison::actual(format!(
                    "{result}, after {} ms",
                    start.elapsed().as_millis()
                ))
                .expected(format!("GET {url}…"))
            });
            answer
        };
        let [newer, older] = PATHS;
        let response = get(newer)?;
        if response.status != 404 {
            return Ok(response);
        }
        get(older)
    }

    /// Validates a reply: whose ticket it was, through which proxies it came, and whether the
    /// user meets the rules.
    ///
    /// # Errors
    /// Why the reply is no success, or the user is not allowed.
    pub(crate) fn validate_reply(
        &self,
        body: &[u8],
        mut checks: Checks<'_>,
    ) -> Result<Principal, Failure> {
        let success = checks.require(check_success(body))?;
        self.config.proxies.check(&success.proxies, &mut checks)?;
        let values = |name: &str| self.rule_values(&success, name);
        self.config
            .require
            .check(&mut checks, values, rule_not_met)?;
        let attribute = self.config.user_attribute.as_deref();
        let user = checks.require(check_user(&success, attribute))?;
        let principal = checks.require(check_principal(user))?;
        checks.finish()?;
        Ok(principal)
    }

    /// The values of an attribute that a rule compares.
    fn rule_values<'s>(&self, success: &'s Success, name: &str) -> Vec<Cow<'s, str>> {
        let is_list = self.config.list_attributes.iter().any(|list| list == name);
        let values = success.values(name);
        match success.only_value(name) {
            _ if is_list => values.flat_map(list_items).map(Cow::Borrowed).collect(),
            Ok(single) => values_of(name, single),
            Err(_) => values.map(Cow::Borrowed).collect(),
        }
    }
}

/// Requires a reply that is an authentication success (CAS protocol 3.0, section 2.5.2).
fn check_success(body: &[u8]) -> Check<Success, impl Describe> {
    Check::new(Step::Reply, response::read(body), || {
        let Ok(success) = response::read(body) else {
            return Comparison::default();
        };
        let attributes = success.pairs().map(|(name, value)| {
            let value = value.map_or("(no text)".into(), quoted);
            format!(" {}={value}", quoted(name))
        });
        let attributes: String = attributes.take(MAX_DESCRIBED_ATTRIBUTES).collect();
        let user = quoted(&success.user);
        Comparison::actual(format!("success, cas:user={user}{attributes}"))
    })
}

/// Requires one user name: `cas:user`, or the only value of `attribute`.
fn check_user<'s>(success: &'s Success, attribute: Option<&str>) -> Check<&'s str, impl Describe> {
    let user = match attribute {
        None => Ok(success.user.as_str()),
        Some(name) => success.only_value(name).map_err(|values| {
            let what = format!("the user has {values} values of {name}, not one that is a text");
            Failure::new(Reason::UserAttributeMissing, what)
        }),
    };
    Check::new(Step::UserClaim, user, move || match attribute {
        None => Comparison::actual(format!("cas:user={}", quoted(&success.user))),
        Some(name) => {
            let values = listed(&success.values(name).collect::<Vec<_>>());
            Comparison::actual(format!("{name}={values}"))
                .expected(format!("one caspt_user_attribute {name}"))
        }
    })
}

/// Requires a user name that can be a principal, and returns the principal.
fn check_principal(user: &str) -> Check<Principal, impl Describe> {
    Check::new(Step::Principal, Principal::validated(user), || {
        Comparison::actual(quoted(user))
    })
}

/// The failure of a user who does not meet a condition of `caspt_require`.
fn rule_not_met(condition: &Condition) -> Failure {
    let what = format!("the user does not meet {condition}");
    Failure::new(Reason::RuleNotMet, what)
}

/// The items of a list in one value, as Java's `toString` writes it: `[a, b]`.
fn list_items(value: &str) -> Vec<&str> {
    let inside = value.strip_prefix('[').and_then(|v| v.strip_suffix(']'));
    match inside {
        None => vec![value],
        // A comma without a blank belongs to an item, such as a distinguished name.
        Some(list) => list.split(", ").filter(|item| !item.is_empty()).collect(),
    }
}

/// The URL of a request, with percent-encoded parameters.
pub(super) fn request_url(base: &Url, path: &str, ticket: &str, service: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url.query_pairs_mut()
        .append_pair("service", service)
        .append_pair("ticket", ticket);
    url
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::fuzz_support::policy::Table;

    /// Validates a reply with these attributes under these options.
    fn validated(attributes: &str, options: &[(&str, &str)]) -> Result<(), Reason> {
        let given = [
            ("caspt_url", "https://cas.univ.fr/cas"),
            ("caspt_allow_direct", "yes"),
        ];
        let config = Config::read(&Table(&[&given, options].concat())).unwrap();
        let cas = CasValidator::new(config.cas.unwrap());
        let reply = format!(
            "<cas:serviceResponse xmlns:cas=\"http://www.yale.edu/tp/cas\">\
             <cas:authenticationSuccess><cas:user>alice</cas:user>\
             <cas:attributes>{attributes}</cas:attributes>\
             </cas:authenticationSuccess></cas:serviceResponse>"
        );
        let validated = cas.validate_reply(reply.as_bytes(), Checks::new(CheckObserver::NONE));
        validated.map(drop).map_err(|failure| failure.reason())
    }

    #[test]
    fn rule_compares_whole_values_and_words_of_scopes_only() {
        let no_mail = "<cas:groups>no mail</cas:groups>";
        let staff = "<cas:memberOf>CN=staff,OU=Managed Groups,DC=x</cas:memberOf>";
        for (attributes, rule, is_met) in [
            (no_mail, "groups=mail", false),
            (no_mail, "groups=no", false),
            (no_mail, "groups=\"no mail\"", true),
            (staff, "memberOf=\"CN=staff,OU=Managed Groups,DC=x\"", true),
            (
                staff,
                "memberOf=\"CN=it\"|\"CN=staff,OU=Managed Groups,DC=x\"",
                true,
            ),
            (staff, "memberOf=CN=staff,OU=Managed", false),
            ("<cas:scope>openid imap</cas:scope>", "scope=imap", true),
            ("<cas:scope>openid&#9;imap</cas:scope>", "scope=imap", false),
            (
                "<cas:scope>openid imap</cas:scope><cas:scope>x</cas:scope>",
                "scope=imap",
                false,
            ),
            ("<cas:groups>[a, mail]</cas:groups>", "groups=mail", false),
        ] {
            let validated = validated(attributes, &[("caspt_require", rule)]);
            assert_eq!(validated.is_ok(), is_met, "{attributes} {rule}");
        }
    }

    #[test]
    fn list_in_one_value_is_split_only_for_attributes_of_the_option() {
        for (value, rule, is_met) in [
            ("[9260, 9253]", "number=9253", true),
            ("[9260, 9253]", "number=9260", true),
            ("[9260, 9253]", "number=925", false),
            ("[9260, 9253]", "number=\"[9260, 9253]\"", false),
            ("[9253]", "number=9253", true),
            ("9253", "number=9253", true),
            ("[]", "number=\"[]\"", false),
            ("[no mail, x]", "number=mail", false),
            ("[no mail, x]", "number=\"no mail\"", true),
            ("[CN=it,DC=x, CN=mail,DC=x]", "number=CN=mail,DC=x", true),
            ("[CN=it,DC=x, CN=mail,DC=x]", "number=DC=x", false),
        ] {
            let attribute = format!("<cas:number>{value}</cas:number>");
            let options = [
                ("caspt_require", rule),
                ("caspt_list_attributes", "x number"),
            ];
            assert_eq!(
                validated(&attribute, &options).is_ok(),
                is_met,
                "{value} {rule}"
            );
            let twice = format!("{attribute}<cas:number>other</cas:number>");
            assert_eq!(
                validated(&twice, &options).is_ok(),
                is_met,
                "{value} {rule}"
            );
        }
        // The user name is never split.
        let options = [
            ("caspt_user_attribute", "uid"),
            ("caspt_list_attributes", "uid"),
        ];
        let list = validated("<cas:uid>[alice, bob]</cas:uid>", &options);
        assert_eq!(list, Err(Reason::UserUnusable));
    }

    #[test]
    fn request_parameters_are_percent_encoded() {
        let base = Url::parse("https://cas.univ.fr/cas").unwrap();
        let ticket = Ticket::parse("PT-1&service=x#%2F+é".trim_end_matches('é')).unwrap();
        assert_eq!(
            request_url(&base, PATHS[0], ticket.expose(), "imap://mail.univ.fr").as_str(),
            "https://cas.univ.fr/cas/p3/proxyValidate\
             ?service=imap%3A%2F%2Fmail.univ.fr&ticket=PT-1%26service%3Dx%23%252F%2B"
        );
        let root = Url::parse("https://cas.univ.fr").unwrap();
        assert!(
            request_url(&root, PATHS[1], ticket.expose(), "x")
                .as_str()
                .starts_with("https://cas.univ.fr/proxyValidate?")
        );
    }
}
