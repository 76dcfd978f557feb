//! Configurations in the documentation load, and those of the quick starts accept logins.

use std::fs;
use std::path::Path;
use std::process::Command;
use test_support::authority::Authority;
use test_support::cyrus::{Cyrus, Options, Service};
use test_support::documents::docs_env::{DocsEnv, program};
use test_support::documents::{Block, Kind, configurations, named, page};
use test_support::examples;
use test_support::imap::Imap;
use test_support::libsasl2;
use test_support::scratch::Scratch;

#[test]
fn every_configuration_passes_check_and_loads_in_imapd() {
    let scratch = Scratch::new("docs");
    let authority = Authority::new();
    let options = Options {
        plugin: Some(libsasl2::plugin()),
        // Some have options of this one.
        services: vec![Service::Imap, Service::Pop3],
        ..Options::default()
    };
    let mut cyrus = Cyrus::start(&scratch, &authority, options);
    let path = cyrus.imapd_conf();
    let stock = fs::read_to_string(&path).expect("cannot access imapd.conf");
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
        fs::write(&path, lines.collect::<Vec<_>>().join("\n") + "\n")
            .expect("cannot write imapd.conf");
        let output = check_output(&block, &path, &cyrus.plugin_dir());
        let mark = cyrus.log().mark();
        cyrus.start_again();
        let capabilities = Imap::connect(cyrus.imap_port()).capabilities();
        for mechanism in ["CASPT", "OAUTHBEARER", "XOAUTH2"] {
            let is_expected = output.contains(mechanism);
            let is_offered = capabilities.contains(&format!("AUTH={mechanism}"));
            assert_eq!(is_offered, is_expected, "{}: {capabilities:?}", block.place);
        }
        let plugin_lines = cyrus.log().since(mark);
        let plugin_lines = plugin_lines
            .iter()
            .filter(|line| line.text.contains("sso: "));
        assert_eq!(
            plugin_lines.count(),
            0,
            "{}\n{}",
            block.place,
            cyrus.log().tail()
        );
    }
}

/// Returns the output of `sasl-sso check` for a valid file.
fn check_output(block: &Block, path: &Path, plugins: &Path) -> String {
    let mut check = Command::new(program());
    let check = check.args(["check", "--config"]).arg(path);
    let output = check.arg("--plugin-dir").arg(plugins).output();
    let output = output.expect("cannot run sasl-sso: run `make build`");
    assert!(output.status.success(), "{}: {output:?}", block.place);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    // This Cyrus offers mechanisms without TLS, and no daemon runs.
    let is_of_the_test = |line: &&str| {
        line.contains("allowplaintext: ") || line.contains("nobody answers at /run/sasl-sso/mux")
    };
    let mut warnings = said.lines().filter(|line| line.contains(": warning: "));
    let warning = warnings.find(|line| !is_of_the_test(line));
    assert_eq!(warning, None, "{}", block.place);
    said
}

#[test]
fn quoted_examples_match_the_example_files() {
    for (block, example) in [
        (configurations("smtpd.conf").remove(0), "smtpd.conf"),
        (
            configuration_of_page("docs/migration.md"),
            "from-pam_cas.conf",
        ),
    ] {
        assert_eq!(
            block.settings(),
            examples::lines(example),
            "{}",
            block.place
        );
    }
}

fn configuration_of_page(name: &str) -> Block {
    let blocks = page(name).blocks.into_iter();
    let mut blocks = blocks.filter(|block| matches!(block.kind, Kind::Conf(..)));
    blocks.next().expect("the page has no configuration")
}

#[test]
fn cas_quick_start_accepts_only_real_tickets() {
    let env = DocsEnv::new("quick-cas", &[&named("cas")]);
    let ticket = env.ticket("alice");
    for source in ["validated", "host"] {
        let reply = env.by_ticket(&ticket);
        assert!(reply.ok, "{reply:?}\n{}", env.cyrus.log().tail());
        let line = format!("outcome=accepted user=alice source={source}");
        let logged = |line: &str| env.cyrus.log().contains(line);
        let is_logged =
            test_support::wait::wait_until(test_support::wait::PATIENCE, || logged(&line));
        assert!(is_logged, "{}", env.cyrus.log().tail());
    }
    assert!(!env.by_ticket("PT-1-forged").ok);
    assert_eq!(env.cas.validations(), 2);
}

#[test]
fn openid_quick_start_accepts_only_access_tokens() {
    let env = DocsEnv::new("quick-openid", &[&named("openid")]);
    let token = env.provider.access_token("alice", "RS256");
    for reply in [env.by_token(&token), env.by_xoauth2("alice", &token)] {
        assert!(reply.ok, "{reply:?}\n{}", env.cyrus.log().tail());
    }
    assert!(!env.by_token(&env.provider.id_token("alice")).ok);
    assert!(!env.by_xoauth2("bob", &token).ok);
}
