//! The condition language over attributes and claims:
//! `role=mail department=physics|it`.
//!
//! Every condition must hold. `|` separates values of which one must be there.
//! What an attribute says is a set of values; see [`words`] for a single text.

#![forbid(unsafe_code)]

use std::borrow::Cow;

use crate::log::listed;
use crate::outcome::Failure;
use crate::witness::{Checks, Step, Told};

/// Conditions, all of which must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules(Vec<Condition>);

/// One condition: an attribute and the values of which it must have one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    attribute: String,
    values: Vec<String>,
}

impl Rules {
    /// Parses conditions separated by white space, and returns with them what
    /// is wrong with those that do not parse.
    pub fn parse(text: &str) -> (Self, Vec<String>) {
        let mut conditions = Vec::new();
        let mut problems = Vec::new();
        for word in text.split_whitespace() {
            match Condition::parse(word) {
                Ok(condition) => conditions.push(condition),
                Err(problem) => problems.push(format!("\"{word}\" {problem}")),
            }
        }
        (Self(conditions), problems)
    }

    /// Checks each condition, given the values of each attribute.
    ///
    /// # Errors
    /// What `unmet` makes of one that does not hold.
    pub fn judge<'v>(
        &self,
        checks: &mut Checks<'_>,
        values: impl Fn(&str) -> Vec<Cow<'v, str>>,
        unmet: impl Fn(&Condition) -> Failure,
    ) -> Result<(), Failure> {
        for condition in &self.0 {
            let values = values(&condition.attribute);
            let result = match condition.holds(&values) {
                true => Ok(()),
                false => Err(unmet(condition)),
            };
            let told = |_: Option<&()>| {
                let mut values = values.clone();
                values.dedup();
                Told::found(listed(&values)).wanted(condition.to_string())
            };
            checks.check(Step::Rule, told, result)?;
        }
        Ok(())
    }

    /// The conditions, as they were written.
    pub fn conditions(&self) -> &[Condition] {
        &self.0
    }
}

impl Condition {
    /// What must have one of the values.
    pub fn attribute(&self) -> &str {
        &self.attribute
    }

    /// The values of which one must be there.
    pub fn values(&self) -> &[String] {
        &self.values
    }

    fn parse(word: &str) -> Result<Self, &'static str> {
        let (attribute, values) = word
            .split_once('=')
            .ok_or("has no =; write attribute=value")?;
        if attribute.is_empty() {
            return Err("names no attribute before the =");
        }
        let values: Vec<String> = values.split('|').map(str::to_owned).collect();
        if values.iter().any(String::is_empty) {
            return Err("has an empty value; write attribute=value or attribute=this|that");
        }
        Ok(Self {
            attribute: attribute.to_owned(),
            values,
        })
    }

    fn holds(&self, present: &[Cow<'_, str>]) -> bool {
        let wanted = |text: &str| self.values.iter().any(|value| value == text);
        present.iter().any(|value| wanted(value))
    }
}

/// A single text as a set: itself, and its words, for it may be a list (as `scope`
/// is by RFC 6749, section 3.3). One of several values is not taken apart: the
/// group "no mail" is not the group "mail".
pub fn words(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    std::iter::once(text)
        .chain(text.split_whitespace())
        .map(Cow::Borrowed)
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.attribute, self.values.join("|"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Reason;
    use crate::witness::Witness;

    fn unmet(rules: &str, attributes: &[(&str, &'static str)]) -> Option<String> {
        let (rules, problems) = Rules::parse(rules);
        assert_eq!(problems, Vec::<String>::new());
        let values = |name: &str| {
            let of_name = attributes.iter().filter(|(key, _)| *key == name);
            of_name.map(|(_, value)| Cow::Borrowed(*value)).collect()
        };
        let unmet = |condition: &Condition| Failure::new(Reason::RuleNotMet, condition.to_string());
        let judged = rules.judge(&mut Checks::new(Witness::NOBODY), values, unmet);
        judged.err().map(|failure| failure.detail().to_owned())
    }

    #[test]
    fn without_rules_nothing_is_asked() {
        assert_eq!(unmet("", &[]), None);
    }

    #[test]
    fn every_condition_must_hold() {
        let alice = [("role", "mail"), ("role", "staff"), ("unit", "it")];
        assert_eq!(unmet("role=mail unit=it", &alice), None);
        assert_eq!(
            unmet("role=mail unit=physics", &alice).as_deref(),
            Some("unit=physics")
        );
        assert_eq!(unmet("role=mail", &[]).as_deref(), Some("role=mail"));
    }

    #[test]
    fn one_of_the_values_suffices() {
        assert_eq!(unmet("role=staff|student", &[("role", "student")]), None);
        assert!(unmet("role=staff|student", &[("role", "guest")]).is_some());
    }

    #[test]
    fn values_are_compared_as_a_whole_and_a_single_text_is_a_list_as_well() {
        let group = [("role", "no mail please"), ("role", "x")];
        assert!(unmet("role=mail", &group).is_some());
        assert!(unmet("role=Mail", &[("role", "mail")]).is_some());
        let set: Vec<_> = words("openid  imap").collect();
        assert_eq!(set, ["openid  imap", "openid", "imap"]);
    }

    #[test]
    fn what_does_not_parse_is_named() {
        for word in ["role", "=mail", "role=", "role=a||b", "role=|a"] {
            let (_, problems) = Rules::parse(&format!("good=yes {word}"));
            assert_eq!(problems.len(), 1, "{word}");
            assert!(problems[0].contains(word));
        }
    }
}
