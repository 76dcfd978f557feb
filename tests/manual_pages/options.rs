//! The section OPTIONS of sasl-sso.conf(5).

use sso::config::{Described, OPTIONS, Unset};

use super::roff::{bold, literal, prose};

/// Every option, by what it is about.
pub fn options() -> String {
    let mut roff = String::new();
    for (prefix, about) in [
        ("caspt_", "Tickets of CAS"),
        ("jwt_", "Tokens"),
        ("sso_", "Both"),
    ] {
        roff.push_str(&format!(".SS {}\n", literal(about)));
        let told = OPTIONS.iter().filter(|o| o.name.starts_with(prefix));
        roff.extend(told.map(tell));
    }
    roff
}

fn tell(option: &Described) -> String {
    let mut name = bold(option.name);
    if let Some(rest) = option.rest() {
        name.push_str(&format!(
            " (\\fBjwt_\\fR\\fINAME\\fR\\fB_{}\\fR)",
            literal(rest)
        ));
    }
    let default = match option.default {
        Unset::Is(value) => format!("\\fB{}\\fR", literal(value)),
        Unset::Means(text) => prose(text).trim_end().to_owned(),
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
