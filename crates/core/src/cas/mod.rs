//! CAS: a ticket is asked of the server once, and what it answers is judged.

#![forbid(unsafe_code)]

mod probe;
pub(crate) mod response;
mod told;
mod xml;

use std::borrow::Cow;
use std::time::Instant;

use url::Url;

use crate::config::CasConfig;
use crate::credential::Ticket;
use crate::error::{Failure, Reason};
use crate::net::http_client::{Client, Response};
use crate::platform::deadline::Deadline;
use crate::platform::log::quoted;
use crate::policy::attribute_rules::{Condition, values_of};
use crate::principal::Principal;
use crate::trace::{Checks, Step, Told, Witness};
pub use probe::{Answer, Said};

/// Where a ticket is validated: with attributes (CAS protocol 3.0, section
/// 2.8), and for servers without it (section 2.6).
const PATHS: [&str; 2] = ["/p3/proxyValidate", "/proxyValidate"];

/// The longest reply taken, in bytes.
const LONGEST_REPLY: usize = 64 * 1024;

/// The validator of tickets.
#[derive(Debug)]
pub struct Cas {
    config: CasConfig,
    http: Client,
}

impl Cas {
    /// Nothing is opened or read until the first ticket comes.
    pub fn new(config: CasConfig) -> Self {
        let http = Client::new(
            config.ca_file.clone(),
            config.timeout / u32::try_from(config.urls.len()).unwrap_or(1).max(1),
        );
        Self { config, http }
    }

    /// Its configuration.
    pub fn config(&self) -> &CasConfig {
        &self.config
    }

    /// Asks CAS whether `ticket` was issued for `service`, and judges the
    /// answer. The ticket is used up by that, whatever the answer.
    ///
    /// # Errors
    /// Why it is not good, not allowed, or could not be judged.
    pub fn validate(
        &self,
        ticket: &Ticket,
        service: &str,
        deadline: &Deadline<'_>,
        witness: Witness<'_>,
    ) -> Result<Principal, Failure> {
        self.ask(ticket, service, deadline, witness)
            .and_then(|response| self.understand(&response.body, Checks::new(witness)))
            .map_err(|failure| {
                // CAS quotes tickets, and so may the parts it is read with.
                Failure::new(failure.reason(), ticket.masked_in(failure.detail()))
            })
    }

    /// Asks CAS about a ticket that nobody issued, as [`Cas::validate`] would.
    ///
    /// # Errors
    /// That CAS refuses it, or why it does not.
    pub fn try_out(&self, service: &str, deadline: &Deadline<'_>) -> Result<Principal, Failure> {
        let ticket = probe::impossible_ticket("does-CAS-answer-again")?;
        self.validate(&ticket, service, deadline, Witness::NOBODY)
    }

    /// Goes from server to server only while nothing was written: a ticket that
    /// one server has read is used up on all of them.
    fn ask(
        &self,
        ticket: &Ticket,
        service: &str,
        deadline: &Deadline<'_>,
        witness: Witness<'_>,
    ) -> Result<Response, Failure> {
        let mut last = None;
        for base in &self.config.urls {
            match self.ask_server(base, ticket, service, deadline, witness) {
                Err(error) if error.nothing_written => last = Some(error.failure),
                Err(error) => return witness.see(Step::Request, told::nothing, Err(error.failure)),
                Ok(response) if response.status == 200 => return Ok(response),
                Ok(response) => {
                    let what = format!("{base} answers with HTTP status {}", response.status);
                    let failure = Failure::new(Reason::ReplyUnusable, what);
                    return witness.see(Step::Request, told::nothing, Err(failure));
                }
            }
        }
        let none = || Failure::new(Reason::ServerUnreachable, "no server to ask");
        let failure = last.unwrap_or_else(none);
        witness.see(Step::Request, told::nothing, Err(failure))
    }

    /// Asks one server, by the older path if it does not have the newer.
    fn ask_server(
        &self,
        base: &Url,
        ticket: &Ticket,
        service: &str,
        deadline: &Deadline<'_>,
        witness: Witness<'_>,
    ) -> Result<Response, crate::net::http_client::Error> {
        let get = |path| {
            let start = Instant::now();
            let url = request(base, path, ticket.expose(), service);
            let answer = self.http.get(url, LONGEST_REPLY, deadline);
            witness.tell(Step::Request, || {
                let url = request(base, path, ticket.shown(), service);
                told::request(&url, answer.as_ref(), start.elapsed())
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

    pub(crate) fn understand(
        &self,
        body: &[u8],
        mut checks: Checks<'_>,
    ) -> Result<Principal, Failure> {
        let success = checks.must(Step::Reply, told::reply, response::read(body))?;
        self.judge(&success, checks)
    }

    fn judge(
        &self,
        success: &response::Success,
        mut checks: Checks<'_>,
    ) -> Result<Principal, Failure> {
        self.config.proxies.judge(&success.proxies, &mut checks)?;
        let values = |name: &str| self.rule_values(success, name);
        let unmet = |condition: &Condition| {
            let what = format!("the user does not meet {condition}");
            Failure::new(Reason::RuleNotMet, what)
        };
        self.config.require.judge(&mut checks, values, unmet)?;
        let user = match &self.config.user_attribute {
            None => Ok(success.user.as_str()),
            Some(attribute) => success.only_value(attribute).map_err(|values| {
                Failure::new(
                    Reason::UserAttributeMissing,
                    format!("the user has {values} values of {attribute}, not one that is a text"),
                )
            }),
        };
        let told = |_: Option<&&str>| told::user(success, self.config.user_attribute.as_deref());
        let user = checks.must(Step::UserClaim, told, user)?;
        let told = |_: Option<&Principal>| Told::found(quoted(user));
        let principal = checks.must(Step::Principal, told, Principal::validated(user))?;
        checks.verdict()?;
        Ok(principal)
    }

    /// What an attribute says to a rule.
    fn rule_values<'s>(&self, success: &'s response::Success, name: &str) -> Vec<Cow<'s, str>> {
        let is_list = self.config.list_attributes.iter().any(|list| list == name);
        let values = success.values(name);
        match success.only_value(name) {
            _ if is_list => values.flat_map(items).map(Cow::Borrowed).collect(),
            Ok(single) => values_of(name, single),
            Err(_) => values.map(Cow::Borrowed).collect(),
        }
    }
}

/// The items of a list that is written into one value as Java does it: `[a, b]`.
fn items(value: &str) -> Vec<&str> {
    let inside = value.strip_prefix('[').and_then(|v| v.strip_suffix(']'));
    match inside {
        None => vec![value],
        // A comma alone is part of an item: a distinguished name has some.
        Some(list) => list.split(", ").filter(|item| !item.is_empty()).collect(),
    }
}

fn request(base: &Url, path: &str, ticket: &str, service: &str) -> Url {
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

    /// What comes of a reply with these attributes under these options.
    fn judged(attributes: &str, options: &[(&str, &str)]) -> Result<(), Reason> {
        let given = [
            ("caspt_url", "https://cas.univ.fr/cas"),
            ("caspt_allow_direct", "yes"),
        ];
        let config = Config::read(&Table(&[&given, options].concat())).unwrap();
        let cas = Cas::new(config.cas.unwrap());
        let reply = format!(
            "<cas:serviceResponse xmlns:cas=\"http://www.yale.edu/tp/cas\">\
             <cas:authenticationSuccess><cas:user>alice</cas:user>\
             <cas:attributes>{attributes}</cas:attributes>\
             </cas:authenticationSuccess></cas:serviceResponse>"
        );
        let judged = cas.understand(reply.as_bytes(), Checks::new(Witness::NOBODY));
        judged.map(drop).map_err(|failure| failure.reason())
    }

    #[test]
    fn an_attribute_counts_as_a_whole_and_only_scopes_by_their_words() {
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
            let judged = judged(attributes, &[("caspt_require", rule)]);
            assert_eq!(judged.is_ok(), is_met, "{attributes} {rule}");
        }
    }

    #[test]
    fn a_list_in_one_value_is_a_list_where_the_option_names_its_attribute() {
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
                judged(&attribute, &options).is_ok(),
                is_met,
                "{value} {rule}"
            );
            let twice = format!("{attribute}<cas:number>other</cas:number>");
            assert_eq!(judged(&twice, &options).is_ok(), is_met, "{value} {rule}");
        }
        // The user's name is one value, however it is written.
        let options = [
            ("caspt_user_attribute", "uid"),
            ("caspt_list_attributes", "uid"),
        ];
        let list = judged("<cas:uid>[alice, bob]</cas:uid>", &options);
        assert_eq!(list, Err(Reason::UserUnusable));
    }

    #[test]
    fn every_parameter_is_percent_encoded() {
        let base = Url::parse("https://cas.univ.fr/cas").unwrap();
        let ticket = Ticket::parse("PT-1&service=x#%2F+é".trim_end_matches('é')).unwrap();
        assert_eq!(
            request(&base, PATHS[0], ticket.expose(), "imap://mail.univ.fr").as_str(),
            "https://cas.univ.fr/cas/p3/proxyValidate\
             ?service=imap%3A%2F%2Fmail.univ.fr&ticket=PT-1%26service%3Dx%23%252F%2B"
        );
        let root = Url::parse("https://cas.univ.fr").unwrap();
        assert!(
            request(&root, PATHS[1], ticket.expose(), "x")
                .as_str()
                .starts_with("https://cas.univ.fr/proxyValidate?")
        );
    }
}
