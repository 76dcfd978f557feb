//! Checks the relative links of a page.

use super::Page;
use std::fs;

/// Returns the relative links of a page that do not resolve.
pub fn broken(page: &Page) -> Vec<String> {
    let mut broken = Vec::new();
    for (number, line) in page.prose() {
        for part in line.split("](").skip(1) {
            let (target, _) = part.split_once(')').unwrap_or((part, ""));
            if !target.contains("://") && !resolves(page, target) {
                broken.push(format!("{}:{number}: {target}", page.name));
            }
        }
    }
    broken
}

fn resolves(page: &Page, target: &str) -> bool {
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = match file {
        "" => page.path.clone(),
        file => page.path.with_file_name(file),
    };
    let Ok(text) = fs::read_to_string(path) else {
        return false;
    };
    anchor.is_empty() || headings(&text).any(|heading| heading == anchor)
}

/// Returns the anchors of the headings, as GitHub generates them.
fn headings(text: &str) -> impl Iterator<Item = String> + '_ {
    let heads = text.lines().filter_map(|line| {
        let words = line.trim_start_matches('#').strip_prefix(' ')?;
        line.starts_with('#').then_some(words)
    });
    heads.map(|words| {
        let is_kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let kept = words
            .to_lowercase()
            .chars()
            .filter(is_kept)
            .collect::<String>();
        kept.replace(' ', "-")
    })
}
