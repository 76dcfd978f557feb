use super::*;
use crate::error::Reason;
use crate::trace::CheckObserver;

fn parse(text: &str) -> Rules {
    let (rules, problems) = Rules::parse(text);
    assert_eq!(problems, Vec::<String>::new(), "{text}");
    rules
}

fn unmet(rules: &str, attributes: &[(&str, &'static str)]) -> Option<String> {
    let values = |name: &str| {
        let of_name = attributes.iter().filter(|(key, _)| *key == name);
        of_name.map(|(_, value)| Cow::Borrowed(*value)).collect()
    };
    let unmet = |condition: &Condition| Failure::new(Reason::RuleNotMet, condition.to_string());
    let result = parse(rules).check(&mut Checks::new(CheckObserver::NONE), values, unmet);
    result.err().map(|failure| failure.detail().to_owned())
}

#[test]
fn empty_rules_are_always_met() {
    assert_eq!(unmet("", &[]), None);
    assert_eq!(unmet(" \t", &[]), None);
}

#[test]
fn all_conditions_must_hold() {
    let alice = [("role", "mail"), ("role", "staff"), ("unit", "it")];
    assert_eq!(unmet("role=mail unit=it", &alice), None);
    assert_eq!(
        unmet("role=mail unit=physics", &alice).as_deref(),
        Some("unit=physics")
    );
    assert_eq!(unmet("role=mail", &[]).as_deref(), Some("role=mail"));
}

#[test]
fn one_of_the_values_is_sufficient() {
    assert_eq!(unmet("role=staff|student", &[("role", "student")]), None);
    assert!(unmet("role=staff|student", &[("role", "guest")]).is_some());
}

#[test]
fn rules_compare_whole_values() {
    let group = [("role", "no mail please"), ("role", "x")];
    assert!(unmet("role=mail", &group).is_some());
    assert!(unmet("role=Mail", &[("role", "mail")]).is_some());
    assert!(unmet("role=\"no mail\"", &group).is_some());
    assert_eq!(unmet("role=\"no mail please\"", &group), None);
}

#[test]
fn only_scopes_are_split_at_spaces() {
    for (name, text, expected) in [
        ("scope", "openid  imap ", &["openid", "imap"][..]),
        ("scp", "openid imap", &["openid", "imap"]),
        ("scope", "openid\timap", &["openid\timap"]),
        ("scope", "openid\u{a0}imap", &["openid\u{a0}imap"]),
        ("scope", "openid\nimap\u{3000}x", &["openid\nimap\u{3000}x"]),
        ("scope", "", &[]),
        ("groups", "no mail", &["no mail"]),
        ("Scope", "no mail", &["no mail"]),
        ("token.scope", "no mail", &["no mail"]),
        ("roles", "", &[""]),
    ] {
        assert_eq!(values_of(name, text), expected, "{name}={text:?}");
    }
}

/// Values, in the form of the option and as parsed.
const VALUES: &[(&str, &str)] = &[
    ("mail", "mail"),
    ("CN=it,OU=x", "CN=it,OU=x"),
    (r"UNIV\staff", r"UNIV\staff"),
    (r#""mail""#, "mail"),
    (r#""no mail""#, "no mail"),
    (
        r#""CN=staff,OU=Managed Groups,DC=x""#,
        "CN=staff,OU=Managed Groups,DC=x",
    ),
    (r#""a|b""#, "a|b"),
    (r#""say \"hi\"""#, r#"say "hi""#),
    (r#""UNIV\\staff""#, r"UNIV\staff"),
    (r#""ends in \\""#, r"ends in \"),
    ("\"tab\there\"", "tab\there"),
    ("\"no\u{a0}break\"", "no\u{a0}break"),
    ("étudiants", "étudiants"),
    (r#"" ""#, " "),
    (r#""CN=staff,""#, "CN=staff,"),
];

#[test]
fn quoted_value_is_parsed_to_its_original() {
    for (one, read_as) in VALUES {
        for (other, other_read_as) in VALUES {
            let rules = parse(&format!(" a.b={one}|{other}\tc=d  e={other} "));
            let found: Vec<_> = rules
                .conditions()
                .iter()
                .map(|one| (one.attribute(), one.values()))
                .collect();
            let (one, other) = ((*read_as).to_owned(), (*other_read_as).to_owned());
            assert_eq!(
                found,
                [
                    ("a.b", &[one, other.clone()][..]),
                    ("c", &["d".to_owned()]),
                    ("e", &[other])
                ]
            );
        }
    }
}

/// A generator that returns the same numbers in every run (Marsaglia's xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn text(&mut self, alphabet: &[char]) -> String {
        let length = 1 + self.below(8);
        (0..length)
            .map(|_| alphabet[self.below(alphabet.len())])
            .collect()
    }
}

#[test]
fn printed_rules_parse_to_the_same_rules() {
    let names: Vec<char> = "ab.:/_\\é-".chars().collect();
    let values: Vec<char> = "ab =|\"\\\t\n.,;é\u{a0}\u{3000}\u{200b}\u{0}"
        .chars()
        .collect();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..20_000 {
        let conditions = (0..1 + dice.below(3))
            .map(|_| Condition {
                attribute: dice.text(&names),
                values: (0..1 + dice.below(3)).map(|_| dice.text(&values)).collect(),
            })
            .collect();
        let rules = Rules(conditions);
        let printed: Vec<String> = rules.conditions().iter().map(ToString::to_string).collect();
        assert_eq!(parse(&printed.join(" ")), rules, "{printed:?}");
    }
}

#[test]
fn problem_names_the_condition_that_does_not_parse() {
    for word in [
        "role",
        "=mail",
        "role=",
        "role=a||b",
        "role=|a",
        "role=a|",
        r#"role="""#,
        r#"role="a"#,
        r#"role="a b"#,
        r#"role="a"b"#,
        r#"role="a""b""#,
        r#"role=a"b""#,
        r#"role="a\b""#,
        r#"role="a\"#,
        r#"role="a\""#,
        r#""role=mail""#,
        r#""role"=mail"#,
        r#"ro"le=mail"#,
        "role=a\u{a0}unit=b",
        "role=a\u{200b}",
        "ro\u{200b}le=a",
        r#"""#,
    ] {
        let (rules, problems) = Rules::parse(&format!("good=yes {word}"));
        assert_eq!(problems.len(), 1, "{word}: {problems:?}");
        assert!(problems[0].contains(word), "{problems:?}");
        assert_eq!(rules.conditions().len(), 1, "{word}");
    }
}

#[test]
fn unquoted_group_with_a_blank_is_a_fault_with_a_remedy() {
    for text in [
        "groups=Domain Users",
        "memberOf=CN=staff,OU=Managed Groups|CN=it",
        "memberOf=CN=staff,OU=Managed Groups,DC=univ,DC=example",
        "memberOf=\"CN=it\"|CN=all staff,DC=univ",
        "role=mail, unit=it",
        "role=mail; unit=it",
        "memberOf=CN=staff, DC=univ",
    ] {
        let (_, problems) = Rules::parse(text);
        assert_eq!(problems.len(), 1, "{text}");
        assert!(problems[0].contains("double quotes"), "{problems:?}");
    }
}
