//! One exchange of one connection, by whichever mechanism.

#![forbid(unsafe_code)]

use std::cell::OnceCell;
use std::ffi::c_int;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::host_utils::Connection;
use crate::mechanism::Mechanism;
use crate::signals::Handlers;
use crate::{ffi, status};
use sso_core::auth::login_event::LoginEvent;
use sso_core::auth::{Attempt, Authenticator, DeferredWrite, Source, Verdict};
use sso_core::credential::CredentialKind;
use sso_core::error::{Failure, Reason};
use sso_core::platform::deadline::Deadline;
use sso_core::platform::log::{Level, Log};
use sso_core::policy::user_mapping::{MailUser, SessionUser};
use sso_core::protocol::plain::Plain;
use sso_core::protocol::{Message, caspt, oauthbearer, xoauth2};
use sso_core::trace::CheckObserver;

/// One exchange of one connection.
pub(crate) struct Exchange {
    authenticator: Arc<Authenticator>,
    mechanism: Mechanism,
    /// The service that the credential is presented to.
    service: String,
    state: State,
    /// What the host sends to the client lives here until the next step.
    challenge: String,
    /// Whether the host ends its exchanges: imapd does, timsieved does not.
    has_end: bool,
    /// What is written at the end.
    deferred_write: Option<DeferredWrite>,
}

enum State {
    /// The client's message is expected.
    Begun,
    /// The client was told of its failure; whatever it answers, this is the end.
    Refused(c_int),
    Ended,
}

/// A client's message of whatever mechanism, and the answer to its credential.
type Answered = Result<(Message<()>, Verdict), Failure>;

impl Exchange {
    /// `None` if the mechanism is not configured.
    pub(crate) fn new(
        authenticator: Arc<Authenticator>,
        mechanism: Mechanism,
        connection: Connection<'_>,
    ) -> Option<Self> {
        let (service, host) = (connection.service(), connection.host());
        let has_end = service == "imap";
        let kind = mechanism.kind();
        if let Some(kind) = kind {
            authenticator.timeout(kind)?;
        }
        // Of a password that turns out to be a ticket the service is another one.
        let service = authenticator.service(kind.unwrap_or(CredentialKind::Token), &service, &host);
        Some(Self {
            authenticator,
            mechanism,
            service,
            state: State::Begun,
            challenge: String::new(),
            has_end,
            deferred_write: None,
        })
    }

    /// The end of the exchange, or of the connection that it opened: nobody
    /// waits now.
    pub(crate) fn end(mut self, log: &dyn Log) {
        self.open_session(log);
    }

    fn open_session(&mut self, log: &dyn Log) {
        if let Some(deferred_write) = self.deferred_write.take() {
            self.authenticator.write(&deferred_write, log);
        }
    }

    /// What is to be sent to the client after a step that says
    /// `SASL_CONTINUE`.
    pub(crate) fn challenge(&self) -> &str {
        &self.challenge
    }

    /// One step; the answer is libsasl2's code.
    pub(crate) fn step(
        &mut self,
        connection: Connection<'_>,
        message: &[u8],
        result: &mut ffi::sasl_out_params_t,
    ) -> c_int {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Begun => match self.ordinary(message) {
                Some(plain) => connection.check_password(&plain, result),
                None => self.decide(connection, message, result),
            },
            State::Refused(code) => code,
            State::Ended => ffi::SASL_BADPROT,
        }
    }

    /// A message of PLAIN with an ordinary password: nothing of ours. What is
    /// meant to be a credential never comes to be tried as a password.
    fn ordinary<'m>(&self, message: &'m [u8]) -> Option<Plain<'m>> {
        if self.mechanism != Mechanism::Plain {
            return None;
        }
        let plain = Plain::parse(message).ok()?;
        self.kind_of(&plain).is_none().then_some(plain)
    }

    fn kind_of(&self, plain: &Plain<'_>) -> Option<CredentialKind> {
        self.authenticator.kind_of_password(plain.password)
    }

    fn decide(
        &mut self,
        connection: Connection<'_>,
        message: &[u8],
        result: &mut ffi::sasl_out_params_t,
    ) -> c_int {
        let start = Instant::now();
        let client = connection.client();
        let (mut source, mut key, mut kind) = (None, None, None);
        let outcome = self
            .answer(connection, client.as_deref(), message)
            .and_then(|(message, mut verdict)| {
                (source, key, kind) = (verdict.source, verdict.key, verdict.kind);
                let user = verdict.result.as_ref().map_err(Failure::clone);
                let host_name =
                    user.and_then(|user| self.identify(connection, user, &message, result));
                if let Ok(host_name) = &host_name {
                    verdict.set_host_name(host_name);
                }
                self.deferred_write = verdict.deferred_write;
                host_name
            });
        // The session of a ticket is stored already: an administrator must find it by the
        // name that the log has. It is the first login, and CAS has taken longer.
        let is_new = source == Some(Source::Validated)
            && matches!(self.deferred_write, Some(DeferredWrite::HostName { .. }));
        if is_new || !self.has_end {
            self.open_session(&connection.utils());
        }
        let decision = LoginEvent {
            mechanism: self.mechanism.text(),
            service: &self.service,
            client: client.as_deref(),
            outcome: outcome.as_ref().map(String::as_str),
            source,
            key,
            kind,
            elapsed: start.elapsed(),
        };
        decision.count(&self.authenticator, &connection.utils());
        let level = match decision.level() {
            // Postfix writes nothing that matters less than a warning, not even
            // why a login failed (xsasl_cyrus_log).
            Level::Notice if outcome.is_err() && connection.service() == "smtp" => Level::Warning,
            level => level,
        };
        connection.utils().write(level, &decision.line());
        let Err(failure) = &outcome else {
            return ffi::SASL_OK as c_int;
        };
        let code = status::code(failure.kind());
        connection.utils().set_error("single sign-on failed");
        match self.told(failure) {
            Some(challenge) => {
                self.challenge = challenge;
                self.state = State::Refused(code);
                ffi::SASL_CONTINUE as c_int
            }
            None => code,
        }
    }

    /// What the client is told of a failure, if it is to blame.
    fn told(&self, failure: &Failure) -> Option<String> {
        let kind = failure.kind();
        match self.mechanism {
            Mechanism::Caspt => {
                let cas = self.authenticator.cas()?.urls.first()?.as_str();
                caspt::challenge(kind, cas, &self.service)
            }
            Mechanism::OAuthBearer => {
                oauthbearer::challenge(kind, self.authenticator.token_hint()?)
            }
            Mechanism::XOAuth2 => xoauth2::challenge(kind, self.authenticator.token_hint()?),
            Mechanism::Plain => None,
        }
    }

    /// Reads the message and has its credential decided on.
    fn answer(
        &mut self,
        connection: Connection<'_>,
        client: Option<&str>,
        message: &[u8],
    ) -> Answered {
        let message = match self.mechanism {
            Mechanism::Caspt => caspt::parse(message)?.of_any_kind(),
            Mechanism::OAuthBearer => oauthbearer::parse(message)?.of_any_kind(),
            Mechanism::XOAuth2 => xoauth2::parse(message)?.of_any_kind(),
            Mechanism::Plain => {
                let plain = Plain::parse(message)?;
                let ordinary = || Failure::new(Reason::InternalError, "an ordinary password");
                let kind = self.kind_of(&plain).ok_or_else(ordinary)?;
                let (service, host) = (connection.service(), connection.host());
                self.service = self.authenticator.service(kind, &service, &host);
                plain.message(kind)?
            }
        };
        let (message, credential) = message.without_credential();
        let timeout = self.authenticator.timeout(credential.kind());
        let verdict = with_deadline(timeout, |deadline| {
            let attempt = Attempt {
                mechanism: self.mechanism.text(),
                service: &self.service,
                client,
                claimed: message.authcid.as_deref(),
                deadline,
                log: &connection.utils(),
                observer: CheckObserver::NONE,
            };
            self.authenticator.authenticate(&credential, &attempt)
        });
        Ok((message, verdict))
    }

    /// Gives the host its two identities. Whether the one may act as the other
    /// is for the host to decide.
    fn identify(
        &self,
        connection: Connection<'_>,
        user: &SessionUser,
        message: &Message<()>,
        result: &mut ffi::sasl_out_params_t,
    ) -> Result<String, Failure> {
        let users = self.authenticator.users();
        let mapping = &users.mapping;
        let user = &user.mail_user;
        users.check_denied(user.as_str())?;
        // Both names as the host writes them: `Alice` and `alice` may be one.
        // The real one last, for the host keeps what it was given last.
        let claimed = match &message.authcid {
            None => None,
            Some(authcid) => {
                let claimed = mapping.mail_user(authcid)?;
                // What the host makes of the same name it makes below.
                (claimed != *user)
                    .then(|| connection.set_authentication_id(claimed.as_str(), result))
            }
        };
        // Who names itself as the one to act as, by whichever of its names, acts
        // as itself.
        let is_itself = |authzid: &String| {
            Some(authzid) == message.authcid.as_ref()
                || mapping.mail_user(authzid).is_ok_and(|same| same == *user)
        };
        let other = message
            .authzid
            .as_ref()
            .filter(|authzid| !is_itself(authzid));
        let actual = match other {
            None => connection.set_both_ids(user.as_str(), result)?,
            Some(_) => connection.set_authentication_id(user.as_str(), result)?,
        };
        users.check_host_name(user, &actual)?;
        // The host could look up the credential's own user, so nothing is out of order. That
        // it could not look up another name, of the client's making, is a refusal like any
        // other: clients are not to find out which names there are.
        let not_accepted =
            |failure: Failure| Failure::new(Reason::UserNotAccepted, failure.detail());
        if let Some(claimed) = claimed {
            let claimed = claimed.map_err(not_accepted)?;
            if claimed != actual {
                return Err(Failure::new(
                    Reason::UserMismatch,
                    format!("the credential is of {actual}, the client says {claimed}"),
                ));
            }
        }
        if let Some(other) = other {
            let other = MailUser::new(other.clone())?;
            let set = connection.set_authorization_id(other.as_str(), result);
            users.check_host_name(&other, &set.map_err(not_accepted)?)?;
        }
        Ok(actual)
    }
}

/// Runs `decide` with so much patience, which ends if the host's process is to.
fn with_deadline<T>(timeout: Option<Duration>, decide: impl FnOnce(&Deadline<'_>) -> T) -> T {
    // What is known is answered without waiting: then nobody asks.
    let handlers = OnceCell::new();
    let interrupted = || handlers.get_or_init(Handlers::now).has_fired();
    decide(&Deadline::new(timeout.unwrap_or_default(), &interrupted))
}
