//! What is answered to a request, and by whom: by what is known, by a worker who
//! asks or verifies, or by the host's own saslauthd.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::libc;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::log_writer::Journal;
use super::validations::Validations;
use super::{DaemonSettings, Office, Offices, fallback};
use sso_core::auth::login_event::LoginEvent;
use sso_core::auth::{DeferredWrite, Verdict};
use sso_core::credential::Credential;
use sso_core::error;
use sso_core::error::{Failure, Reason};
use sso_core::platform::log::{Level, Log};
use sso_core::policy::user_mapping::{MailUser, SessionUser};
use sso_core::protocol::saslauthd::{NO, OK, Request};

/// How many may write at once what nobody waits for.
pub(crate) const WRITERS: usize = 4;

/// How many writes may be under way or wait for a writer. Each keeps its connection's place
/// among all connections, and must not keep others from logging in while the store is busy.
const PENDING_WRITES: usize = 1_024;

/// How many ordinary passwords may wait for the host's own saslauthd: three quarters of all
/// connections. Tickets and tokens are decided on though that one hangs.
const PASSED_ON: usize = 3_072;

/// How the log calls a login that comes here.
pub(crate) const MECHANISM: &str = "saslauthd";

/// Where requests are answered.
pub(crate) struct Desk {
    offices: RwLock<Arc<Offices>>,
    journal: Journal,
    validations: Validations,
    writers: Semaphore,
    pending_writes: Semaphore,
    passed_on: Semaphore,
    /// When it was last said that no connection could be taken.
    complained: Mutex<Option<Instant>>,
}

/// What goes back to the client, and what is to be done after that.
pub(crate) struct Answer {
    /// Empty if nobody could decide: the protocol has no word for that, and of a
    /// connection that ends without one libsasl2 makes a failure that is not the
    /// client's (`SASL_FAIL`): Postfix then says 454 and not 535.
    pub(crate) text: Cow<'static, [u8]>,
    pub(crate) deferred_write: Option<(Arc<Office>, DeferredWrite)>,
}

/// A request with a credential in the password's place.
pub(crate) struct Login {
    pub(crate) office: Arc<Office>,
    /// Who the client says it is, as the host writes it.
    pub(crate) name: String,
    pub(crate) service: String,
    pub(crate) client: Option<String>,
    pub(crate) credential: Credential,
    pub(crate) start: Instant,
}

impl Desk {
    /// # Errors
    /// That the system has no random bytes to give.
    pub(crate) fn new(offices: Offices, journal: Journal) -> Result<Self, Failure> {
        Ok(Self {
            offices: RwLock::new(Arc::new(offices)),
            journal,
            validations: Validations::new()?,
            writers: Semaphore::new(WRITERS),
            pending_writes: Semaphore::new(PENDING_WRITES),
            passed_on: Semaphore::new(PASSED_ON),
            complained: Mutex::new(None),
        })
    }

    /// From now on requests are answered as `settings` say; a line about it.
    pub(crate) fn change(&self, settings: DaemonSettings) -> &'static str {
        let before = self.offices();
        let is_all = before
            .general
            .authenticator
            .can_become(&settings.general.config);
        *self.offices.write() = Arc::new(Offices::new(settings, Some(&before)));
        if is_all {
            "sso: the configuration was read again; where it serves is as it was"
        } else {
            "sso: the configuration was read again, but for sso_state_dir and sso_sessions: for them \
             restart the daemon"
        }
    }

    /// The answer to a request, if it is whole and its credential known.
    pub(crate) fn answer_at_once(&self, bytes: &[u8]) -> Option<Answer> {
        let request = Request::parse(bytes).ok()??;
        let login = Login::new(self.offices().office_for(&request), &request)?.ok()?;
        let verdict = login.known(&self.journal)?;
        Some(self.conclude(&login, verdict))
    }

    /// The answer to a whole request.
    pub(crate) async fn answer(&self, bytes: &[u8]) -> Answer {
        let start = Instant::now();
        let offices = self.offices();
        let request = match Request::parse(bytes) {
            Ok(Some(request)) => request,
            Ok(None) => return Answer::NONE,
            Err(failure) => return self.refuse(None, &failure, start),
        };
        let office = offices.office_for(&request);
        match Login::new(Arc::clone(&office), &request) {
            // What is meant to be a credential never comes to be tried as a
            // password, whichever service takes it.
            None if offices.is_credential(request.password) => {
                let what = "a credential of a kind that this service does not take";
                let failure = Failure::new(Reason::NoCredential, what);
                self.refuse(Some(&request), &failure, start)
            }
            None => self.pass_on(&office, &request, start).await,
            Some(Ok(login)) => self.decide(login).await,
            Some(Err(failure)) => self.refuse(Some(&request), &failure, start),
        }
    }

    fn offices(&self) -> Arc<Offices> {
        Arc::clone(&self.offices.read())
    }

    /// Has the host's own saslauthd answer.
    async fn pass_on(&self, office: &Office, request: &Request<'_>, start: Instant) -> Answer {
        let place = self.passed_on.try_acquire();
        let answer = match (&office.fallback, &place) {
            (Some(fallback), Ok(_)) => fallback::ask(fallback, request.bytes).await,
            (Some(_), Err(_)) => {
                let what = "too many ordinary passwords wait for the other saslauthd already";
                Err(Failure::new(Reason::Busy, what))
            }
            (None, _) => {
                let what = "an ordinary password, and sso_fallback_socket is not set";
                Err(Failure::new(Reason::NoCredential, what))
            }
        };
        match answer {
            Ok(text) => Answer {
                text: Cow::Owned(text),
                deferred_write: None,
            },
            Err(failure) => self.refuse(Some(request), &failure, start),
        }
    }

    async fn decide(&self, login: Login) -> Answer {
        let login = Arc::new(login);
        // A request that came in pieces was not looked at before.
        let verdict = match login.known(&self.journal) {
            Some(verdict) => verdict,
            None => self.validations.verdict(&login, &self.journal).await,
        };
        self.conclude(&login, verdict)
    }

    /// Compares whom the credential speaks for with who the client says it is, and
    /// says it to the log and the client.
    fn conclude(&self, login: &Login, mut verdict: Verdict) -> Answer {
        let user = verdict.result.as_ref().map_err(Failure::clone);
        let outcome = user.and_then(|user| login.host_name(user));
        if let Ok(host_name) = &outcome {
            verdict.set_host_name(host_name);
        }
        let text = self.say(&LoginEvent {
            mechanism: MECHANISM,
            service: &login.service,
            client: login.client.as_deref(),
            outcome: outcome.as_ref().map(String::as_str),
            source: verdict.source,
            key: verdict.key,
            kind: verdict.kind,
            elapsed: login.start.elapsed(),
        });
        let of_office = |deferred_write| (Arc::clone(&login.office), deferred_write);
        Answer {
            text: Cow::Borrowed(text),
            deferred_write: verdict.deferred_write.map(of_office),
        }
    }

    /// Says to the log why a request is refused that no credential decided on.
    pub(crate) fn refuse(
        &self,
        request: Option<&Request<'_>>,
        failure: &Failure,
        start: Instant,
    ) -> Answer {
        let service = request.and_then(|request| request.service().ok());
        Answer::at_once(self.say(&LoginEvent {
            mechanism: MECHANISM,
            service: service.as_deref().unwrap_or_default(),
            client: request.and_then(Request::client),
            outcome: Err(failure),
            source: None,
            key: None,
            kind: None,
            elapsed: start.elapsed(),
        }))
    }

    /// Says a decision to the log, and what it comes to for the client.
    fn say(&self, decision: &LoginEvent<'_>) -> &'static [u8] {
        decision.count(&self.offices().general.authenticator, &self.journal);
        self.journal.write(decision.level(), &decision.line());
        match decision.outcome.map_err(Failure::kind) {
            Ok(_) => OK,
            Err(error::FailureKind::Unavailable | error::FailureKind::Internal) => &[],
            Err(_) => NO,
        }
    }

    /// Writes what nobody waits for: not by the workers, who may all have to wait, and
    /// not in their way. Beyond [`PENDING_WRITES`] it is not written: that a session is stored
    /// spares later logins a validation, and the trouble of the store is in the log.
    pub(crate) async fn write(&self, (office, deferred_write): (Arc<Office>, DeferredWrite)) {
        let Ok(_pending) = self.pending_writes.try_acquire() else {
            return;
        };
        let _writer = self.writers.acquire().await;
        let journal = self.journal.clone();
        let _ = spawn_blocking(move || office.authenticator.write(&deferred_write, &journal)).await;
    }

    /// Says that connections cannot be taken, not more than once a minute.
    pub(crate) fn complain_of_accepting(&self, error: &io::Error) {
        let mut complained = self.complained.lock();
        if complained.is_none_or(|last| last.elapsed() >= Duration::from_secs(60)) {
            *complained = Some(Instant::now());
            let remedy = match error.raw_os_error() {
                Some(libc::EMFILE | libc::ENFILE) => "raise LimitNOFILE",
                _ => "look what the socket is",
            };
            let line = format!("sso: connections cannot be taken: {error}; {remedy}");
            self.journal.write(Level::Error, &line);
        }
    }
}

impl Answer {
    const NONE: Self = Self::at_once(&[]);

    const fn at_once(text: &'static [u8]) -> Self {
        Self {
            text: Cow::Borrowed(text),
            deferred_write: None,
        }
    }
}

impl Login {
    /// `None` if the password is an ordinary one.
    fn new(office: Arc<Office>, request: &Request<'_>) -> Option<Result<Self, Failure>> {
        let start = Instant::now();
        let kind = office.authenticator.kind_of_password(request.password)?;
        let read = || {
            let unnamed = || Failure::new(Reason::MessageMalformed, "the request names no user");
            let service = request.service()?;
            Ok(Self {
                name: request.login()?.ok_or_else(unnamed)?,
                service: office.authenticator.service(kind, &service, &office.host),
                client: request.client().map(str::to_owned),
                credential: Credential::parse(kind, request.password)?,
                office: Arc::clone(&office),
                start,
            })
        };
        Some(read())
    }

    /// The verdict on a credential that is known.
    pub(crate) fn known(&self, log: &dyn Log) -> Option<Verdict> {
        let authenticator = &self.office.authenticator;
        authenticator.try_lookup(&self.credential, &self.service, log)
    }

    /// The name of `user` as the host writes it, if that is the name of the request. The
    /// host has canonicalized the name of the request, and opens the mailbox of that name
    /// and of no other: it is compared and never mapped.
    ///
    /// A domain that the host added cannot be told from one that the client typed, so it is
    /// refused whatever `sso_host_names` says: only the plugin, which asks the host, knows.
    fn host_name(&self, user: &SessionUser) -> Result<String, Failure> {
        let Office {
            authenticator,
            names,
            ..
        } = &*self.office;
        let (users, user) = (authenticator.users(), &user.mail_user);
        users.check_denied(user.as_str())?;
        let host_name = names.folded(user.as_str())?;
        users.check_denied(&host_name)?;
        let claimed = MailUser::new(self.name.clone());
        if !claimed.is_ok_and(|claimed| names.is_same(claimed.as_str(), &host_name)) {
            let what = format!(
                "the credential is of {host_name}, the client says {}",
                self.name
            );
            return Err(Failure::new(Reason::UserMismatch, what));
        }
        Ok(host_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::{Fallback, Settings};
    use nix::fcntl::{FcntlArg, fcntl};
    use sso_core::config::Config;
    use sso_core::credential::CredentialKind;
    use sso_core::fuzz_support::policy::Table;
    use sso_core::policy::host_names::HostNames;
    use sso_core::session_cache::Key;
    use std::collections::BTreeMap;
    use std::fs::OpenOptions;

    fn desk(state: &str, fallback: Option<Fallback>) -> Desk {
        let options = [
            ("caspt_url", "https://cas.univ.fr/cas"),
            ("caspt_allow_direct", "yes"),
            ("sso_state_dir", state),
        ];
        let general = Settings {
            config: Config::read(&Table(&options)).unwrap(),
            names: HostNames::Unknown,
            host: "mail.univ.fr".to_owned(),
            fallback,
        };
        let of_service = BTreeMap::new();
        let settings = DaemonSettings {
            general,
            of_service,
        };
        Desk::new(Offices::new(settings, None), Journal::start(true).unwrap()).unwrap()
    }

    /// A stopped process holds the lock of the session cache, and each write waits a second for it.
    #[test]
    fn writes_to_a_busy_session_cache_do_not_take_all_connections() {
        let directory = tempfile::tempdir().unwrap();
        let desk = Arc::new(desk(directory.path().to_str().unwrap(), None));
        let office = Arc::clone(&desk.offices().general);
        let log = desk.journal.clone();
        let write = |number| DeferredWrite::HostName {
            kind: CredentialKind::Ticket,
            key: Key::of_test(number),
            host_name: None,
        };
        // This creates the session cache.
        office.authenticator.write(&write(0), &log);
        let locks = OpenOptions::new()
            .read(true)
            .write(true)
            .open(directory.path().join("locks"))
            .unwrap();
        let writing = libc::flock {
            l_type: libc::F_WRLCK as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: 1,
            l_len: 1,
            l_pid: 0,
        };
        fcntl(&locks, FcntlArg::F_OFD_SETLK(&writing)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let places = Arc::new(Semaphore::new(4_096));
        runtime.block_on(async {
            for number in 0..4_096 {
                let place = Arc::clone(&places).try_acquire_owned().unwrap();
                let desk = Arc::clone(&desk);
                let deferred_write = write(number);
                let office = Arc::clone(&office);
                tokio::spawn(async move {
                    desk.write((office, deferred_write)).await;
                    drop(place);
                });
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            let free = places.available_permits();
            assert!(free >= 3_000, "{free} of 4096 connections are free");
        });
        runtime.shutdown_background();
    }

    #[test]
    fn passwords_that_wait_for_a_hanging_saslauthd_do_not_take_all_connections() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mux");
        let _hanging = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let user = nix::unistd::Uid::effective();
        let fallback = Some(Fallback { path, user });
        let desk = desk(directory.path().to_str().unwrap(), fallback);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let request = b"\0\x05alice\0\x06secret\0\x04imap\0\0";
        runtime.block_on(async {
            let waits = || tokio::time::timeout(Duration::from_millis(50), desk.answer(request));
            assert!(waits().await.is_err());
            let _others = desk.passed_on.acquire_many(PASSED_ON as u32).await;
            // Nobody could decide.
            assert!(waits().await.unwrap().text.is_empty());
        });
    }
}
