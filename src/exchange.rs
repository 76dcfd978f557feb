//! One exchange of a connection, by any of the mechanisms.

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

/// One exchange of a connection.
pub(crate) struct Exchange {
    authenticator: Arc<Authenticator>,
    mechanism: Mechanism,
    /// The service that the credential is presented to.
    service: String,
    state: State,
    /// The message to the client. The host reads it until the next step.
    challenge: String,
    /// Whether the host ends its exchanges: imapd does, timsieved does not.
    has_end: bool,
    /// The cache write to perform at the end of the exchange.
    deferred_write: Option<DeferredWrite>,
}

enum State {
    /// The client's message is expected.
    Begun,
    /// The client has received the error message. Whatever it answers, the exchange fails with this
    /// code.
    Refused(c_int),
    Ended,
}

/// A parsed message of any mechanism, and the verdict on its credential.
type Answered = Result<(Message<()>, Verdict), Failure>;

impl Exchange {
    /// Creates an exchange, or returns `None` if the mechanism is not configured.
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
        // A password may turn out to be a ticket, which has a service name of its own.
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

    /// Ends the exchange, and performs the deferred write: no client waits for it any more.
    pub(crate) fn end(mut self, log: &dyn Log) {
        self.open_session(log);
    }

    fn open_session(&mut self, log: &dyn Log) {
        if let Some(deferred_write) = self.deferred_write.take() {
            self.authenticator.write(&deferred_write, log);
        }
    }

    /// The message to send after a step that returns `SASL_CONTINUE`.
    pub(crate) fn challenge(&self) -> &str {
        &self.challenge
    }

    /// Performs one step, and returns libsasl2's result code.
    pub(crate) fn step(
        &mut self,
        connection: Connection<'_>,
        message: &[u8],
        result: &mut ffi::sasl_out_params_t,
    ) -> c_int {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Begun => match self.ordinary_password(message) {
                Some(plain) => connection.check_password(&plain, result),
                None => self.decide(connection, message, result),
            },
            State::Refused(code) => code,
            State::Ended => ffi::SASL_BADPROT,
        }
    }

    /// Parses a PLAIN message with an ordinary password. Returns `None` if the password looks like
    /// a credential: a credential is never tried as a password.
    fn ordinary_password<'m>(&self, message: &'m [u8]) -> Option<Plain<'m>> {
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
        // A new session of a ticket is written before the answer, so that an administrator finds it
        // by the name in the log. CAS has taken longer than this write.
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
            // Postfix logs nothing below a warning, not even why a login failed (xsasl_cyrus_log).
            Level::Notice if outcome.is_err() && connection.service() == "smtp" => Level::Warning,
            level => level,
        };
        connection.utils().write(level, &decision.line());
        let Err(failure) = &outcome else {
            return ffi::SASL_OK as c_int;
        };
        let code = status::code(failure.kind());
        connection.utils().set_error("single sign-on failed");
        match self.client_message(failure) {
            Some(challenge) => {
                self.challenge = challenge;
                self.state = State::Refused(code);
                ffi::SASL_CONTINUE as c_int
            }
            None => code,
        }
    }

    /// The error message for the client, if the failure is the client's fault.
    fn client_message(&self, failure: &Failure) -> Option<String> {
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

    /// Parses the message and authenticates its credential.
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

    /// Sets the authentication and the authorization identity. The host decides whether one may act
    /// as the other.
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
        // Compare both names in the host's canonical form: `Alice` and `alice` may be the same
        // user. The authenticated name comes last, because the host keeps the last name that it was
        // given.
        let claimed = match &message.authcid {
            None => None,
            Some(authcid) => {
                let claimed = mapping.mail_user(authcid)?;
                // The same name is canonicalized below.
                (claimed != *user)
                    .then(|| connection.set_authentication_id(claimed.as_str(), result))
            }
        };
        // A client that names itself as the authorization identity, by any of its names, acts as
        // itself.
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
        // The host could look up the credential's own user, so its directory works. A failed
        // look-up of another name, chosen by the client, is a refusal: clients must not find out
        // which names exist.
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

/// Runs `decide` with a deadline, which also passes when the host wants its process back.
fn with_deadline<T>(timeout: Option<Duration>, decide: impl FnOnce(&Deadline<'_>) -> T) -> T {
    // A cache hit never asks for the handlers.
    let handlers = OnceCell::new();
    let interrupted = || handlers.get_or_init(Handlers::now).has_fired();
    decide(&Deadline::new(timeout.unwrap_or_default(), &interrupted))
}
