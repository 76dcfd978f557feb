//! `sasl-sso explain`: it says which step fails and why, as the plugin decides; it changes nothing,
//! and shows no credential.

// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]

mod mechanisms;

use serde_json::json;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use test_support::attacks::Table;
use test_support::explaining::{Explained, explain, explain_json};
use test_support::faulty_cas::Behaviour;
use test_support::key_server::KeyServer;
use test_support::libsasl2::code;
use test_support::libsasl2::site::{PROXY, Site};
use test_support::libsasl2::token_site::TokenSite;

/// Has each attack of a table explained: step and reason are those of the table, and the plugin
/// logs the same.
fn explained(table: &Table) -> usize {
    let conf = table.site.conf(&table.options);
    let mut driver = table.site.driver(&table.options);
    for attack in &table.rows {
        let said = explain_json(&conf, &attack.token, &[]);
        let (what, reason) = (&attack.what, attack.reason);
        assert_eq!(said.field("reason"), reason, "{what}: {said:?}");
        assert_eq!(said.field("step"), attack.step, "{what}: {said:?}");
        assert_eq!(said.status, 1, "{what}: {said:?}");
        let answer = driver.token(&attack.token);
        assert_eq!(answer.reason(), reason, "{what}");
        // But for the seconds.
        let detail = |text: String| text.replace(|c: char| c.is_ascii_digit(), "");
        let logged = answer.field("detail").expect("a detail");
        let said = line_field(&said, "detail");
        assert_eq!(detail(said), detail(logged), "{what}");
    }
    let good = table.site.token(json!({}));
    assert_eq!(explain_json(&conf, &good, &[]).status, 0);
    table.rows.len()
}

/// A field of the line that the log would have.
fn line_field(said: &Explained, name: &str) -> String {
    let line = said.field("log");
    let value = line.split_once(&format!(" {name}=")).expect("the field").1;
    match value.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().expect("a text").to_owned(),
        None => value.split(' ').next().expect("a word").to_owned(),
    }
}

#[test]
fn each_attack_by_a_token_fails_at_its_step_for_the_reason_that_is_logged() {
    let evil = KeyServer::start_with(None);
    // Each is made when it is tried: tokens age.
    let tables: [&dyn Fn() -> Table; 9] = [
        &test_support::attacks::forged_signatures,
        &|| test_support::attacks::foreign_keys(&evil),
        &test_support::attacks::names_of_keys,
        &test_support::attacks::of_others,
        &test_support::attacks::wrong_times,
        &test_support::attacks::unbounded,
        &test_support::attacks::other_purposes,
        &test_support::attacks::ambiguous_claims,
        &test_support::attacks::malformed,
    ];
    let count: usize = tables.iter().map(|table| explained(&table())).sum();
    assert!(count >= 110, "{count}");
    assert_eq!(evil.connections(), 0);
}

#[test]
fn each_attack_by_a_reply_fails_at_its_step_for_the_reason_that_is_logged() {
    for (body, reason, step) in test_support::attacks::replies::all() {
        let site = Site::new("reply");
        site.cas.set(Behaviour::Answer(body.clone()));
        let said = explain_json(&site.conf(&[]), "PT-1-attack", &["--yes"]);
        assert_eq!(said.field("reason"), reason, "{body}: {said:?}");
        assert_eq!(said.field("step"), step, "{body}: {said:?}");
        assert_eq!(said.status, 1, "{body}");
        assert_eq!(site.driver(&[]).ticket("PT-2-attack").reason(), reason);
    }
}

#[test]
fn each_rule_on_tickets_is_shown_with_what_was_found() {
    let site = Site::new("rules");
    let options = [("caspt_require", "role=mail|admin unit=it")];
    let conf = site.conf(&options);
    let mut driver = site.driver(&options);
    let good = [("role", "mail"), ("unit", "it")];
    let evil = "https://evil.example/x";
    for (name, proxies, attributes, reason, step, found) in [
        (
            "foreign",
            &[PROXY, evil][..],
            &good[..],
            "proxy_not_allowed",
            "proxy",
            evil,
        ),
        ("direct", &[], &good, "direct_not_allowed", "proxy", "none"),
        (
            "role",
            &[PROXY],
            &[("role", "guest")],
            "rule_not_met",
            "rule",
            "guest",
        ),
    ] {
        let tickets = [format!("PT-1-{name}"), format!("PT-2-{name}")];
        for ticket in &tickets {
            site.cas.arm_with(ticket, "alice", proxies, attributes);
        }
        let said = explain_json(&conf, &tickets[0], &["--yes"]);
        assert_eq!(said.field("reason"), reason, "{said:?}");
        assert_eq!(said.field("step"), step, "{said:?}");
        assert_eq!(driver.ticket(&tickets[1]).reason(), reason);
        let json = said.json();
        let steps = json["steps"].as_array().expect("steps");
        let failed = steps.iter().find(|step| step["outcome"] == "fails");
        assert_eq!(failed.expect("a step that fails")["found"], found);
    }
    site.cas.arm_with("PT-3-good", "alice", &[PROXY], &good);
    let said = explain_json(&conf, "PT-3-good", &["--yes"]);
    assert_eq!(
        said.verdict(),
        ("accepted".into(), "alice".into()),
        "{said:?}"
    );
    assert_eq!(said.step("proxy"), ["ok", PROXY, PROXY]);
    assert_eq!(said.step("rule"), ["ok", "mail", "role=mail|admin"]);
    let [_, found, wanted] = said.step("request");
    assert!(found.starts_with("HTTP status 200"), "{found}");
    let url = format!(
        "GET {}/p3/proxyValidate?service=imap%3A%2F%2Flocalhost",
        site.cas.url()
    );
    assert_eq!(wanted, format!("{url}&ticket=PT-…"));
}

#[test]
fn an_outage_is_named_with_the_server_that_failed_and_decides_nothing() {
    let mut site = Site::new("outage");
    let conf = site.conf(&[("caspt_timeout", "3")]);
    let explained = || explain_json(&conf, "PT-1-outage", &["--yes"]);
    let nonsense = Behaviour::Answer("<html>".to_owned());
    for (behaviour, reason, step) in [
        (Behaviour::HangAfterRequest, "server_timeout", "request"),
        (Behaviour::CloseAfterRequest, "reply_unusable", "request"),
        (nonsense, "reply_unusable", "reply"),
    ] {
        site.cas.set(behaviour);
        let said = explained();
        assert_eq!(
            said.verdict(),
            ("unavailable".into(), reason.into()),
            "{said:?}"
        );
        assert_eq!(said.field("step"), step, "{said:?}");
        assert_eq!(said.status, 2, "{said:?}");
    }
    // The older path is asked if there is no newer, and both are shown.
    site.cas.set(Behaviour::NotFoundOnP3);
    site.cas.arm("PT-1-outage", "alice", &[PROXY]);
    let said = explained();
    assert_eq!(said.status, 0, "{said:?}");
    assert_eq!(said.out.matches("HTTP status").count(), 2, "{said:?}");
    assert!(said.out.contains("the ticket is used up"), "{said:?}");
    site.cas.refuse();
    let said = explained();
    assert_eq!(said.field("reason"), "server_unreachable");
    assert!(said.out.contains("it is not used up"), "{said:?}");
}

#[test]
fn a_ticket_is_not_used_up_unless_somebody_agreed() {
    let site = Site::new("consent");
    site.cas.arm("PT-1-alice", "alice", &[PROXY]);
    let conf = site.conf(&[]);
    let said = explain_json(&conf, "PT-1-alice\n", &[]);
    assert_eq!(
        (said.field("outcome").as_str(), said.status),
        ("not_asked", 2)
    );
    assert!(said.out.contains("say --yes"), "{said:?}");
    assert_eq!(said.step("form")[0], "ok");
    assert_eq!(said.step("request")[0], "not_reached");
    assert_eq!(site.cas.connections(), 0);
    let text = explain(&conf, b"PT-1-alice\r\n", &[]);
    assert_eq!(text.status, 2);
    assert!(text.out.contains("not_asked"), "{text:?}");
    // Nor does what was asked about open anything.
    assert_eq!(explain_json(&conf, "PT-1-alice", &["--yes"]).status, 0);
    let said = explain_json(&conf, "PT-1-alice", &["--yes"]);
    assert_eq!(said.field("reason"), "ticket_refused");
    assert!(said.out.contains("is used up"), "{said:?}");
    assert!(!site.scratch.join("state").exists());
}

#[test]
fn what_the_host_knows_is_asked_first_and_costs_no_ticket() {
    let site = Site::new("known");
    let conf = site.conf(&[]);
    let mut driver = site.driver(&[]);
    site.cas.arm("PT-1-alice", "alice", &[PROXY]);
    let answer = driver.ticket("PT-1-alice");
    assert_eq!(answer.code(), code::OK);
    assert_eq!(driver.ticket("PT-2-unknown").reason(), "ticket_refused");
    let asked = site.cas.requests().len();
    let said = explain_json(&conf, "PT-1-alice", &[]);
    assert_eq!(
        said.verdict(),
        ("accepted".into(), "alice".into()),
        "{said:?}"
    );
    let [outcome, found, _] = said.step("session");
    assert_eq!(
        (outcome.as_str(), found.as_str()),
        ("ok", "known (host): taken without asking")
    );
    assert_eq!(line_field(&said, "source"), "host");
    assert_eq!(
        line_field(&said, "digest"),
        answer.field("digest").expect("a digest")
    );
    // A refusal is remembered for some seconds; if they are over CAS is not asked either.
    let refused = explain_json(&conf, "PT-2-unknown", &[]);
    let known =
        refused.step("session")[0] == "fails" && refused.field("reason") == "ticket_refused";
    assert!(
        known || refused.field("outcome") == "not_asked",
        "{refused:?}"
    );
    assert_eq!(site.cas.requests().len(), asked);
}

#[test]
fn nothing_on_the_host_is_changed() {
    let site = TokenSite::new("unchanged");
    let conf = site.conf(&[]);
    let state = site.scratch.join("state");
    let bad = site.token(json!({"exp": 1}));
    let good = site.token(json!({}));
    for token in [&good, &bad] {
        explain_json(&conf, token, &[]);
    }
    assert!(!state.exists());
    let mut driver = site.driver(&[]);
    assert_eq!(
        driver.token(&site.token(json!({"jti": "1"}))).code(),
        code::OK
    );
    drop(driver);
    let before = inventory(&state);
    for token in [&good, &bad, &site.token(json!({"iss": "x"}))] {
        explain_json(&conf, token, &[]);
    }
    assert_eq!(inventory(&state), before);
    assert_eq!(
        site.driver(&[]).token(&good).field("source").as_deref(),
        Some("validated")
    );
}

/// The files of the state directory, whose they are, and what is in the store.
fn inventory(directory: &Path) -> Vec<(String, u32, u32, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .expect("the state directory")
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let metadata = std::fs::metadata(&path).expect("a file");
            let name = path.display().to_string();
            let is_store = name.ends_with(".mdb");
            let bytes = is_store.then(|| std::fs::read(&path).expect("the store"));
            (
                name,
                metadata.uid(),
                metadata.mode(),
                bytes.unwrap_or_default(),
            )
        })
        .collect();
    files.sort();
    files
}

#[test]
fn no_credential_is_shown_and_none_is_an_argument() {
    let site = Site::new("secrets");
    let conf = site.conf(&[]);
    let ticket = "PT-1-qj7w2mZx9Kd4vT1p";
    let failure = test_support::cas_reply::failure(
        "INVALID_TICKET",
        &format!("Ticket {ticket} \u{1b}[31m no"),
    );
    site.cas.set(Behaviour::Answer(failure));
    for arguments in [&["--yes"][..], &["--yes", "--json"], &[]] {
        let said = explain(&conf, ticket.as_bytes(), arguments);
        let all = format!("{}{}", said.out, said.err);
        assert!(!all.contains("qj7w2mZx9Kd4vT1p"), "{all}");
        assert!(!all.contains('\u{1b}'), "{all:?}");
    }
    let tokens = TokenSite::new("secrets2");
    let token = tokens.token(json!({"sub": "al\u{1b}[31mice", "x": "\u{202e}y\r\nz"}));
    let conf = tokens.conf(&[]);
    for text in [
        token.clone(),
        format!("{token}.x"),
        format!("Bearer {token}"),
    ] {
        for arguments in [&[][..], &["--json"]] {
            let said = explain(&conf, text.as_bytes(), arguments);
            let all = format!("{}{}", said.out, said.err);
            for part in token.split('.') {
                assert!(!all.contains(part), "{all}");
            }
            let is_hidden = |c: char| c != '\n' && c.is_control() || c == '\u{202e}';
            assert!(!all.contains(is_hidden), "{all:?}");
            assert_eq!(said.status, 1, "{said:?}");
        }
    }
    let said = explain(&conf, b"", &[&token]);
    assert_eq!((said.status, said.out.as_str()), (2, ""));
    let signature = token.rsplit('.').next().expect("a signature");
    assert!(!said.err.contains(signature), "{said:?}");
    assert!(said.err.contains("is no argument"), "{said:?}");
}

#[test]
fn who_it_is_is_shown_from_the_claim_to_the_mailbox() {
    let site = TokenSite::new("names");
    let options = [
        ("jwt_user_claim", "mail"),
        ("sso_strip_domain", "univ.example"),
        ("sso_realm", "example.org"),
    ];
    let conf = site.conf(&options);
    let with_host = std::fs::read_to_string(&conf).expect("the file").replace(
        "username_tolower: no",
        "username_tolower: yes\ndefaultdomain: example.org",
    );
    let conf = site.scratch.write("imapd2.conf", with_host);
    let token = site.token(json!({"mail": "Alice@univ.example"}));
    let said = explain_json(&conf, &token, &["--user", "ALICE"]);
    assert_eq!(
        said.verdict(),
        ("accepted".into(), "alice".into()),
        "{said:?}"
    );
    assert_eq!(said.step("user")[1], "mail=Alice@univ.example");
    assert_eq!(said.step("principal")[1], "Alice@univ.example");
    assert_eq!(said.step("mail user")[1], "Alice@example.org");
    assert_eq!(said.step("host's name")[1], "alice");
    let said = explain_json(&conf, &token, &["--user", "bob"]);
    assert_eq!(said.field("reason"), "user_mismatch");
    assert_eq!(said.field("step"), "claimed");
}

#[test]
fn what_is_no_credential_of_what_is_configured_is_said_to_be_none() {
    let site = TokenSite::new("kinds");
    let conf = site.conf(&[]);
    let said = explain(&conf, b"PT-1-alice", &[]);
    assert_eq!(said.status, 2);
    assert!(said.err.contains("sasl_caspt_url is not set"), "{said:?}");
    let nothing = site
        .scratch
        .write("nothing.conf", "configdirectory: /x\ncyrus_user: root\n");
    assert!(explain(&nothing, b"x", &[]).err.contains("set one"));
    let missing = explain(&conf, b"", &["--file", "/missing/token"]);
    assert_eq!(missing.status, 2);
    assert!(missing.err.contains("/missing/token: "), "{missing:?}");
    let wrong = site.conf(&[("jwt_leeway", "long"), ("jwt_timeout", "never")]);
    let said = explain(&wrong, b"x.y.z", &[]);
    assert_eq!(said.status, 2);
    assert!(said.err.contains("sasl_jwt_leeway: ") && said.err.contains("sasl_jwt_timeout: "));
}

#[test]
fn checks_that_do_not_depend_on_the_one_that_failed_are_made_as_well() {
    let site = TokenSite::new("others");
    let token = site.token(json!({"aud": "x", "exp": 1, "sub": 7}));
    let said = explain_json(&site.conf(&[]), &token, &[]);
    assert_eq!(said.field("reason"), "audience_not_allowed");
    for (step, outcome) in [
        ("signature", "ok"),
        ("aud", "fails"),
        ("exp", "fails"),
        ("nbf", "ok"),
        ("iat", "ok"),
        ("user", "fails"),
        ("principal", "not_reached"),
    ] {
        assert_eq!(said.step(step)[0], outcome, "{step}: {said:?}");
    }
    let text = explain(&site.conf(&[]), token.as_bytes(), &[]);
    assert!(
        text.out
            .contains("\n  aud          FAILS  x  [jwt_audience https://mail.example]\n"),
        "{text:?}"
    );
    assert!(
        text.out
            .contains("\nrefused: audience_not_allowed: aud is x"),
        "{text:?}"
    );
    assert!(text.out.contains("\n  what to do: "), "{text:?}");
}

#[test]
fn what_is_known_but_would_be_refused_now_is_said_to_be_both() {
    let site = TokenSite::new("stale");
    let keys = site.pem_file(&[&site.key]);
    let options = [("jwt_keys", keys.as_str())];
    let token = site.token(json!({}));
    let conf = site.conf(&options);
    let mut driver = site.driver(&options);
    assert_eq!(driver.token(&token).code(), code::OK);
    // The session is written when the exchange is over, which it is by now.
    driver.ask("list");
    let withdrawn = test_support::mint::SigningKey::p256();
    site.pem_file(&[&withdrawn]);
    let said = explain_json(&conf, &token, &[]);
    assert_eq!(
        said.verdict(),
        ("accepted".into(), "alice".into()),
        "{said:?}"
    );
    assert_eq!(said.step("session")[0], "ok");
    assert_eq!(said.step("signature")[0], "fails");
    assert!(
        said.out
            .contains("what would be found out now is another thing"),
        "{said:?}"
    );
    let [_, found, wanted] = said.step("keys");
    assert!(
        found.contains(&format!("{keys} (ES256) is tried")),
        "{found}"
    );
    assert_eq!(wanted, format!("a key of {keys}"));
}
