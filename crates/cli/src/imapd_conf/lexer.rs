//! A file's lines, as its host takes them apart.

#![forbid(unsafe_code)]

use super::PREFIXES;

/// Whose file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Cyrus imapd's.
    Imapd,
    /// libsasl2's own.
    Sasl,
}

impl Format {
    /// What stands before the name of an option of SASL.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Imapd => "sasl_",
            Self::Sasl => "",
        }
    }

    /// By what is in it: no file of SASL's has names with `sasl_` in them, but by
    /// mistake, and no imapd.conf has SASL's options without.
    pub(crate) fn of(text: &str) -> Self {
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
pub(crate) struct Line {
    /// The number that it begins at.
    pub(crate) number: usize,
    /// Without white space before it.
    pub(crate) text: String,
    /// Whether the file ends where it was to go on: imapd then drops it.
    pub(crate) is_dropped: bool,
}

/// What C calls white space, which is less than Unicode does.
pub(crate) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r')
}

/// A line as it stands.
struct Piece<'t> {
    number: usize,
    text: &'t str,
    /// Whether the line before it goes on in it.
    continues: bool,
    /// Whether it goes on in the next.
    is_continued: bool,
}

fn pieces(text: &str, format: Format) -> Vec<Piece<'_>> {
    let mut continues = false;
    let lines = text.split_inclusive('\n').enumerate();
    lines
        .map(|(index, line)| {
            // The hosts read C strings: a NUL ends the line, whatever follows it.
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
            Piece {
                number: index + 1,
                text,
                continues: std::mem::replace(&mut continues, is_continued),
                is_continued,
            }
        })
        .collect()
}

/// The lines that are neither empty nor comments. A comment is continued like any
/// other line.
pub(crate) fn whole_lines(text: &str, format: Format) -> Vec<Line> {
    let mut whole: Vec<Line> = Vec::new();
    for piece in pieces(text, format) {
        match whole.last_mut() {
            Some(begun) if piece.continues => begun.text.push_str(piece.text),
            _ => whole.push(Line {
                number: piece.number,
                text: piece.text.to_owned(),
                is_dropped: false,
            }),
        }
        if let Some(last) = whole.last_mut() {
            // Of the last line it is never taken back.
            last.is_dropped = piece.is_continued;
        }
    }
    for line in &mut whole {
        line.text = line.text.trim_start_matches(is_space).to_owned();
    }
    whole.retain(|line| !line.text.is_empty() && !line.text.starts_with('#'));
    whole
}

/// Options of single sign-on that are part of the line before them, a comment
/// perhaps, because that ends in `\`: their lines and names.
pub(crate) fn swallowed(text: &str, format: Format) -> Vec<(usize, String)> {
    let of_single_sign_on = |piece: &Piece<'_>| {
        let (name, _) = piece.text.trim_start_matches(is_space).split_once(':')?;
        let name = name.to_ascii_lowercase();
        let option = match name.strip_prefix("sasl_") {
            Some(option) => option,
            None => name.split_once("_sasl_")?.1,
        };
        let is_one = PREFIXES.iter().any(|prefix| option.starts_with(prefix));
        (is_one && !name.contains(is_space)).then_some((piece.number, name))
    };
    let pieces = pieces(text, format);
    let continuing = pieces.iter().filter(|piece| piece.continues);
    continuing.filter_map(of_single_sign_on).collect()
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
    fn an_option_that_the_line_before_it_takes_in_is_found() {
        let text = "# no more \\\nsasl_caspt_require: role=mail\n\
                    sasl_caspt_url: https://a/ \\\n  https://b/ \\\n pop3_sasl_jwt_keys: x\n";
        let found = [(2, "sasl_caspt_require"), (5, "pop3_sasl_jwt_keys")];
        let found = found.map(|(line, name)| (line, name.to_owned()));
        assert_eq!(swallowed(text, Format::Imapd), found);
        assert_eq!(swallowed(text, Format::Sasl), []);
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
