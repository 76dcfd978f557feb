//! Generates the section OPTIONS of sasl-sso.conf(5).

use sso_core::config::{DefaultValue, OPTIONS, OptionSpec};

use super::roff::{bold, literal, prose};

/// Returns the descriptions of all options, grouped by prefix.
pub fn options() -> String {
    let mut roff = String::new();
    for (prefix, about) in [
        ("caspt_", "Tickets of CAS"),
        ("jwt_", "Tokens"),
        ("sso_", "Both"),
    ] {
        roff.push_str(&format!(".SS {}\n", literal(about)));
        let described = OPTIONS.iter().filter(|o| o.name.starts_with(prefix));
        roff.extend(described.map(describe));
    }
    roff
}

fn describe(option: &OptionSpec) -> String {
    let mut name = bold(option.name);
    if let Some(rest) = option.rest() {
        name.push_str(&format!(
            " (\\fBjwt_\\fR\\fINAME\\fR\\fB_{}\\fR)",
            literal(rest)
        ));
    }
    let default = match option.default {
        DefaultValue::Is(value) => format!("\\fB{}\\fR", literal(value)),
        DefaultValue::Means(text) => prose(text).trim_end().to_owned(),
    };
    format!(
        ".TP\n{name}\n{}\n.br\nDefault: {default}.\n",
        sentence(option.meaning)
    )
}

fn sentence(phrase: &str) -> String {
    let mut letters = phrase.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    let text: String = first.chain(letters).collect();
    prose(&format!("{text}.")).trim_end().to_owned()
}
