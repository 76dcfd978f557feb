//! Splits a file into logical lines as the host application does.

#![forbid(unsafe_code)]

use super::PREFIXES;

/// The format of a configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// The imapd.conf of Cyrus imapd.
    Imapd,
    /// A configuration file of libsasl2.
    Sasl,
}

impl Format {
    /// The prefix of options of SASL.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Imapd => "sasl_",
            Self::Sasl => "",
        }
    }

    /// Detects the format from the contents: options in files of SASL have no `sasl_` prefix,
    /// except by mistake, and options of SASL in imapd.conf have one.
    pub(crate) fn detect(text: &str) -> Self {
        let mut format = Self::Imapd;
        let mut prefixed = false;
        for line in logical_lines(text, Self::Sasl) {
            let key = line.text.split(':').next().unwrap_or_default();
            let key = key.to_ascii_lowercase();
            if ["configdirectory", "@include", "defaultpartition"].contains(&key.as_str()) {
                return Self::Imapd;
            }
            prefixed |= key.contains("sasl_");
            let is_sasl_name =
                ["mech_list", "pwcheck_method", "saslauthd_path"].contains(&key.as_str());
            if is_sasl_name || PREFIXES.iter().any(|prefix| key.starts_with(prefix)) {
                format = Self::Sasl;
            }
        }
        match format {
            // Names of both kinds occur: this is a file of SASL only if it has an option that such
            // files start with.
            Self::Sasl if prefixed && !has_unprefixed_sasl_option(text) => Self::Imapd,
            format => format,
        }
    }
}

/// Whether one of the options that nearly every file of SASL has is there without a prefix.
fn has_unprefixed_sasl_option(text: &str) -> bool {
    logical_lines(text, Format::Sasl)
        .iter()
        .any(|line| line.text.starts_with("pwcheck_method:") || line.text.starts_with("mech_list:"))
}

/// A line, joined with its continuation lines.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LogicalLine {
    /// The number of its first physical line.
    pub(crate) number: usize,
    /// The text, without leading white space.
    pub(crate) text: String,
    /// Whether the file ends where a continuation line should follow. imapd ignores such a line.
    pub(crate) is_dropped: bool,
}

/// White space in C, which is less than in Unicode.
pub(crate) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r')
}

/// A line of the file.
struct PhysicalLine<'t> {
    number: usize,
    text: &'t str,
    /// Whether it continues the line before it.
    continues: bool,
    /// Whether the next line continues it.
    is_continued: bool,
}

fn physical_lines(text: &str, format: Format) -> Vec<PhysicalLine<'_>> {
    let mut continues = false;
    let lines = text.split_inclusive('\n').enumerate();
    lines
        .map(|(index, line)| {
            // The host applications read C strings: a NUL ends the line.
            let (line, is_cut) = match line.split_once('\0') {
                Some((line, _)) => (line, true),
                None => (line, false),
            };
            let (line, is_ended) = match line.strip_suffix('\n') {
                Some(line) => (line, true),
                None => (line, false),
            };
            let (text, is_continued) = match line.strip_suffix('\\') {
                Some(line) if format == Format::Imapd && is_ended && !is_cut => (line, true),
                _ => (line, false),
            };
            PhysicalLine {
                number: index + 1,
                text,
                continues: std::mem::replace(&mut continues, is_continued),
                is_continued,
            }
        })
        .collect()
}

/// The lines that are neither empty nor comments. A comment can be continued like any other line.
pub(crate) fn logical_lines(text: &str, format: Format) -> Vec<LogicalLine> {
    let mut lines: Vec<LogicalLine> = Vec::new();
    for line in physical_lines(text, format) {
        match lines.last_mut() {
            Some(previous) if line.continues => previous.text.push_str(line.text),
            _ => lines.push(LogicalLine {
                number: line.number,
                text: line.text.to_owned(),
                is_dropped: false,
            }),
        }
        if let Some(last) = lines.last_mut() {
            // If the last physical line ends in `\`, the flag remains set.
            last.is_dropped = line.is_continued;
        }
    }
    for line in &mut lines {
        line.text = line.text.trim_start_matches(is_space).to_owned();
    }
    lines.retain(|line| !line.text.is_empty() && !line.text.starts_with('#'));
    lines
}

/// Options of single sign-on that are part of the line before them, possibly a comment, because
/// that line ends in `\`. Returns their line numbers and names.
pub(crate) fn continued_options(text: &str, format: Format) -> Vec<(usize, String)> {
    let sso_option = |line: &PhysicalLine<'_>| {
        let (name, _) = line.text.trim_start_matches(is_space).split_once(':')?;
        let name = name.to_ascii_lowercase();
        let option = match name.strip_prefix("sasl_") {
            Some(option) => option,
            None => name.split_once("_sasl_")?.1,
        };
        let is_one = PREFIXES.iter().any(|prefix| option.starts_with(prefix));
        (is_one && !name.contains(is_space)).then_some((line.number, name))
    };
    let physical_lines = physical_lines(text, format);
    let continuing = physical_lines.iter().filter(|line| line.continues);
    continuing.filter_map(sso_option).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str, format: Format) -> Vec<String> {
        let lines = logical_lines(text, format);
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn lines_are_joined_as_imapd_joins_them() {
        let imapd = |text| texts(text, Format::Imapd);
        assert_eq!(imapd("a: 1 \\\n  2\nb: 3"), ["a: 1   2", "b: 3"]);
        // With CRLF line endings the `\` is not the last character.
        assert_eq!(imapd("a: 1 \\\r\nb: 2"), ["a: 1 \\\r", "b: 2"]);
        assert_eq!(imapd("# a \\\nb: 2\nc: 3\n"), ["c: 3"]);
        assert_eq!(imapd("a: 1\\"), ["a: 1\\"]);
        assert_eq!(imapd("\u{b}a: 1\0 2\\\nb: 3\n"), ["a: 1", "b: 3"]);
        assert_eq!(texts("a: 1 \\\nb: 2\n", Format::Sasl), ["a: 1 \\", "b: 2"]);
    }

    #[test]
    fn option_swallowed_by_a_continued_line_is_found() {
        let text = "# no more \\\nsasl_caspt_require: role=mail\n\
                    sasl_caspt_url: https://a/ \\\n  https://b/ \\\n pop3_sasl_jwt_keys: x\n";
        let found = [(2, "sasl_caspt_require"), (5, "pop3_sasl_jwt_keys")];
        let found = found.map(|(line, name)| (line, name.to_owned()));
        assert_eq!(continued_options(text, Format::Imapd), found);
        assert_eq!(continued_options(text, Format::Sasl), []);
    }

    #[test]
    fn continued_line_at_the_end_of_the_file_is_dropped() {
        let lines = logical_lines("a: 1\nb: 2 \\\n", Format::Imapd);
        let dropped: Vec<bool> = lines.iter().map(|line| line.is_dropped).collect();
        assert_eq!(dropped, [false, true]);
    }

    #[test]
    fn format_is_detected_from_the_options() {
        let sasl = "pwcheck_method: saslauthd\nsasl_caspt_url: https://a/\n";
        assert_eq!(Format::detect(sasl), Format::Sasl);
        let imapd = "sasl_mech_list: PLAIN\ncaspt_url: https://a/\n";
        assert_eq!(Format::detect(imapd), Format::Imapd);
        assert_eq!(
            Format::detect("configdirectory: /x\ncaspt_url: x\n"),
            Format::Imapd
        );
        assert_eq!(Format::detect("jwt_keys: x\n"), Format::Sasl);
    }
}
