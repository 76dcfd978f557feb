//! Checks of a credential, and the observer that `sasl-sso explain` attaches to them.
//!
//! A check is a function beside its rule. It returns a [`Check`]: the result, and how to describe
//! what was compared. [`Checks`] runs the checks of one credential in order. A login has no
//! observer: nothing is described, and the first failure ends the validation. With an observer,
//! checks that do not depend on a failed one still run, and each is reported. The first failure
//! decides in both cases.

#![forbid(unsafe_code)]

use crate::error::Failure;

/// Declares [`Step`] and the stable words of its variants in one table.
macro_rules! steps {
    ($($(#[doc = $doc:literal])+ $name:ident $word:literal;)+) => {
        /// The steps of a validation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Step {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Step {
            /// The stable word for the step, as `sasl-sso explain` prints it.
            pub fn word(self) -> &'static str {
                match self { $(Step::$name => $word,)+ }
            }
        }
    };
}

steps! {
    /// The form of the credential, before it is parsed.
    Form "form";
    /// The look-up in the session cache.
    Session "session";
    /// The token's header (RFC 7515, section 4).
    Header "header";
    /// The token's payload, as JSON.
    Claims "claims";
    /// The `iss` claim: which configured issuer the token names.
    Issuer "issuer";
    /// The `typ` of the header.
    Type "type";
    /// The `alg` of the header.
    Algorithm "algorithm";
    /// The issuer's keys, and which of them may verify the token.
    Keys "keys";
    /// The signature.
    Signature "signature";
    /// The `aud` claim: whom the token is intended for.
    Audience "aud";
    /// The `exp` claim.
    Expiry "exp";
    /// The `nbf` claim.
    NotBefore "nbf";
    /// The `iat` claim.
    IssuedAt "iat";
    /// The age of the token, which `jwt_max_age` limits.
    Age "age";
    /// Whether the token is a bearer access token.
    Purpose "purpose";
    /// The claim or the attribute that contains the user name.
    UserClaim "user";
    /// Whether the token was issued for a person and not for a client.
    Person "person";
    /// The circuit breaker and the rate limit of the CAS server.
    Server "server";
    /// The request to the CAS server.
    Request "request";
    /// The CAS server's reply.
    Reply "reply";
    /// One proxy of the ticket's proxy chain.
    Proxy "proxy";
    /// One condition of `caspt_require` or `jwt_require`.
    Rule "rule";
    /// The principal.
    Principal "principal";
    /// The mail user that the principal is mapped to.
    MailUser "mail user";
    /// The mail server's canonical form of the mail user.
    HostName "host's name";
    /// Whether the mail user is the one that the client claims to be.
    Claimed "claimed";
}

/// What a check compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// The value in the credential or in the server's reply.
    pub actual: String,
    /// The value that the configuration or a standard requires; empty if none is required.
    pub expected: String,
}

impl Comparison {
    /// Creates a comparison of `actual` with nothing.
    pub fn actual(actual: impl Into<String>) -> Self {
        Self {
            actual: actual.into(),
            expected: String::new(),
        }
    }

    /// Sets the expected value.
    pub fn expected(self, expected: impl Into<String>) -> Self {
        Self {
            expected: expected.into(),
            ..self
        }
    }
}

/// How to describe what a check compared. It is called only if there is an observer.
pub trait Describe: FnOnce() -> Comparison {}

impl<D: FnOnce() -> Comparison> Describe for D {}

/// A check that was made: its step, its result, and how to describe what it compared.
#[must_use = "the failure of a check counts only if the check is run"]
pub struct Check<T, D: Describe> {
    step: Step,
    result: Result<T, Failure>,
    describe: D,
}

impl<T, D: Describe> Check<T, D> {
    /// Creates a check with its result.
    pub fn new(step: Step, result: Result<T, Failure>, describe: D) -> Self {
        Self {
            step,
            result,
            describe,
        }
    }
}

/// A check as an observer sees it.
#[derive(Clone, Debug)]
pub struct CheckRecord {
    /// The step.
    pub step: Step,
    /// What was compared. The texts may contain data of other people, and a part of the ticket
    /// that a CAS server has quoted.
    pub comparison: Comparison,
    /// The result.
    pub result: CheckResult,
}

/// The result of a check, without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckResult {
    /// The check passed.
    Passed,
    /// The check failed.
    Failed(Failure),
    /// The record is information only: nothing was checked.
    Noted,
}

/// The observer of checks; none during a normal login.
#[derive(Clone, Copy, Default)]
pub struct CheckObserver<'o>(Option<&'o dyn Fn(CheckRecord)>);

impl<'o> CheckObserver<'o> {
    /// No observer.
    pub const NONE: Self = Self(None);

    /// Creates an observer that passes each record to `report`.
    pub fn new(report: &'o dyn Fn(CheckRecord)) -> Self {
        Self(Some(report))
    }

    /// Reports information that is not checked.
    pub fn note(self, step: Step, describe: impl Describe) {
        if let Some(report) = self.0 {
            report(CheckRecord {
                step,
                comparison: describe(),
                result: CheckResult::Noted,
            });
        }
    }

    /// Reports a check, and returns its result.
    ///
    /// # Errors
    /// The failure of the check.
    pub fn observe<T, D: Describe>(self, check: Check<T, D>) -> Result<T, Failure> {
        if let Some(report) = self.0 {
            report(CheckRecord {
                step: check.step,
                comparison: (check.describe)(),
                result: match &check.result {
                    Ok(_) => CheckResult::Passed,
                    Err(failure) => CheckResult::Failed(failure.clone()),
                },
            });
        }
        check.result
    }
}

/// The checks of one credential, in order.
pub struct Checks<'o> {
    observer: CheckObserver<'o>,
    first_failure: Option<Failure>,
}

impl<'o> Checks<'o> {
    /// Creates an empty list of checks.
    pub fn new(observer: CheckObserver<'o>) -> Self {
        Self {
            observer,
            first_failure: None,
        }
    }

    /// The observer of the checks.
    pub fn observer(&self) -> CheckObserver<'o> {
        self.observer
    }

    /// Runs a check that the following ones depend on, and returns its value.
    ///
    /// # Errors
    /// The first failure of all checks so far.
    pub fn require<T, D: Describe>(&mut self, check: Check<T, D>) -> Result<T, Failure> {
        let result = self.observer.observe(check);
        result.map_err(|failure| self.first_failure.take().unwrap_or(failure))
    }

    /// Runs a check that the following ones do not depend on. Returns its value, or `None` if it
    /// failed and an observer is to see the following checks too.
    ///
    /// # Errors
    /// The failure, if there is no observer.
    pub fn run<T, D: Describe>(&mut self, check: Check<T, D>) -> Result<Option<T>, Failure> {
        match self.observer.observe(check) {
            Ok(value) => Ok(Some(value)),
            Err(failure) if self.observer.0.is_none() => Err(failure),
            Err(failure) => {
                self.first_failure.get_or_insert(failure);
                Ok(None)
            }
        }
    }

    /// Returns whether all checks passed.
    ///
    /// # Errors
    /// The first failure of all checks.
    pub fn finish(self) -> Result<(), Failure> {
        self.first_failure.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::error::Reason;

    /// Runs three checks, of which two fail, and counts the descriptions in `described`.
    fn run(observer: CheckObserver<'_>, described: &RefCell<u32>) -> Result<(), Failure> {
        let mut checks = Checks::new(observer);
        let describe = || {
            *described.borrow_mut() += 1;
            Comparison::default()
        };
        checks.require(Check::new(Step::Form, Ok(()), describe))?;
        let expired: Result<(), _> = Err(Failure::new(Reason::TokenExpired, "expired"));
        checks.run(Check::new(Step::Expiry, expired, describe))?;
        let foreign: Result<(), _> = Err(Failure::new(Reason::AudienceNotAllowed, "foreign"));
        checks.require(Check::new(Step::Audience, foreign, describe))?;
        checks.finish()
    }

    #[test]
    fn first_failure_decides_with_and_without_an_observer() {
        let (records, described) = (RefCell::new(Vec::new()), RefCell::default());
        let report = |record: CheckRecord| {
            let has_passed = record.result == CheckResult::Passed;
            records.borrow_mut().push((record.step, has_passed));
        };
        let observed = run(CheckObserver::new(&report), &described).unwrap_err();
        assert_eq!(observed.reason(), Reason::TokenExpired);
        let steps = [
            (Step::Form, true),
            (Step::Expiry, false),
            (Step::Audience, false),
        ];
        assert_eq!(*records.borrow(), steps);
        described.replace(0);
        assert_eq!(run(CheckObserver::NONE, &described), Err(observed));
        assert_eq!(*described.borrow(), 0);
    }
}
