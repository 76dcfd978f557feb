//! The mechanism CASPT, as one connection goes through it.

#![forbid(unsafe_code)]

use std::cell::OnceCell;
use std::ffi::c_int;
use std::sync::Arc;
use std::time::Instant;

use super::host::Connection;
use super::signals::Handlers;
use super::{sasl, status};
use crate::authenticate::{Engine, Verdict};
use crate::deadline::Deadline;
use crate::decision::Decision;
use crate::log::Log;
use crate::outcome::{Failure, Reason};
use crate::principal::Principal;
use crate::wire::caspt::{Message, challenge};

pub(super) const NAME: &std::ffi::CStr = c"CASPT";

/// One exchange of one connection.
pub(super) struct Exchange {
    engine: Arc<Engine>,
    /// The service that the ticket must be for.
    service: String,
    state: State,
    /// What the host sends to the client lives here until the next step.
    challenge: String,
}

enum State {
    /// The client's message is expected.
    Begun,
    /// The client was told of its failure; whatever it answers, this is the end.
    Refused(c_int),
    Ended,
}

impl Exchange {
    pub(super) fn new(engine: Arc<Engine>, connection: Connection<'_>) -> Option<Self> {
        let service = engine
            .cas()?
            .service
            .name(&connection.service(), &connection.host());
        Some(Self {
            engine,
            service,
            state: State::Begun,
            challenge: String::new(),
        })
    }

    /// What is to be sent to the client after a step that says
    /// `SASL_CONTINUE`.
    pub(super) fn challenge(&self) -> &str {
        &self.challenge
    }

    /// One step; the answer is libsasl2's code.
    pub(super) fn step(
        &mut self,
        connection: Connection<'_>,
        message: &[u8],
        result: &mut sasl::sasl_out_params_t,
    ) -> c_int {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Begun => self.decide(connection, message, result),
            State::Refused(code) => code,
            State::Ended => sasl::SASL_BADPROT,
        }
    }

    fn decide(
        &mut self,
        connection: Connection<'_>,
        message: &[u8],
        result: &mut sasl::sasl_out_params_t,
    ) -> c_int {
        let start = Instant::now();
        let client = connection.client();
        let mut verdict = None;
        let outcome = self.log_in(connection, message, result, &mut verdict);
        let decision = Decision {
            mechanism: "CASPT",
            service: &self.service,
            client: client.as_deref(),
            outcome: outcome.as_ref().map(String::as_str),
            source: verdict.as_ref().and_then(|verdict| verdict.source),
            key: verdict.as_ref().and_then(|verdict| verdict.key),
            elapsed: start.elapsed(),
        };
        connection.utils().write(decision.level(), &decision.line());
        let Err(failure) = &outcome else {
            return sasl::SASL_OK as c_int;
        };
        let code = status::code(failure.kind());
        connection.utils().set_error("single sign-on failed");
        match self.told(failure) {
            Some(challenge) => {
                self.challenge = challenge;
                self.state = State::Refused(code);
                sasl::SASL_CONTINUE as c_int
            }
            None => code,
        }
    }

    /// What the client is told of a failure, if it is to blame.
    fn told(&self, failure: &Failure) -> Option<String> {
        let cas = self.engine.cas()?.urls.first()?.as_str();
        challenge(failure.kind(), cas, &self.service)
    }

    /// The whole login: the mail user that `result` now speaks of.
    fn log_in(
        &self,
        connection: Connection<'_>,
        message: &[u8],
        result: &mut sasl::sasl_out_params_t,
        verdict: &mut Option<Verdict>,
    ) -> Result<String, Failure> {
        let message = Message::parse(message)?;
        let Some(cas) = self.engine.cas() else {
            return Err(Failure::new(Reason::InternalError, "CAS is not configured"));
        };
        // A known ticket never waits: then nobody asks.
        let handlers = OnceCell::new();
        let interrupted = || handlers.get_or_init(Handlers::now).has_fired();
        let deadline = Deadline::new(cas.timeout, &interrupted);
        let verdict = verdict.insert(self.engine.ticket(
            &message.ticket,
            &self.service,
            &deadline,
            &connection.utils(),
        ));
        let principal = verdict.result.as_ref().map_err(Clone::clone)?;
        self.identify(connection, principal, &message, result)
    }

    /// Gives the host its two identities. Whether the one may act as the other
    /// is for the host to decide.
    fn identify(
        &self,
        connection: Connection<'_>,
        principal: &Principal,
        message: &Message,
        result: &mut sasl::sasl_out_params_t,
    ) -> Result<String, Failure> {
        let mapping = self.engine.mapping();
        let user = mapping.mail_user(principal.as_str())?;
        // Both names as the host writes them: `Alice` and `alice` may be one.
        // The real one last, for the host keeps what it was given last.
        let claimed = match &message.authcid {
            None => None,
            Some(authcid) => {
                let claimed = mapping.mail_user(authcid)?;
                Some(connection.set_authentication_id(&claimed, result)?)
            }
        };
        // Who names itself as the one to act as, by whichever of its names, acts
        // as itself.
        let is_itself = |authzid: &String| {
            Some(authzid) == message.authcid.as_ref()
                || mapping.mail_user(authzid).is_ok_and(|same| same == user)
        };
        let other = message
            .authzid
            .as_ref()
            .filter(|authzid| !is_itself(authzid));
        let actual = match other {
            None => connection.set_both_ids(&user, result)?,
            Some(_) => connection.set_authentication_id(&user, result)?,
        };
        if let Some(claimed) = claimed
            && claimed != actual
        {
            return Err(Failure::new(
                Reason::UserMismatch,
                format!("the ticket is of {actual}, the client says {claimed}"),
            ));
        }
        if let Some(other) = other {
            connection.set_authorization_id(other, result)?;
        }
        Ok(actual)
    }
}
