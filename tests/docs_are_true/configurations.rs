//! Configurations are loaded, and those of the quick starts let people in.

use crate::documents::site::{Site, program};
use crate::documents::{Block, Kind, configurations, named, page};
use crate::harness;
use crate::harness::authority::Authority;
use crate::harness::cyrus::{Cyrus, Options, Service};
use crate::harness::examples;
use crate::harness::imap::Imap;
use crate::harness::scratch::Scratch;
use crate::libsasl2;
use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn every_configuration_passes_the_check_and_is_what_imapd_offers() {
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
        let said = checked(&block, &path, &cyrus.plugin_dir());
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
fn checked(block: &Block, path: &Path, plugins: &Path) -> String {
    let mut check = Command::new(program());
    let check = check.args(["check", "--config"]).arg(path);
    let output = check.arg("--plugin-dir").arg(plugins).output();
    let output = output.expect("sasl-sso: run `make build`");
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
