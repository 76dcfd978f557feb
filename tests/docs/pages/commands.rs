//! Commands in the documentation run and print the documented output.

use test_support::documents::docs_env::DocsEnv;
use test_support::documents::{Block, Kind, commands, configurations, named, page, pages};

#[test]
fn every_command_runs_and_prints_the_documented_output() {
    let env = DocsEnv::new("commands", &[&named("cas"), &named("openid")]);
    let smtpd_conf = configurations("smtpd.conf").remove(0).lines.join("\n") + "\n";
    env.scratch.write("smtpd.conf", smtpd_conf);
    // Creates a session for the commands that list sessions.
    assert!(env.by_ticket(&env.ticket("alice")).ok);
    let mut run = 0;
    for page in pages() {
        for (number, span) in page.code_spans() {
            if ["apt ", "journalctl ", "make ", "systemctl "]
                .iter()
                .any(|prefix| span.starts_with(prefix))
            {
                let place = format!("{}:{number}", page.name);
                commands::run(&env, &place, &span);
                run += 1;
            }
        }
        let mut printed = String::new();
        for block in page.blocks {
            match block.kind {
                Kind::Commands => {
                    for line in &block.lines {
                        printed = commands::run(&env, &block.place, line);
                        run += 1;
                    }
                }
                Kind::Output => assert_printed(&block, &printed),
                _ => {}
            }
        }
    }
    assert!(run >= 20, "{run} commands");
}

#[test]
fn documented_metrics_are_exactly_the_existing_ones() {
    let env = DocsEnv::new("metrics", &[&named("cas")]);
    assert!(env.by_ticket(&env.ticket("alice")).ok);
    let printed = env.sasl_sso("metrics", &["sessions", "stats", "--prometheus"]);
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

/// Checks that all lines of a sample were printed in this order. `…` stands for any text, and runs
/// of spaces are equal, because the width of a column depends on its contents.
fn assert_printed(block: &Block, printed: &str) {
    let mut lines = printed.lines();
    for sample in &block.lines {
        assert!(
            lines.any(|line| matches_sample(&single_spaced(sample), &single_spaced(line))),
            "{}: {sample}\ndoes not occur in the output:\n{printed}",
            block.place
        );
    }
}

/// Replaces each run of spaces with one space.
fn single_spaced(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn matches_sample(sample: &str, line: &str) -> bool {
    let mut parts = sample.split('…');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let mut is_open = false;
    for part in parts {
        is_open = part.is_empty();
        match rest.split_once(part) {
            Some((_, following)) => rest = following,
            None => return false,
        }
    }
    is_open || rest.is_empty()
}
