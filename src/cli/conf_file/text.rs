//! A file's lines, as its host takes them apart.

#![forbid(unsafe_code)]

use super::PREFIXES;

/// Whose file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Format {
    /// Cyrus imapd's.
    Imapd,
    /// libsasl2's own.
    Sasl,
}

impl Format {
    /// What stands before the name of an option of SASL.
    pub(in crate::cli) fn prefix(self) -> &'static str {
        match self {
            Self::Imapd => "sasl_",
            Self::Sasl => "",
        }
    }

    /// By what is in it: no file of SASL's has names with `sasl_` in them, but by
    /// mistake, and no imapd.conf has SASL's options without.
    pub(super) fn of(text: &str) -> Self {
        let mut format = Self::Imapd;
        let mut prefixed = false;
        for line in whole_lines(text, Self::Sasl) {
            let key = line.text.split(':').next().unwrap_or_default();
            let key = key.to_ascii_lowercase();
            if ["configdirectory", "@include", "defaultpartition"].contains(&key.as_str()) {
                return Self::Imapd;
            }
            prefixed |= key.contains("sasl_");
            let of_sasl = ["mech_list", "pwcheck_method", "saslauthd_path"].contains(&key.as_str());
            if of_sasl || PREFIXES.iter().any(|prefix| key.starts_with(prefix)) {
                format = Self::Sasl;
            }
        }
        match format {
            // Both: whoever has the mechanisms without the prefix means SASL.
            Self::Sasl if prefixed && !names_sasl(text) => Self::Imapd,
            format => format,
        }
    }
}

/// Whether the options that every file of SASL begins with are there by their own
/// names.
fn names_sasl(text: &str) -> bool {
    whole_lines(text, Format::Sasl)
        .iter()
        .any(|line| line.text.starts_with("pwcheck_method:") || line.text.starts_with("mech_list:"))
}

/// A line, with those that continue it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The number that it begins at.
    pub(super) number: usize,
    /// Without white space before it.
    pub(super) text: String,
    /// Whether the file ends where it was to go on: imapd then drops it.
    pub(super) is_dropped: bool,
}

/// What C calls white space, which is less than Unicode does.
pub(super) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r')
}

/// The lines that are neither empty nor comments. A comment is continued like any
/// other line.
pub(super) fn whole_lines(text: &str, format: Format) -> Vec<Line> {
    let mut whole: Vec<Line> = Vec::new();
    let mut goes_on = false;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        // The hosts read C strings: a NUL ends the line, whatever follows it.
        let (line, is_cut) = match line.split_once('\0') {
            Some((line, _)) => (line, true),
            None => (line, false),
        };
        let (line, is_ended) = match line.strip_suffix('\n') {
            Some(line) => (line, true),
            None => (line, false),
        };
        let (line, continued) = match line.strip_suffix('\\') {
            Some(line) if format == Format::Imapd && is_ended && !is_cut => (line, true),
            _ => (line, false),
        };
        match whole.last_mut() {
            Some(begun) if goes_on => begun.text.push_str(line),
            _ => whole.push(Line {
                number: index + 1,
                text: line.to_owned(),
                is_dropped: false,
            }),
        }
        goes_on = continued;
    }
    if let Some(last) = whole.last_mut() {
        last.is_dropped = goes_on;
    }
    for line in &mut whole {
        line.text = line.text.trim_start_matches(is_space).to_owned();
    }
    whole.retain(|line| !line.text.is_empty() && !line.text.starts_with('#'));
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str, format: Format) -> Vec<String> {
        let lines = whole_lines(text, format);
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn lines_are_joined_as_imapd_joins_them() {
        let imapd = |text| texts(text, Format::Imapd);
        assert_eq!(imapd("a: 1 \\\n  2\nb: 3"), ["a: 1   2", "b: 3"]);
        // With the line ends of another system there is something behind the \.
        assert_eq!(imapd("a: 1 \\\r\nb: 2"), ["a: 1 \\\r", "b: 2"]);
        assert_eq!(imapd("# a \\\nb: 2\nc: 3\n"), ["c: 3"]);
        assert_eq!(imapd("a: 1\\"), ["a: 1\\"]);
        assert_eq!(imapd("\u{b}a: 1\0 2\\\nb: 3\n"), ["a: 1", "b: 3"]);
        assert_eq!(texts("a: 1 \\\nb: 2\n", Format::Sasl), ["a: 1 \\", "b: 2"]);
    }

    #[test]
    fn a_line_that_nothing_continues_is_dropped() {
        let lines = whole_lines("a: 1\nb: 2 \\\n", Format::Imapd);
        let dropped: Vec<bool> = lines.iter().map(|line| line.is_dropped).collect();
        assert_eq!(dropped, [false, true]);
    }

    #[test]
    fn a_file_is_the_hosts_whose_options_it_has() {
        let sasl = "pwcheck_method: saslauthd\nsasl_caspt_url: https://a/\n";
        assert_eq!(Format::of(sasl), Format::Sasl);
        let imapd = "sasl_mech_list: PLAIN\ncaspt_url: https://a/\n";
        assert_eq!(Format::of(imapd), Format::Imapd);
        assert_eq!(
            Format::of("configdirectory: /x\ncaspt_url: x\n"),
            Format::Imapd
        );
        assert_eq!(Format::of("jwt_keys: x\n"), Format::Sasl);
    }
}
