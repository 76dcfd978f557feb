//! Commands are run, and print what is said.

use crate::documents::site::Site;
use crate::documents::{Block, Kind, commands, configurations, named, page, pages};

#[test]
fn every_command_is_run_and_prints_what_is_said() {
    let site = Site::new("commands", &[&named("cas"), &named("openid")]);
    let smtpd_conf = configurations("smtpd.conf").remove(0).lines.join("\n") + "\n";
    site.scratch.write("smtpd.conf", smtpd_conf);
    // Somebody to be listed.
    assert!(site.by_ticket(&site.ticket("alice")).ok);
    let mut run = 0;
    for page in pages() {
        for (number, span) in page.code_spans() {
            if ["apt ", "journalctl ", "make ", "systemctl "]
                .iter()
                .any(|begin| span.starts_with(begin))
            {
                let place = format!("{}:{number}", page.name);
                commands::run(&site, &place, &span);
                run += 1;
            }
        }
        let mut printed = String::new();
        for block in page.blocks {
            match block.kind {
                Kind::Commands => {
                    for line in &block.lines {
                        printed = commands::run(&site, &block.place, line);
                        run += 1;
                    }
                }
                Kind::Output => is_printed(&block, &printed),
                _ => {}
            }
        }
    }
    assert!(run >= 20, "{run} commands");
}

#[test]
fn every_metric_is_documented_and_no_other_is() {
    let site = Site::new("metrics", &[&named("cas")]);
    assert!(site.by_ticket(&site.ticket("alice")).ok);
    let printed = site.sasl_sso("metrics", &["sessions", "stats", "--prometheus"]);
    let types = printed
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    let mut metrics: Vec<&str> = types.filter_map(|line| line.split(' ').next()).collect();
    metrics.sort_unstable();
    let guide = page("docs/administration.md").text;
    let rows = guide
        .lines()
        .filter_map(|line| line.strip_prefix("| `sasl_sso_"));
    let mut documented: Vec<String> = rows
        .filter_map(|row| row.split('`').next())
        .map(|name| format!("sasl_sso_{name}"))
        .collect();
    documented.sort_unstable();
    assert_eq!(documented, metrics);
}

/// Whether all lines of a sample were printed in their order, where `…` stands for anything. How wide
/// a column is depends on what is in it.
fn is_printed(block: &Block, printed: &str) {
    let mut lines = printed.lines();
    for sample in &block.lines {
        assert!(
            lines.any(|line| is_like(&words(sample), &words(line))),
            "{}: {sample}\nis not what was printed:\n{printed}",
            block.place
        );
    }
}

/// A line with one blank for each run of them.
fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_like(sample: &str, line: &str) -> bool {
    let mut parts = sample.split('…');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let mut is_open = false;
    for part in parts {
        is_open = part.is_empty();
        match rest.split_once(part) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    is_open || rest.is_empty()
}
