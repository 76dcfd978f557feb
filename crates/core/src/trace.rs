//! Who looks on while a credential is judged: each check tells the values that it
//! compared, and what came of it.
//!
//! There is one judge, whether somebody looks on or not. If nobody does, as in every
//! login, nothing is told and the first check that fails is the last. If somebody
//! does, those that do not depend on it are made as well; the first that failed is
//! what decides in either case.

#![forbid(unsafe_code)]

use crate::error::Failure;

/// Declares [`Step`] with its word in one table.
macro_rules! steps {
    ($($(#[doc = $doc:literal])+ $name:ident $word:literal;)+) => {
        /// A step of the judgement.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Step {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Step {
            /// The stable word for it.
            pub fn word(self) -> &'static str {
                match self { $(Step::$name => $word,)+ }
            }
        }
    };
}

steps! {
    /// The form of the credential, before anything in it is read.
    Form "form";
    /// Whether the host knows it already.
    Session "session";
    /// What a token's header says.
    Header "header";
    /// The claims of a token, as JSON.
    Claims "claims";
    /// Whose it says it is.
    Issuer "issuer";
    /// Its type.
    Type "type";
    /// Whether its algorithm is taken.
    Algorithm "algorithm";
    /// The issuer's keys.
    Keys "keys";
    /// The signature.
    Signature "signature";
    /// For whom the token is.
    Audience "aud";
    /// Its end.
    Expiry "exp";
    /// Its beginning.
    NotBefore "nbf";
    /// When it was issued.
    IssuedAt "iat";
    /// Whether that is too long ago.
    Age "age";
    /// Whether it is an access token that whoever has it may use.
    Purpose "purpose";
    /// The claim or the attribute that names the user.
    UserClaim "user";
    /// Whether it speaks for a person.
    Person "person";
    /// Whether the server may be asked now.
    Server "server";
    /// What it was asked, and what came back.
    Request "request";
    /// What that says.
    Reply "reply";
    /// A proxy of a ticket's chain.
    Proxy "proxy";
    /// A condition of the administrator's.
    Rule "rule";
    /// The user's name.
    Principal "principal";
    /// The mail user of that name.
    MailUser "mail user";
    /// That as the host writes it.
    HostName "host's name";
    /// Whether it is who the client says it is.
    Claimed "claimed";
}

/// What a check compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// What the credential, or the server, says.
    pub found: String,
    /// What is wanted of that, if anything.
    pub wanted: String,
}

impl Told {
    /// What was found, where nothing is wanted of it.
    pub fn found(found: impl Into<String>) -> Self {
        Self {
            found: found.into(),
            wanted: String::new(),
        }
    }

    /// The same, and what is wanted of it.
    pub fn wanted(self, wanted: impl Into<String>) -> Self {
        Self {
            wanted: wanted.into(),
            ..self
        }
    }
}

/// A check that was made.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which.
    pub step: Step,
    /// What was compared. It may hold what somebody else has written, and what a
    /// ticket's server has quoted of the ticket.
    pub told: Told,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is as it should be.
    Good,
    /// It is not.
    Failed(Failure),
    /// Nothing was to be checked.
    Noted,
}

/// Who looks on, if anybody does.
#[derive(Clone, Copy, Default)]
pub struct Witness<'w>(Option<&'w dyn Fn(Seen)>);

impl<'w> Witness<'w> {
    /// Nobody.
    pub const NOBODY: Self = Self(None);

    /// One who is told of each check.
    pub fn new(tell: &'w dyn Fn(Seen)) -> Self {
        Self(Some(tell))
    }

    /// Tells of something that is not checked.
    pub fn tell(self, step: Step, told: impl FnOnce() -> Told) {
        if let Some(tell) = self.0 {
            tell(Seen {
                step,
                told: told(),
                outcome: Outcome::Noted,
            });
        }
    }

    /// Tells what came of a check; `told` is given its result, if it has one.
    ///
    /// # Errors
    /// As `result`.
    pub fn see<T>(
        self,
        step: Step,
        told: impl FnOnce(Option<&T>) -> Told,
        result: Result<T, Failure>,
    ) -> Result<T, Failure> {
        if let Some(tell) = self.0 {
            tell(Seen {
                step,
                told: told(result.as_ref().ok()),
                outcome: match &result {
                    Ok(_) => Outcome::Good,
                    Err(failure) => Outcome::Failed(failure.clone()),
                },
            });
        }
        result
    }
}

/// The checks of one credential.
pub struct Checks<'w> {
    /// Who looks on.
    pub witness: Witness<'w>,
    failed: Option<Failure>,
}

impl<'w> Checks<'w> {
    /// None yet.
    pub fn new(witness: Witness<'w>) -> Self {
        Self {
            witness,
            failed: None,
        }
    }

    /// One without whose result the others cannot be made.
    ///
    /// # Errors
    /// The first failure of all.
    pub fn must<T>(
        &mut self,
        step: Step,
        told: impl FnOnce(Option<&T>) -> Told,
        result: Result<T, Failure>,
    ) -> Result<T, Failure> {
        let result = self.witness.see(step, told, result);
        result.map_err(|failure| self.failed.take().unwrap_or(failure))
    }

    /// One that others do not depend on: its result, or `None` if it failed and
    /// somebody looks on who wants to see the others.
    ///
    /// # Errors
    /// The failure, if nobody looks on.
    pub fn check<T>(
        &mut self,
        step: Step,
        told: impl FnOnce(Option<&T>) -> Told,
        result: Result<T, Failure>,
    ) -> Result<Option<T>, Failure> {
        match self.witness.see(step, told, result) {
            Ok(value) => Ok(Some(value)),
            Err(failure) if self.witness.0.is_none() => Err(failure),
            Err(failure) => {
                self.failed.get_or_insert(failure);
                Ok(None)
            }
        }
    }

    /// What they come to.
    ///
    /// # Errors
    /// The first failure of all.
    pub fn verdict(self) -> Result<(), Failure> {
        self.failed.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::error::Reason;

    /// Three checks, of which two fail, and how many values were told.
    fn judge(witness: Witness<'_>, told: &RefCell<u32>) -> Result<(), Failure> {
        let mut checks = Checks::new(witness);
        let count = |_: Option<&()>| {
            *told.borrow_mut() += 1;
            Told::default()
        };
        checks.must(Step::Form, count, Ok(()))?;
        let late = Failure::new(Reason::TokenExpired, "late");
        checks.check(Step::Expiry, count, Err(late))?;
        let foreign = Failure::new(Reason::AudienceNotAllowed, "foreign");
        checks.must(Step::Audience, count, Err(foreign))?;
        checks.verdict()
    }

    #[test]
    fn the_first_failure_decides_whoever_looks_on() {
        let (seen, told) = (RefCell::new(Vec::new()), RefCell::default());
        let tell = |one: Seen| {
            seen.borrow_mut()
                .push((one.step, one.outcome == Outcome::Good))
        };
        let watched = judge(Witness::new(&tell), &told).unwrap_err();
        assert_eq!(watched.reason(), Reason::TokenExpired);
        let steps = [
            (Step::Form, true),
            (Step::Expiry, false),
            (Step::Audience, false),
        ];
        assert_eq!(*seen.borrow(), steps);
        told.replace(0);
        assert_eq!(judge(Witness::NOBODY, &told), Err(watched));
        assert_eq!(*told.borrow(), 0);
    }
}
