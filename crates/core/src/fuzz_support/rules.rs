//! The fuzz target for rules.

#![forbid(unsafe_code)]

use std::borrow::Cow;

use super::input::line;
use crate::error::{Failure, Reason};
use crate::policy::attribute_rules::{Rules, values_of};
use crate::trace::{CheckObserver, Checks};

/// Conditions in the first line, and attributes in the others (`name=value`). Printed conditions
/// are parsed to the same, an unquoted value contains no blank, and the conditions hold if and only
/// if each has one of its values.
pub(crate) fn rules(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (conditions, attributes) = line(text.as_bytes());
    let conditions = String::from_utf8_lossy(conditions);
    let (rules, problems) = Rules::parse(&conditions);
    // Without quotes, each word is a condition or a problem.
    if !conditions.contains('"') {
        let count = conditions.split_ascii_whitespace().count();
        assert_eq!(rules.conditions().len() + problems.len(), count);
        let mut values = rules.conditions().iter().flat_map(|one| one.values());
        assert!(!values.any(|value| value.contains(char::is_whitespace)));
    }
    let is_blank = conditions.trim_ascii().is_empty();
    assert_eq!(
        rules.conditions().is_empty() && problems.is_empty(),
        is_blank
    );
    for condition in rules.conditions() {
        assert!(!condition.attribute().contains(char::is_whitespace));
        assert!(!condition.values().is_empty());
        assert!(!condition.values().contains(&String::new()));
    }

    let printed: Vec<String> = rules.conditions().iter().map(ToString::to_string).collect();
    assert_eq!(
        Rules::parse(&printed.join(" ")),
        (rules.clone(), Vec::new())
    );

    let attributes = String::from_utf8_lossy(attributes);
    let pairs: Vec<(&str, &str)> = attributes
        .lines()
        .filter_map(|l| l.split_once('='))
        .collect();
    let values = |name: &str| -> Vec<Cow<'_, str>> {
        let of_name = pairs.iter().filter(|(key, _)| *key == name);
        let found: Vec<&str> = of_name.map(|(_, value)| *value).collect();
        match found[..] {
            [single] => values_of(name, single),
            ref several => several.iter().copied().map(Cow::Borrowed).collect(),
        }
    };
    let unmet = |condition: &_| Failure::new(Reason::RuleNotMet, format!("{condition}"));
    let unseen = rules.check(&mut Checks::new(CheckObserver::NONE), values, unmet);
    let tell = |seen| assert!(!format!("{seen:?}").is_empty());
    let mut checks = Checks::new(CheckObserver::new(&tell));
    let seen = rules.check(&mut checks, values, unmet);
    assert_eq!(seen.and_then(|()| checks.finish()), unseen);

    let first = rules.conditions().iter().find(|condition| {
        let of_name: Vec<&str> = pairs
            .iter()
            .filter(|(key, _)| *key == condition.attribute())
            .map(|(_, value)| *value)
            .collect();
        let is_list = ["scope", "scp"].contains(&condition.attribute());
        let has = |wanted: &String| match of_name[..] {
            [one] if is_list => one.split(' ').any(|word| word == wanted),
            _ => of_name.contains(&wanted.as_str()),
        };
        !condition.values().iter().any(has)
    });
    assert_eq!(unseen.err(), first.map(unmet));
}
