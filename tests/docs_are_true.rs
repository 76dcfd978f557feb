//! README.md and `docs/` say what is so: every configuration in them is loaded, every command run,
//! every link followed.

// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]

mod documents;
mod harness;
mod libsasl2;

use documents::site::Site;
use documents::{Block, Kind, Page, commands, links, log_lines, page, pages, root};
use harness::authority::Authority;
use harness::cyrus::{Cyrus, Options};
use harness::examples;
use harness::imap::Imap;
use harness::scratch::Scratch;
use std::fs;
use std::process::Command;

/// The block of this name.
fn named(wanted: &str) -> Block {
    let blocks = page("README.md").blocks.into_iter();
    let mut blocks =
        blocks.filter(|block| matches!(&block.kind, Kind::Conf(_, name) if name == wanted));
    blocks.next().expect(wanted)
}

/// The blocks of this file.
fn configurations(wanted: &str) -> Vec<Block> {
    let blocks = pages().into_iter().flat_map(|page| page.blocks);
    let of_file = |block: &Block| matches!(&block.kind, Kind::Conf(file, _) if file == wanted);
    blocks.filter(of_file).collect()
}

#[test]
fn links_lead_somewhere() {
    let broken: Vec<String> = pages().iter().flat_map(links::broken).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_readme_leads_to_every_page() {
    let readme = page("README.md").text;
    for page in pages().iter().skip(1) {
        let is_there = readme.contains(&format!("({})", page.name));
        assert!(
            is_there || page.name == "docs/performance.md",
            "{}",
            page.name
        );
    }
}

#[test]
fn every_configuration_passes_the_check_and_is_what_imapd_offers() {
    let scratch = Scratch::new("docs");
    let authority = Authority::new();
    let options = Options {
        plugin: Some(libsasl2::plugin()),
        ..Options::default()
    };
    let mut cyrus = Cyrus::start(&scratch, &authority, options);
    let path = cyrus.imapd_conf();
    let stock = fs::read_to_string(&path).expect("imapd.conf");
    let blocks = configurations("imapd.conf");
    assert!(blocks.len() >= 8);
    for block in blocks {
        cyrus.stop();
        let settings = block.settings();
        let is_replaced = |line: &&str| {
            let key = line.split(": ").next().unwrap_or_default();
            settings.iter().all(|(other, _)| other != key)
        };
        let lines = stock.lines().filter(is_replaced);
        let lines = lines.chain(block.lines.iter().map(String::as_str));
        fs::write(&path, lines.collect::<Vec<_>>().join("\n") + "\n").expect("imapd.conf");
        let said = checked(&block, &path);
        let mark = cyrus.log().mark();
        cyrus.start_again();
        let capabilities = Imap::connect(cyrus.imap_port()).capabilities();
        for mechanism in ["CASPT", "OAUTHBEARER", "XOAUTH2"] {
            let is_meant = said.contains(mechanism);
            let is_offered = capabilities.contains(&format!("AUTH={mechanism}"));
            assert_eq!(is_offered, is_meant, "{}: {capabilities:?}", block.place);
        }
        let ours = cyrus.log().since(mark);
        let ours = ours.iter().filter(|line| line.text.contains("sso: "));
        assert_eq!(ours.count(), 0, "{}\n{}", block.place, cyrus.log().tail());
    }
}

/// What `sasl-sso check` says of a file without fault.
fn checked(block: &Block, path: &std::path::Path) -> String {
    let program = libsasl2::plugin().with_file_name("sasl-sso");
    let mut check = Command::new(program);
    let output = check.args(["check", "--config"]).arg(path).output();
    let output = output.expect("sasl-sso: run `make build`");
    assert!(output.status.success(), "{}: {output:?}", block.place);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn what_shortens_an_example_is_that_example() {
    for (block, example) in [
        (configurations("smtpd.conf").remove(0), "smtpd.conf"),
        (of_page("docs/migration.md"), "from-pam_cas.conf"),
    ] {
        assert_eq!(
            block.settings(),
            examples::lines(example),
            "{}",
            block.place
        );
    }
}

fn of_page(name: &str) -> Block {
    let blocks = page(name).blocks.into_iter();
    let mut blocks = blocks.filter(|block| matches!(block.kind, Kind::Conf(..)));
    blocks.next().expect("a configuration")
}

#[test]
fn the_quick_start_for_cas_lets_in_who_has_a_real_ticket_and_nobody_else() {
    let site = Site::new("quick-cas", &[&named("cas")]);
    let ticket = site.ticket("alice");
    for source in ["validated", "host"] {
        let reply = site.by_ticket(&ticket);
        assert!(reply.ok, "{reply:?}\n{}", site.cyrus.log().tail());
        let line = format!("outcome=accepted user=alice source={source}");
        let logged = |line: &str| site.cyrus.log().contains(line);
        let is_logged = harness::wait::wait_until(harness::wait::PATIENCE, || logged(&line));
        assert!(is_logged, "{}", site.cyrus.log().tail());
    }
    assert!(!site.by_ticket("PT-1-forged").ok);
    assert_eq!(site.cas.validations(), 2);
}

#[test]
fn the_quick_start_for_openid_lets_in_who_has_a_real_token_and_nobody_else() {
    let site = Site::new("quick-openid", &[&named("openid")]);
    let token = site.provider.access_token("alice", "RS256");
    for reply in [site.by_token(&token), site.by_xoauth2("alice", &token)] {
        assert!(reply.ok, "{reply:?}\n{}", site.cyrus.log().tail());
    }
    assert!(!site.by_token(&site.provider.id_token("alice")).ok);
    assert!(!site.by_xoauth2("bob", &token).ok);
}

#[test]
fn every_command_is_run_and_prints_what_is_said() {
    let site = Site::new("commands", &[&named("cas"), &named("openid")]);
    let smtpd_conf = configurations("smtpd.conf").remove(0).lines.join("\n") + "\n";
    site.scratch.write("smtpd.conf", smtpd_conf);
    // Somebody to be listed.
    assert!(site.by_ticket(&site.ticket("alice")).ok);
    let mut run = 0;
    for page in pages() {
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

/// Whether all lines of a sample were printed in their order, where `…` stands for anything.
fn is_printed(block: &Block, printed: &str) {
    let mut lines = printed.lines();
    for sample in &block.lines {
        assert!(
            lines.any(|line| is_like(sample, line)),
            "{}: {sample}\nis not what was printed:\n{printed}",
            block.place
        );
    }
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

#[test]
fn every_line_of_the_log_that_is_shown_is_one_that_can_be() {
    let log = page("docs/log.md").text;
    let is_in_log = |word: &str| log.contains(&format!("\n| `{word}` |"));
    let mut shown = 0;
    for block in pages().into_iter().flat_map(|page| page.blocks) {
        let lines = block.lines.iter().filter(|_| block.kind == Kind::Log);
        for line in lines {
            let fields = line.strip_prefix("sso: ").expect(&block.place);
            // What is between quotes is a value, and has no field in it.
            let fields: String = fields.split('"').step_by(2).collect();
            for field in fields.split_whitespace() {
                let (name, value) = field.split_once('=').expect(&block.place);
                assert!(is_in_log(name), "{}: {name}", block.place);
                let is_code = matches!(name, "outcome" | "reason");
                assert!(!is_code || is_in_log(value), "{}: {value}", block.place);
            }
            shown += 1;
        }
    }
    assert!(shown >= 3, "{shown} lines");
}

#[test]
fn every_line_that_can_be_in_the_log_is_documented_and_no_other_is() {
    let log = page("docs/log.md").text;
    let rows = log.lines().filter_map(|line| line.strip_prefix("| `sso: "));
    let mut documented: Vec<String> = rows
        .filter_map(|row| row.split_once('`'))
        .map(|(line, _)| format!("sso: {line}"))
        .collect();
    documented.sort();
    let mut lines = log_lines::of_source();
    // That of a decision has fields, which are in a table of their own.
    lines.retain(|line| line != "sso: mech=…");
    assert!(lines.len() >= 15, "{lines:#?}");
    assert_eq!(documented, lines);
}

#[test]
fn what_is_named_in_passing_exists() {
    let options = page("docs/options.md").text;
    let mut named = 0;
    for page in pages() {
        for (number, span) in page.code_spans() {
            let place = format!("{}:{number}: {span}", page.name);
            if let Some(name) = option_in(&span) {
                assert!(options.contains(&format!("\n| `{name}` |")), "{place}");
                named += 1;
            }
            if ["src/", "docs/", "tests/", "cyrus-conf-examples/"]
                .iter()
                .any(|dir| span.starts_with(dir))
            {
                assert!(root().join(&span).exists(), "{place}");
            }
        }
        names_real_commands(&page);
    }
    assert!(named >= 100, "{named} options");
}

/// The option of ours that a span is about, in the spelling of the reference.
fn option_in(span: &str) -> Option<&str> {
    let word = span.split([':', ' ']).next()?;
    let word = word.strip_prefix("pop3_").unwrap_or(word);
    let word = word.strip_prefix("sasl_").unwrap_or(word);
    let is_ours = ["caspt_", "jwt_", "sso_"]
        .iter()
        .any(|prefix| word.starts_with(prefix));
    // That of issuer `x`.
    (is_ours && !word.starts_with("jwt_x_") && !word.ends_with('_')).then_some(word)
}

/// What is said in passing about the program is a command with such arguments.
fn names_real_commands(page: &Page) {
    for (number, span) in page.code_spans() {
        let Some(words) = span.strip_prefix("sasl-sso ") else {
            continue;
        };
        if commands::is_coming(&span) {
            continue;
        }
        let words: Vec<&str> = words.split_whitespace().collect();
        let commands = words
            .iter()
            .take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase()));
        let mut help = Command::new(libsasl2::plugin().with_file_name("sasl-sso"));
        let output = help
            .args(commands)
            .arg("--help")
            .output()
            .expect("sasl-sso");
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        let place = format!("{}:{number}: {span}", page.name);
        assert!(output.status.success(), "{place}: {output:?}");
        for option in words.iter().filter(|word| word.starts_with("--")) {
            assert!(help.contains(option), "{place}");
        }
    }
}
