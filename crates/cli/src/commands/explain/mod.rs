//! `sasl-sso explain`: what the plugin would decide on a credential, step by step.

#![forbid(unsafe_code)]

pub(crate) mod credential_input;
pub(crate) mod remedy;
pub(crate) mod report;
pub(crate) mod steps;
pub(crate) mod user_name;
pub(crate) mod verdict;

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use nix::unistd::Uid;
use serde_json::json;

use super::Status;
use crate::imapd_conf::login_paths;
use crate::imapd_conf::{ConfFile, Format, Place};
use crate::privileges::{as_somebody_else, become_user, host_name, host_names_of};
use crate::term::console::Console;
use credential_input::Given;
use report::Report;
use sso_core::auth::{Attempt, Authenticator, Verdict};
use sso_core::credential::{Credential, CredentialKind};
use sso_core::error::Failure;
use sso_core::platform::clock::SystemClock;
use sso_core::platform::deadline::Deadline;
use sso_core::platform::log::{Level, Log};
use sso_core::policy::user_mapping::SessionUser;
use sso_core::trace::{Outcome, Seen, Step, Told, Witness};
use user_name::Names;
use verdict::Conclusion;

/// Why is a ticket or a token taken or refused here, now? Step by step.
///
/// The credential comes on standard input or from a file, never as an argument. It is
/// judged by the code and the configuration that the mail server judges it by, as
/// its user (cyrus_user) if started by root, and nothing on the host is changed: no session is
/// opened, no refusal remembered. But CAS uses a ticket up by being asked about it:
/// it is only asked if you say so, and never where no mechanism for a ticket is offered.
/// Exit status: 0 if it is taken, 1 if it is refused or no mechanism for it is offered, 2
/// if that could not be found out.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Where the credential is; - is standard input. A line end behind it is not
    /// part of it
    #[arg(long, value_name = "FILE", default_value = "-")]
    file: PathBuf,
    /// Who the client says it is, if it says so
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// What the server calls its service to libsasl2: imap, pop, sieve, lmtp, smtp
    /// [default: imap; with a file of SASL itself smtp]
    #[arg(long, value_name = "NAME")]
    sasl_service: Option<String>,
    /// What the server calls its host [default: servername of the file, or the
    /// host's name]
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// The client's address, whose rate limit applies
    #[arg(long, value_name = "ADDRESS")]
    client: Option<String>,
    /// The user of the mail server, as whom to look if started by root [default:
    /// cyrus_user of the file; with a file of SASL itself it must be said]
    #[arg(long, value_name = "NAME")]
    run_as: Option<String>,
    /// Ask CAS about a ticket without asking you, which uses it up
    #[arg(long)]
    yes: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Status {
    match explain(arguments, console) {
        Ok(report) => {
            if arguments.json {
                console.line(report.json());
            } else {
                report.print(console);
            }
            report.status()
        }
        Err(problem) => {
            if arguments.json {
                console.line(json!({ "outcome": "unusable", "problem": problem }));
            }
            for line in problem.lines() {
                console.complain(format_args!("explain: {line}"));
            }
            Status::Unusable
        }
    }
}

fn explain(arguments: &Arguments, console: &mut Console) -> Result<Report, String> {
    let conf = arguments.place.read()?;
    let given = Given::read(&arguments.file, console)?;
    // Files and sessions as the mail server finds them.
    if Uid::effective().is_root() {
        become_user("--run-as", arguments.run_as.as_deref(), &conf)?;
    }
    let note = as_somebody_else(arguments.run_as.as_deref(), &conf);
    let prefix = conf.format().prefix();
    let config = conf.config().map_err(|faults| faults.join("\n"))?;
    let kind = given.kind(&config, prefix)?;
    let host = match &arguments.host {
        Some(host) => host.clone(),
        None => host_name(&conf).map_err(|problems| problems.join("\n"))?,
    };
    let service = arguments.sasl_service.as_deref();
    let service = service.unwrap_or(match conf.format() {
        Format::Imapd => "imap",
        Format::Sasl => "smtp",
    });
    let ways = login_paths::of_kind(&conf, &config, kind);
    let authenticator = Authenticator::read_only(config, Arc::new(SystemClock));
    let case = Case {
        mechanism: ways.first().copied().unwrap_or(usual_mechanism(kind)),
        service: authenticator.service(kind, service, &host),
        names: Names {
            of_host: host_names_of(&conf, service),
            claimed: arguments.user.clone(),
        },
        client: arguments.client.clone(),
        seen: RefCell::default(),
        notes: RefCell::new(note.into_iter().collect()),
        authenticator,
        kind,
    };
    if ways.is_empty() {
        // The mail server would never see it: a ticket must not be used up.
        case.notes
            .borrow_mut()
            .push(not_offered(&arguments.place, &conf, kind));
        return Ok(Report::new(case, Conclusion::NOT_OFFERED, &given));
    }
    let conclusion = case.decide(&given, &mut |question| {
        arguments.yes || credential_input::is_agreed(question, console)
    });
    Ok(Report::new(case, conclusion, &given))
}

/// A credential before the judge, and all that was seen of it.
pub(crate) struct Case {
    authenticator: Authenticator,
    kind: CredentialKind,
    /// The mechanism by which it would come.
    mechanism: &'static str,
    service: String,
    client: Option<String>,
    names: Names,
    seen: RefCell<Vec<Seen>>,
    notes: RefCell<Vec<String>>,
}

/// What the plugin would write to the log on the way.
impl Log for Case {
    fn write(&self, _: Level, line: &str) {
        self.notes.borrow_mut().push(line.to_owned());
    }
}

impl Case {
    /// As the plugin decides. `may_spend` is asked before a ticket is used up.
    fn decide(&self, given: &Given, may_spend: &mut dyn FnMut(&str) -> bool) -> Conclusion {
        let tell = |seen: Seen| self.seen.borrow_mut().push(seen);
        let witness = Witness::new(&tell);
        let credential = Credential::parse(self.kind, given.bytes());
        let told = |_: Option<&_>| {
            let wanted = match self.kind {
                CredentialKind::Ticket => "PT- or ST-, 5 to 256 visible characters of ASCII",
                CredentialKind::Token => "three parts of base64url, at most 21847 bytes",
            };
            Told::found(format!("{} bytes", given.bytes().len())).wanted(wanted)
        };
        // Of a token more is told when it is taken apart.
        let credential = match (credential, self.kind) {
            (Ok(credential), CredentialKind::Token) => Ok(credential),
            (parsed, _) => witness.see(Step::Form, told, parsed),
        };
        match credential {
            Ok(credential) => self.judge(&credential, witness, may_spend),
            Err(failure) => Conclusion::of(failure),
        }
    }

    fn judge(
        &self,
        credential: &Credential,
        witness: Witness<'_>,
        may_spend: &mut dyn FnMut(&str) -> bool,
    ) -> Conclusion {
        let known = self.attempt(witness, |attempt| {
            self.authenticator.peek(credential, attempt)
        });
        let (known, has_host) = match known {
            Ok(known) => known,
            Err(failure) => return Conclusion::of(failure),
        };
        self.tell_session(known.as_ref(), has_host, witness);
        let is_ticket = self.kind == CredentialKind::Ticket;
        if is_ticket && known.is_none() && !may_spend(&self.question()) {
            return Conclusion::NOT_ASKED;
        }
        let start = Instant::now();
        let anew = (!is_ticket || known.is_none()).then(|| {
            self.attempt(witness, |attempt| {
                self.authenticator.validate_uncached(credential, attempt)
            })
        });
        let elapsed = start.elapsed();
        let is_asked = is_ticket && known.is_none();
        let differs = match (&known, &anew) {
            (Some(known), Some(anew)) => known.result != anew.result,
            _ => false,
        };
        let Some(verdict) = known.or(anew) else {
            return Conclusion::NOT_ASKED;
        };
        let users = self.authenticator.users();
        let named = |user: SessionUser| self.names.judge(users, user.principal.as_str(), witness);
        Conclusion {
            user: Some(verdict.result.and_then(named)),
            source: verdict.source,
            key: verdict.key,
            elapsed,
            has_host,
            is_asked,
            differs,
            is_offered: true,
        }
    }

    /// Says what the host knows, which is asked first.
    fn tell_session(&self, known: Option<&Verdict>, has_host: bool, witness: Witness<'_>) {
        match known.map(|known| (&known.result, known.source)) {
            Some((result, source)) => {
                let source = source.map_or("", |source| source.code());
                let told = |principal: Option<&_>| match principal {
                    Some(_) => Told::found(format!("known ({source}): taken without asking")),
                    None => Told::found(format!("refused a moment ago ({source})")),
                };
                // What came of it is the verdict's to say.
                let _ = witness.see(Step::Session, told, result.clone());
            }
            None => witness.tell(Step::Session, || {
                Told::found(match has_host {
                    true => "not known on this host",
                    false => "nothing is known here: there is no store to look into",
                })
            }),
        }
    }

    /// What is asked before CAS is.
    fn question(&self) -> String {
        let cas = self.authenticator.cas().and_then(|cas| cas.urls.first());
        let cas = cas.map(ToString::to_string).unwrap_or_default();
        format!("CAS uses a ticket up by being asked about it. Ask {cas}?")
    }

    fn attempt<T>(&self, witness: Witness<'_>, with: impl FnOnce(&Attempt<'_>) -> T) -> T {
        let patience = self.authenticator.timeout(self.kind).unwrap_or_default();
        let deadline = Deadline::new(patience, &|| false);
        with(&Attempt {
            mechanism: self.mechanism,
            service: &self.service,
            client: self.client.as_deref(),
            claimed: self.names.claimed.as_deref(),
            deadline: &deadline,
            log: self,
            witness,
        })
    }
}

/// The mechanism by which credentials of a kind usually come.
fn usual_mechanism(kind: CredentialKind) -> &'static str {
    match kind {
        CredentialKind::Ticket => "CASPT",
        CredentialKind::Token => "OAUTHBEARER",
    }
}

/// Why no credential of a kind can reach the plugin, and what to do about it.
fn not_offered(place: &Place, conf: &ConfFile, kind: CredentialKind) -> String {
    let list = conf.written("mech_list");
    let suffix = format!("_{}mech_list", conf.format().prefix());
    let offers = |service: &&str| {
        let of_service = ConfFile::read(&place.config, Some(service));
        of_service.is_ok_and(|conf| {
            let config = conf.config();
            config.is_ok_and(|config| !login_paths::of_kind(&conf, &config, kind).is_empty())
        })
    };
    let mut services = conf.names().filter_map(|name| name.strip_suffix(&suffix));
    let remedy = match services.find(offers) {
        Some(service) => format!("the service {service} does: say --service {service}"),
        None => format!("add {} to {list}", usual_mechanism(kind)),
    };
    let names = match kind {
        CredentialKind::Ticket => "CASPT",
        CredentialKind::Token => "OAUTHBEARER or XOAUTH2",
    };
    format!(
        "{list} lacks {names}, so this service does not offer it, and nothing was asked; {remedy}"
    )
}

/// The failure that decided, of all that were seen.
fn deciding(seen: &[Seen]) -> Option<(Step, &Failure)> {
    seen.iter().find_map(|seen| match &seen.outcome {
        Outcome::Failed(failure) => Some((seen.step, failure)),
        Outcome::Good | Outcome::Noted => None,
    })
}
