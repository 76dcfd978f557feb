//! Formats text as roff for man(7).

/// Maximum length of a generated line in bytes, unless a word is longer.
const MAX_LINE_BYTES: usize = 78;

/// Escapes text that is shown verbatim: an option, a path or a value.
pub fn literal(text: &str) -> String {
    let mut roff = String::new();
    for character in text.chars() {
        match character {
            '\\' => roff.push_str("\\e"),
            '-' => roff.push_str("\\-"),
            '\'' => roff.push_str("\\(aq"),
            '`' => roff.push_str("\\(ga"),
            '^' => roff.push_str("\\(ha"),
            '~' => roff.push_str("\\(ti"),
            '\u{a0}' => roff.push_str("\\ "),
            '…' => roff.push_str("..."),
            c if c.is_ascii() => roff.push(c),
            c => roff.push_str(&format!("\\[u{:04X}]", c as u32)),
        }
    }
    roff
}

pub fn bold(text: &str) -> String {
    format!("\\fB{}\\fR", literal(text))
}

pub fn italic(text: &str) -> String {
    format!("\\fI{}\\fR", literal(text))
}

/// Formats sentences, each starting on a new line. Text in backquotes and options are bold.
pub fn prose(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut ends_sentence = true;
    for word in words(text) {
        let roff = word_of_prose(&word);
        match lines.last_mut() {
            Some(line) if !ends_sentence && line.len() + roff.len() < MAX_LINE_BYTES => {
                line.push(' ');
                line.push_str(&roff);
            }
            _ => lines.push(roff),
        }
        ends_sentence = word.ends_with(['.', '?']) && !word.ends_with("..");
    }
    for line in &mut lines {
        if line.starts_with(['.', '\'']) {
            line.insert_str(0, "\\&");
        }
    }
    lines.join("\n") + "\n"
}

/// Splits text into words. Text in backquotes is one word.
fn words(text: &str) -> Vec<String> {
    let parts = text.split('`').enumerate();
    let joined: Vec<String> = parts
        .map(|(nth, part)| match nth % 2 {
            0 => part.to_owned(),
            _ => part.replace(' ', "\u{a0}"),
        })
        .collect();
    let joined = joined.join("`");
    let words = joined.split([' ', '\n']).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

fn word_of_prose(word: &str) -> String {
    if let Some((before, rest)) = word.split_once('`')
        && let Some((within, after)) = rest.split_once('`')
    {
        return format!("{}{}{}", plain(before), bold(within), plain(after));
    }
    match word.find("--") {
        Some(start) => {
            let is_option_char = |c: char| c == '-' || c.is_ascii_alphanumeric();
            let length = word[start..].find(|c| !is_option_char(c));
            let end = length.map_or(word.len(), |length| start + length);
            let (before, after) = (&word[..start], &word[end..]);
            format!(
                "{}{}{}",
                plain(before),
                bold(&word[start..end]),
                plain(after)
            )
        }
        None => plain(word),
    }
}

/// Like [`literal`], with a typographic apostrophe.
fn plain(text: &str) -> String {
    literal(text).replace("\\(aq", "'")
}
