//! Decides which component answers a request: the session cache, a worker, or the host's own
//! saslauthd.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::libc;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::log_writer::AsyncLogger;
use super::validations::Validations;
use super::{DaemonSettings, DaemonState, ServiceState, fallback};
use sso_core::auth::login_event::LoginEvent;
use sso_core::auth::{DeferredWrite, Verdict};
use sso_core::credential::Credential;
use sso_core::error;
use sso_core::error::{Failure, Reason};
use sso_core::platform::log::{Level, Log};
use sso_core::policy::user_mapping::{MailUser, SessionUser};
use sso_core::protocol::saslauthd::{NO, OK, Request};

/// The number of concurrent deferred writes.
pub(crate) const MAX_WRITERS: usize = 4;

/// The maximum number of deferred writes that run or wait. Each keeps a connection occupied, and
/// other clients must be able to log in while the session cache is busy.
const MAX_PENDING_WRITES: usize = 1_024;

/// The maximum number of ordinary passwords that wait for the host's own saslauthd: three quarters
/// of all connections. Tickets and tokens are validated even if saslauthd hangs.
const MAX_PASSWORDS_WAITING: usize = 3_072;

/// The name of the mechanism in the log.
pub(crate) const MECHANISM: &str = "saslauthd";

/// Answers requests.
pub(crate) struct RequestHandler {
    state: RwLock<Arc<DaemonState>>,
    logger: AsyncLogger,
    validations: Validations,
    writers: Semaphore,
    pending_writes: Semaphore,
    passed_on: Semaphore,
    /// When it was last logged that connections cannot be accepted.
    last_complaint: Mutex<Option<Instant>>,
}

/// The answer to a client, and the write to perform afterwards.
pub(crate) struct Answer {
    /// The bytes of the answer; empty after an outage, for which the protocol has no word. If a
    /// connection ends without an answer, libsasl2 reports a failure that is not the client's
    /// (`SASL_FAIL`): Postfix then replies 454 and not 535.
    pub(crate) text: Cow<'static, [u8]>,
    pub(crate) deferred_write: Option<(Arc<ServiceState>, DeferredWrite)>,
}

/// A request with a credential in the place of the password.
pub(crate) struct Login {
    pub(crate) service_state: Arc<ServiceState>,
    /// The user name in the request, in the host's canonical form.
    pub(crate) name: String,
    pub(crate) service: String,
    pub(crate) client: Option<String>,
    pub(crate) credential: Credential,
    pub(crate) start: Instant,
}

impl RequestHandler {
    /// Creates a handler.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub(crate) fn new(state: DaemonState, logger: AsyncLogger) -> Result<Self, Failure> {
        Ok(Self {
            state: RwLock::new(Arc::new(state)),
            logger,
            validations: Validations::new()?,
            writers: Semaphore::new(MAX_WRITERS),
            pending_writes: Semaphore::new(MAX_PENDING_WRITES),
            passed_on: Semaphore::new(MAX_PASSWORDS_WAITING),
            last_complaint: Mutex::new(None),
        })
    }

    /// Activates new settings. Returns a line for the log.
    pub(crate) fn change(&self, settings: DaemonSettings) -> &'static str {
        let before = self.state();
        let is_all = before
            .general
            .authenticator
            .can_become(&settings.general.config);
        *self.state.write() = Arc::new(DaemonState::new(settings, Some(&before)));
        if is_all {
            "sso: the configuration was read again; where it serves is as it was"
        } else {
            "sso: the configuration was read again, but for sso_state_dir and sso_sessions: for them \
             restart the daemon"
        }
    }

    /// The answer to a request that is complete and a cache hit.
    pub(crate) fn try_answer(&self, bytes: &[u8]) -> Option<Answer> {
        let request = Request::parse(bytes).ok()??;
        let login = Login::new(self.state().for_request(&request), &request)?.ok()?;
        let verdict = login.try_lookup(&self.logger)?;
        Some(self.conclude(&login, verdict))
    }

    /// The answer to a complete request.
    pub(crate) async fn answer(&self, bytes: &[u8]) -> Answer {
        let start = Instant::now();
        let state = self.state();
        let request = match Request::parse(bytes) {
            Ok(Some(request)) => request,
            Ok(None) => return Answer::NONE,
            Err(failure) => return self.refuse(None, &failure, start),
        };
        let service_state = state.for_request(&request);
        match Login::new(Arc::clone(&service_state), &request) {
            // What looks like a credential is never tried as a password, whichever service accepts
            // it.
            None if state.is_credential(request.password) => {
                let what = "a credential of a kind that this service does not take";
                let failure = Failure::new(Reason::NoCredential, what);
                self.refuse(Some(&request), &failure, start)
            }
            None => self.pass_on(&service_state, &request, start).await,
            Some(Ok(login)) => self.decide(login).await,
            Some(Err(failure)) => self.refuse(Some(&request), &failure, start),
        }
    }

    fn state(&self) -> Arc<DaemonState> {
        Arc::clone(&self.state.read())
    }

    /// Has the host's own saslauthd answer.
    async fn pass_on(
        &self,
        service_state: &ServiceState,
        request: &Request<'_>,
        start: Instant,
    ) -> Answer {
        let place = self.passed_on.try_acquire();
        let answer = match (&service_state.fallback, &place) {
            (Some(fallback), Ok(_)) => {
                fallback::ask(fallback, &service_state.pollers, request.bytes).await
            }
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
        // A request that arrived in pieces has not been looked up yet.
        let verdict = match login.try_lookup(&self.logger) {
            Some(verdict) => verdict,
            None => self.validations.verdict(&login, &self.logger).await,
        };
        self.conclude(&login, verdict)
    }

    /// Compares the credential's user with the name in the request, logs the login, and creates the
    /// answer.
    fn conclude(&self, login: &Login, mut verdict: Verdict) -> Answer {
        let user = verdict.result.as_ref().map_err(Failure::clone);
        let outcome = user.and_then(|user| login.host_name(user));
        if let Ok(host_name) = &outcome {
            verdict.set_host_name(host_name);
        }
        let text = self.log_login(&LoginEvent {
            mechanism: MECHANISM,
            service: &login.service,
            client: login.client.as_deref(),
            outcome: outcome.as_ref().map(String::as_str),
            source: verdict.source,
            key: verdict.key,
            kind: verdict.kind,
            elapsed: login.start.elapsed(),
        });
        let of_office = |deferred_write| (Arc::clone(&login.service_state), deferred_write);
        Answer {
            text: Cow::Borrowed(text),
            deferred_write: verdict.deferred_write.map(of_office),
        }
    }

    /// Logs why a request without a credential is refused.
    pub(crate) fn refuse(
        &self,
        request: Option<&Request<'_>>,
        failure: &Failure,
        start: Instant,
    ) -> Answer {
        let service = request.and_then(|request| request.service().ok());
        Answer::at_once(self.log_login(&LoginEvent {
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

    /// Logs a login, and returns the answer to the client.
    fn log_login(&self, decision: &LoginEvent<'_>) -> &'static [u8] {
        decision.count(&self.state().general.authenticator, &self.logger);
        self.logger.write(decision.level(), &decision.line());
        match decision.outcome.map_err(Failure::kind) {
            Ok(_) => OK,
            Err(error::FailureKind::Unavailable | error::FailureKind::Internal) => &[],
            Err(_) => NO,
        }
    }

    /// Performs a deferred write, without using a worker. Beyond [`MAX_PENDING_WRITES`] the write
    /// is dropped: it only spares later logins a validation, and the log shows the problem of the
    /// session cache.
    pub(crate) async fn write(
        &self,
        (service_state, deferred_write): (Arc<ServiceState>, DeferredWrite),
    ) {
        let Ok(_pending) = self.pending_writes.try_acquire() else {
            return;
        };
        let _writer = self.writers.acquire().await;
        let logger = self.logger.clone();
        let _ = spawn_blocking(move || service_state.authenticator.write(&deferred_write, &logger))
            .await;
    }

    /// Logs that connections cannot be accepted, at most once a minute.
    pub(crate) fn log_accept_error(&self, error: &io::Error) {
        let mut last_complaint = self.last_complaint.lock();
        if last_complaint.is_none_or(|last| last.elapsed() >= Duration::from_secs(60)) {
            *last_complaint = Some(Instant::now());
            let remedy = match error.raw_os_error() {
                Some(libc::EMFILE | libc::ENFILE) => "raise LimitNOFILE",
                _ => "look what the socket is",
            };
            let line = format!("sso: connections cannot be taken: {error}; {remedy}");
            self.logger.write(Level::Error, &line);
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
    /// Creates a login from a request; `None` if its password is an ordinary one.
    fn new(
        service_state: Arc<ServiceState>,
        request: &Request<'_>,
    ) -> Option<Result<Self, Failure>> {
        let start = Instant::now();
        let kind = service_state
            .authenticator
            .kind_of_password(request.password)?;
        let read = || {
            let unnamed = || Failure::new(Reason::MessageMalformed, "the request names no user");
            let service = request.service()?;
            Ok(Self {
                name: request.login()?.ok_or_else(unnamed)?,
                service: service_state
                    .authenticator
                    .service(kind, &service, &service_state.host),
                client: request.client().map(str::to_owned),
                credential: Credential::parse(kind, request.password)?,
                service_state: Arc::clone(&service_state),
                start,
            })
        };
        Some(read())
    }

    /// The verdict of a cache hit.
    pub(crate) fn try_lookup(&self, log: &dyn Log) -> Option<Verdict> {
        let authenticator = &self.service_state.authenticator;
        authenticator.try_lookup(&self.credential, &self.service, log)
    }

    /// The host's name of `user`, if it equals the name in the request. The host has canonicalized
    /// the name in the request and opens the mailbox of exactly that name, so it is compared and
    /// never mapped.
    ///
    /// A domain that the host has added cannot be distinguished from one that the client has sent,
    /// so it is refused whatever `sso_host_names` allows. Only the plugin can ask the host.
    fn host_name(&self, user: &SessionUser) -> Result<String, Failure> {
        let ServiceState {
            authenticator,
            names,
            ..
        } = &*self.service_state;
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

    fn settings(state: &str, fallback: Option<Fallback>) -> Settings {
        let options = [
            ("caspt_url", "https://cas.univ.fr/cas"),
            ("caspt_allow_direct", "yes"),
            ("sso_state_dir", state),
        ];
        Settings {
            config: Config::read(&Table(&options)).unwrap(),
            names: HostNames::Unknown,
            host: "mail.univ.fr".to_owned(),
            fallback,
        }
    }

    fn handler(general: Settings, of_service: BTreeMap<String, Settings>) -> RequestHandler {
        let settings = DaemonSettings {
            general,
            of_service,
        };
        let state = DaemonState::new(settings, None);
        RequestHandler::new(state, AsyncLogger::start(true).unwrap()).unwrap()
    }

    /// A stopped process holds the lock of the session cache, and each write waits a second for it.
    #[test]
    fn writes_to_a_busy_session_cache_do_not_take_all_connections() {
        let directory = tempfile::tempdir().unwrap();
        let handler = Arc::new(handler(
            settings(directory.path().to_str().unwrap(), None),
            BTreeMap::new(),
        ));
        let service_state = Arc::clone(&handler.state().general);
        let log = handler.logger.clone();
        let write = |number| DeferredWrite::HostName {
            kind: CredentialKind::Ticket,
            key: Key::of_test(number),
            host_name: None,
        };
        // This creates the session cache.
        service_state.authenticator.write(&write(0), &log);
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
                let handler = Arc::clone(&handler);
                let deferred_write = write(number);
                let service_state = Arc::clone(&service_state);
                tokio::spawn(async move {
                    handler.write((service_state, deferred_write)).await;
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
        let handler = handler(
            settings(directory.path().to_str().unwrap(), fallback),
            BTreeMap::new(),
        );
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let request = b"\0\x05alice\0\x06secret\0\x04imap\0\0";
        runtime.block_on(async {
            let waits = || tokio::time::timeout(Duration::from_millis(50), handler.answer(request));
            assert!(waits().await.is_err());
            let _others = handler
                .passed_on
                .acquire_many(MAX_PASSWORDS_WAITING as u32)
                .await;
            // An outage has an empty answer.
            assert!(waits().await.unwrap().text.is_empty());
        });
    }

    #[test]
    fn full_queue_of_one_saslauthd_does_not_block_another() {
        use nix::sys::socket::{
            AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
        };
        use std::io::{Read, Write};
        use std::os::fd::AsRawFd;
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().to_str().unwrap();
        let user = nix::unistd::Uid::effective();
        let fallback = |name: &str| Fallback {
            path: directory.path().join(name),
            user,
        };
        let (full, good) = (fallback("full"), fallback("good"));
        let flags = SockFlag::SOCK_CLOEXEC;
        let queue = socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
        bind(queue.as_raw_fd(), &UnixAddr::new(&full.path).unwrap()).unwrap();
        listen(&queue, Backlog::new(0).unwrap()).unwrap();
        let listener = std::os::unix::net::UnixListener::bind(&good.path).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 100]);
            stream.write_all(OK).unwrap();
        });
        let of_service = BTreeMap::from([("smtp".to_owned(), settings(state, Some(full)))]);
        let handler = Arc::new(handler(settings(state, Some(good)), of_service));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            for _ in 0..20 {
                let handler = Arc::clone(&handler);
                let request = b"\0\x05alice\0\x06secret\0\x04smtp\0\0";
                tokio::spawn(async move { handler.answer(request).await });
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            let answer = handler.answer(b"\0\x05alice\0\x06secret\0\x04imap\0\0");
            let answer = tokio::time::timeout(Duration::from_secs(5), answer).await;
            assert_eq!(&*answer.unwrap().text, OK);
        });
        runtime.shutdown_background();
    }
}
