//! `sasl-sso explain`: validates a credential as the mail server would, and shows each check.

#![forbid(unsafe_code)]

pub(crate) mod conclusion;
pub(crate) mod credential_input;
pub(crate) mod remedy;
pub(crate) mod report;
pub(crate) mod user_name;

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use nix::unistd::Uid;
use serde_json::json;

use super::ExitStatus;
use crate::imapd_conf::login_paths;
use crate::imapd_conf::{ConfFile, ConfigArgs, Format};
use crate::privileges::{become_user, host_name, host_names_of, other_user_warning};
use crate::term::console::Console;
use conclusion::Conclusion;
use credential_input::CredentialInput;
use report::Report;
use sso_core::auth::{Attempt, Authenticator, Verdict};
use sso_core::credential::{Credential, CredentialKind};
use sso_core::error::Failure;
use sso_core::platform::clock::SystemClock;
use sso_core::platform::deadline::Deadline;
use sso_core::platform::log::{Level, Log};
use sso_core::policy::user_mapping::SessionUser;
use sso_core::trace::{Check, CheckObserver, CheckRecord, CheckResult, Comparison, Step};
use user_name::UserNames;

/// Show why a ticket or a token is accepted or refused, check by check.
///
/// The credential is read from standard input or from a file, never from an argument. It is
/// validated by the code and with the configuration of the mail server; as its user (cyrus_user)
/// if root starts the command. Nothing on the host changes: no session is stored, and no refusal
/// is cached. A request to CAS uses the ticket up, so CAS is asked only if you agree, and never
/// if the service offers no mechanism for tickets.
/// Exit status: 0 if the credential is accepted, 1 if it is refused or no mechanism for it is
/// offered, 2 if that could not be found out.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    config_args: ConfigArgs,
    /// Read the credential from this file; - is standard input. A line end after the credential
    /// is ignored
    #[arg(long, value_name = "FILE", default_value = "-")]
    file: PathBuf,
    /// The user name that the client sends, if any
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The name of the service for libsasl2: imap, pop, sieve, lmtp, smtp [default: imap; with a
    /// file of SASL itself smtp]
    #[arg(long, value_name = "NAME")]
    sasl_service: Option<String>,
    /// The name of the host for libsasl2 [default: servername of the file, or the host's name]
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// The client's address, to which the rate limit applies
    #[arg(long, value_name = "ADDRESS")]
    client: Option<String>,
    /// Run as this user if started by root [default: cyrus_user of the file; required with a file
    /// of SASL itself]
    #[arg(long, value_name = "NAME")]
    run_as: Option<String>,
    /// Ask CAS about a ticket without confirmation, which uses the ticket up
    #[arg(long)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> ExitStatus {
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
                console.print_error(format_args!("explain: {line}"));
            }
            ExitStatus::Error
        }
    }
}

fn explain(arguments: &Arguments, console: &mut Console) -> Result<Report, String> {
    let conf = arguments.config_args.read()?;
    let credential = CredentialInput::read(&arguments.file, console)?;
    // Read files and sessions with the permissions of the mail server.
    if Uid::effective().is_root() {
        become_user("--run-as", arguments.run_as.as_deref(), &conf)?;
    }
    let note = other_user_warning(arguments.run_as.as_deref(), &conf);
    let prefix = conf.format().prefix();
    let config = conf.config().map_err(|faults| faults.join("\n"))?;
    let kind = credential.kind(&config, prefix)?;
    let host = match &arguments.host {
        Some(host) => host.clone(),
        None => host_name(&conf).map_err(|problems| problems.join("\n"))?,
    };
    let service = arguments.sasl_service.as_deref();
    let service = service.unwrap_or(match conf.format() {
        Format::Imapd => "imap",
        Format::Sasl => "smtp",
    });
    let mechanisms = login_paths::for_kind(&conf, &config, kind);
    let authenticator = Authenticator::read_only(config, Arc::new(SystemClock));
    let explanation = Explanation {
        mechanism: mechanisms.first().copied().unwrap_or(usual_mechanism(kind)),
        service: authenticator.service(kind, service, &host),
        names: UserNames {
            host_option: host_names_of(&conf, service),
            claimed: arguments.user.clone(),
        },
        client: arguments.client.clone(),
        records: RefCell::default(),
        notes: RefCell::new(note.into_iter().collect()),
        authenticator,
        kind,
    };
    if mechanisms.is_empty() {
        // No login can bring this credential, so a ticket must not be used up.
        explanation
            .notes
            .borrow_mut()
            .push(not_offered(&arguments.config_args, &conf, kind));
        return Ok(Report::new(
            explanation,
            Conclusion::NOT_OFFERED,
            &credential,
        ));
    }
    let conclusion = explanation.validate(&credential, &mut |question| {
        arguments.yes || credential_input::is_confirmed(question, console)
    });
    Ok(Report::new(explanation, conclusion, &credential))
}

/// The validation of one credential, and the records of its checks.
pub(crate) struct Explanation {
    authenticator: Authenticator,
    kind: CredentialKind,
    /// The mechanism that a client would use.
    mechanism: &'static str,
    service: String,
    client: Option<String>,
    names: UserNames,
    records: RefCell<Vec<CheckRecord>>,
    notes: RefCell<Vec<String>>,
}

/// Collects the lines that the plugin would write to the log.
impl Log for Explanation {
    fn write(&self, _: Level, line: &str) {
        self.notes.borrow_mut().push(line.to_owned());
    }
}

impl Explanation {
    /// Validates the credential as the plugin does. `may_consume` is asked before a ticket is used
    /// up.
    fn validate(
        &self,
        input: &CredentialInput,
        may_consume: &mut dyn FnMut(&str) -> bool,
    ) -> Conclusion {
        let report = |record: CheckRecord| self.records.borrow_mut().push(record);
        let observer = CheckObserver::new(&report);
        let describe = || {
            let expected = match self.kind {
                CredentialKind::Ticket => "PT- or ST-, 5 to 256 visible characters of ASCII",
                CredentialKind::Token => "three parts of base64url, at most 21847 bytes",
            };
            Comparison::actual(format!("{} bytes", input.bytes().len())).expected(expected)
        };
        // The validator of tokens reports the form of a token itself.
        let credential = match (Credential::parse(self.kind, input.bytes()), self.kind) {
            (Ok(credential), CredentialKind::Token) => Ok(credential),
            (parsed, _) => observer.observe(Check::new(Step::Form, parsed, describe)),
        };
        match credential {
            Ok(credential) => self.authenticate(&credential, observer, may_consume),
            Err(failure) => Conclusion::of(failure),
        }
    }

    fn authenticate(
        &self,
        credential: &Credential,
        observer: CheckObserver<'_>,
        may_consume: &mut dyn FnMut(&str) -> bool,
    ) -> Conclusion {
        let peeked = self.attempt(observer, |attempt| {
            self.authenticator.peek(credential, attempt)
        });
        let (cached, has_host) = match peeked {
            Ok(peeked) => peeked,
            Err(failure) => return Conclusion::of(failure),
        };
        self.report_session(cached.as_ref(), has_host, observer);
        let is_ticket = self.kind == CredentialKind::Ticket;
        if is_ticket && cached.is_none() && !may_consume(&self.question()) {
            return Conclusion::NOT_ASKED;
        }
        let start = Instant::now();
        // A cached token is validated all the same: that costs nothing and shows the checks.
        let validated = (!is_ticket || cached.is_none()).then(|| {
            self.attempt(observer, |attempt| {
                self.authenticator.validate_uncached(credential, attempt)
            })
        });
        let elapsed = start.elapsed();
        let is_asked = is_ticket && cached.is_none();
        let differs = match (&cached, &validated) {
            (Some(cached), Some(validated)) => cached.result != validated.result,
            _ => false,
        };
        let Some(verdict) = cached.or(validated) else {
            return Conclusion::NOT_ASKED;
        };
        let users = self.authenticator.users();
        let map = |user: SessionUser| self.names.map(users, user.principal.as_str(), observer);
        Conclusion {
            user: Some(verdict.result.and_then(map)),
            source: verdict.source,
            key: verdict.key,
            elapsed,
            has_host,
            is_asked,
            differs,
            is_offered: true,
        }
    }

    /// Reports the result of the cache look-up.
    fn report_session(
        &self,
        cached: Option<&Verdict>,
        has_host: bool,
        observer: CheckObserver<'_>,
    ) {
        match cached.map(|verdict| (&verdict.result, verdict.source)) {
            Some((result, source)) => {
                let source = source.map_or("", |source| source.code());
                let actual = match result {
                    Ok(_) => format!("known ({source}): taken without asking"),
                    Err(_) => format!("refused a moment ago ({source})"),
                };
                let describe = || Comparison::actual(actual);
                // The verdict contains the result.
                let _ = observer.observe(Check::new(Step::Session, result.clone(), describe));
            }
            None => observer.note(Step::Session, || {
                Comparison::actual(match has_host {
                    true => "not known on this host",
                    false => "nothing is known here: there is no store to look into",
                })
            }),
        }
    }

    /// The question for confirmation before CAS is asked.
    fn question(&self) -> String {
        let cas = self.authenticator.cas().and_then(|cas| cas.urls.first());
        let cas = cas.map(ToString::to_string).unwrap_or_default();
        format!("CAS uses a ticket up by being asked about it. Ask {cas}?")
    }

    /// Calls `with` with the circumstances of a login.
    fn attempt<T>(&self, observer: CheckObserver<'_>, with: impl FnOnce(&Attempt<'_>) -> T) -> T {
        let timeout = self.authenticator.timeout(self.kind).unwrap_or_default();
        let deadline = Deadline::new(timeout, &|| false);
        with(&Attempt {
            mechanism: self.mechanism,
            service: &self.service,
            client: self.client.as_deref(),
            claimed: self.names.claimed.as_deref(),
            deadline: &deadline,
            log: self,
            observer,
        })
    }
}

/// The mechanism that clients usually use for credentials of this kind.
fn usual_mechanism(kind: CredentialKind) -> &'static str {
    match kind {
        CredentialKind::Ticket => "CASPT",
        CredentialKind::Token => "OAUTHBEARER",
    }
}

/// Says that no mechanism for credentials of this kind is offered, and what to do about that.
fn not_offered(config_args: &ConfigArgs, conf: &ConfFile, kind: CredentialKind) -> String {
    let list = conf.written_name("mech_list");
    let suffix = format!("_{}mech_list", conf.format().prefix());
    let offers = |service: &&str| {
        let of_service = ConfFile::read(&config_args.config, Some(service));
        of_service.is_ok_and(|conf| {
            let config = conf.config();
            config.is_ok_and(|config| !login_paths::for_kind(&conf, &config, kind).is_empty())
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

/// The first failure of all checks, which decides.
fn first_failure(records: &[CheckRecord]) -> Option<(Step, &Failure)> {
    records.iter().find_map(|record| match &record.result {
        CheckResult::Failed(failure) => Some((record.step, failure)),
        CheckResult::Passed | CheckResult::Noted => None,
    })
}
