//! `sasl-sso explain` reports which check fails and why, in agreement with the plugin; it changes
//! nothing on the host and prints no credential.

// clippy recognizes only #[test] functions as tests.
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

/// Explains each attack of a table and compares the failed check, the reason and the detail with
/// the table and with the plugin's log line. Returns the number of attacks.
fn assert_agrees_with_plugin(table: &Table) -> usize {
    let conf = table.site.conf(&table.options);
    let mut driver = table.site.driver(&table.options);
    for attack in &table.rows {
        let output = explain_json(&conf, &attack.token, &[]);
        let (what, reason) = (&attack.what, attack.reason);
        assert_eq!(output.field("reason"), reason, "{what}: {output:?}");
        assert_eq!(output.field("step"), attack.step, "{what}: {output:?}");
        assert_eq!(output.status, 1, "{what}: {output:?}");
        let answer = driver.token(&attack.token);
        assert_eq!(answer.reason(), reason, "{what}");
        // Times differ by some seconds, so digits are ignored.
        let detail = |text: String| text.replace(|c: char| c.is_ascii_digit(), "");
        let logged = answer.field("detail").expect("a detail");
        let output = line_field(&output, "detail");
        assert_eq!(detail(output), detail(logged), "{what}");
    }
    let good = table.site.token(json!({}));
    assert_eq!(explain_json(&conf, &good, &[]).status, 0);
    table.rows.len()
}

/// A field of the log line that the plugin would write.
fn line_field(output: &Explained, name: &str) -> String {
    let line = output.field("log");
    let value = line.split_once(&format!(" {name}=")).expect("the field").1;
    match value.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().expect("a text").to_owned(),
        None => value.split(' ').next().expect("a word").to_owned(),
    }
}

#[test]
fn each_token_attack_fails_at_its_check_with_the_logged_reason() {
    let evil = KeyServer::start_with(None);
    // Each table is made immediately before its use, because tokens expire.
    let tables: [&dyn Fn() -> Table; 9] = [
        &test_support::attacks::forged_signatures,
        &|| test_support::attacks::foreign_keys(&evil),
        &test_support::attacks::key_ids,
        &test_support::attacks::other_issuers_and_audiences,
        &test_support::attacks::wrong_times,
        &test_support::attacks::unbounded,
        &test_support::attacks::other_purposes,
        &test_support::attacks::ambiguous_claims,
        &test_support::attacks::malformed,
    ];
    let count: usize = tables
        .iter()
        .map(|table| assert_agrees_with_plugin(&table()))
        .sum();
    assert!(count >= 110, "{count}");
    assert_eq!(evil.connections(), 0);
}

#[test]
fn each_reply_attack_fails_at_its_check_with_the_logged_reason() {
    for (body, reason, step) in test_support::attacks::replies::all() {
        let site = Site::new("reply");
        site.cas.set(Behaviour::Answer(body.clone()));
        let output = explain_json(&site.conf(&[]), "PT-1-attack", &["--yes"]);
        assert_eq!(output.field("reason"), reason, "{body}: {output:?}");
        assert_eq!(output.field("step"), step, "{body}: {output:?}");
        assert_eq!(output.status, 1, "{body}");
        assert_eq!(site.driver(&[]).ticket("PT-2-attack").reason(), reason);
    }
}

#[test]
fn ticket_policy_checks_show_the_actual_values() {
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
        let output = explain_json(&conf, &tickets[0], &["--yes"]);
        assert_eq!(output.field("reason"), reason, "{output:?}");
        assert_eq!(output.field("step"), step, "{output:?}");
        assert_eq!(driver.ticket(&tickets[1]).reason(), reason);
        let json = output.json();
        let steps = json["steps"].as_array().expect("steps");
        let failed = steps.iter().find(|step| step["outcome"] == "fails");
        assert_eq!(failed.expect("a step that fails")["found"], found);
    }
    site.cas.arm_with("PT-3-good", "alice", &[PROXY], &good);
    let output = explain_json(&conf, "PT-3-good", &["--yes"]);
    assert_eq!(
        output.verdict(),
        ("accepted".into(), "alice".into()),
        "{output:?}"
    );
    assert_eq!(output.step("proxy"), ["ok", PROXY, PROXY]);
    assert_eq!(output.step("rule"), ["ok", "mail", "role=mail|admin"]);
    let [_, found, wanted] = output.step("request");
    assert!(found.starts_with("HTTP status 200"), "{found}");
    let url = format!(
        "GET {}/p3/proxyValidate?service=imap%3A%2F%2Flocalhost",
        site.cas.url()
    );
    assert_eq!(wanted, format!("{url}&ticket=PT-…"));
}

#[test]
fn outage_is_reported_as_such_and_shows_the_failed_check() {
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
        let output = explained();
        assert_eq!(
            output.verdict(),
            ("unavailable".into(), reason.into()),
            "{output:?}"
        );
        assert_eq!(output.field("step"), step, "{output:?}");
        assert_eq!(output.status, 2, "{output:?}");
    }
    // The older path is requested if the newer one does not exist, and both requests are shown.
    site.cas.set(Behaviour::NotFoundOnP3);
    site.cas.arm("PT-1-outage", "alice", &[PROXY]);
    let output = explained();
    assert_eq!(output.status, 0, "{output:?}");
    assert_eq!(output.out.matches("HTTP status").count(), 2, "{output:?}");
    assert!(output.out.contains("the ticket is used up"), "{output:?}");
    site.cas.refuse();
    let output = explained();
    assert_eq!(output.field("reason"), "server_unreachable");
    assert!(output.out.contains("it is not used up"), "{output:?}");
}

#[test]
fn ticket_is_not_used_up_without_consent() {
    let site = Site::new("consent");
    site.cas.arm("PT-1-alice", "alice", &[PROXY]);
    let conf = site.conf(&[]);
    let output = explain_json(&conf, "PT-1-alice\n", &[]);
    assert_eq!(
        (output.field("outcome").as_str(), output.status),
        ("not_asked", 2)
    );
    assert!(output.out.contains("say --yes"), "{output:?}");
    assert_eq!(output.step("form")[0], "ok");
    assert_eq!(output.step("request")[0], "not_reached");
    assert_eq!(site.cas.connections(), 0);
    let text = explain(&conf, b"PT-1-alice\r\n", &[]);
    assert_eq!(text.status, 2);
    assert!(text.out.contains("not_asked"), "{text:?}");
    // Accepting the ticket in explain does not create a session.
    assert_eq!(explain_json(&conf, "PT-1-alice", &["--yes"]).status, 0);
    let output = explain_json(&conf, "PT-1-alice", &["--yes"]);
    assert_eq!(output.field("reason"), "ticket_refused");
    assert!(output.out.contains("is used up"), "{output:?}");
    assert!(!site.scratch.join("state").exists());
}

#[test]
fn cached_result_is_shown_without_asking_cas() {
    let site = Site::new("known");
    let conf = site.conf(&[]);
    let mut driver = site.driver(&[]);
    site.cas.arm("PT-1-alice", "alice", &[PROXY]);
    let answer = driver.ticket("PT-1-alice");
    assert_eq!(answer.code(), code::OK);
    assert_eq!(driver.ticket("PT-2-unknown").reason(), "ticket_refused");
    let asked = site.cas.requests().len();
    let output = explain_json(&conf, "PT-1-alice", &[]);
    assert_eq!(
        output.verdict(),
        ("accepted".into(), "alice".into()),
        "{output:?}"
    );
    let [outcome, found, _] = output.step("session");
    assert_eq!(
        (outcome.as_str(), found.as_str()),
        ("ok", "known (host): taken without asking")
    );
    assert_eq!(line_field(&output, "source"), "host");
    assert_eq!(
        line_field(&output, "digest"),
        answer.field("digest").expect("a digest")
    );
    // A negative entry lasts for some seconds; without it, CAS is not asked either.
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
fn explain_changes_nothing_on_the_host() {
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

/// The files of the state directory with owner, mode, and the content of LMDB's data files.
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
fn credential_is_never_printed_and_not_accepted_as_an_argument() {
    let site = Site::new("secrets");
    let conf = site.conf(&[]);
    let ticket = "PT-1-qj7w2mZx9Kd4vT1p";
    let failure = test_support::cas_reply::failure(
        "INVALID_TICKET",
        &format!("Ticket {ticket} \u{1b}[31m no"),
    );
    site.cas.set(Behaviour::Answer(failure));
    for arguments in [&["--yes"][..], &["--yes", "--json"], &[]] {
        let output = explain(&conf, ticket.as_bytes(), arguments);
        let all = format!("{}{}", output.out, output.err);
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
            let output = explain(&conf, text.as_bytes(), arguments);
            let all = format!("{}{}", output.out, output.err);
            for part in token.split('.') {
                assert!(!all.contains(part), "{all}");
            }
            let is_hidden = |c: char| c != '\n' && c.is_control() || c == '\u{202e}';
            assert!(!all.contains(is_hidden), "{all:?}");
            assert_eq!(output.status, 1, "{output:?}");
        }
    }
    let output = explain(&conf, b"", &[&token]);
    assert_eq!((output.status, output.out.as_str()), (2, ""));
    let signature = token.rsplit('.').next().expect("a signature");
    assert!(!output.err.contains(signature), "{output:?}");
    assert!(output.err.contains("is no argument"), "{output:?}");
}

#[test]
fn user_name_is_shown_from_the_claim_to_the_mailbox() {
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
    let output = explain_json(&conf, &token, &["--user", "ALICE"]);
    assert_eq!(
        output.verdict(),
        ("accepted".into(), "alice".into()),
        "{output:?}"
    );
    assert_eq!(output.step("user")[1], "mail=Alice@univ.example");
    assert_eq!(output.step("principal")[1], "Alice@univ.example");
    assert_eq!(output.step("mail user")[1], "Alice@example.org");
    assert_eq!(output.step("host's name")[1], "alice");
    let output = explain_json(&conf, &token, &["--user", "bob"]);
    assert_eq!(output.field("reason"), "user_mismatch");
    assert_eq!(output.field("step"), "claimed");
}

#[test]
fn unconfigured_credential_and_faulty_configuration_are_reported() {
    let site = TokenSite::new("kinds");
    let conf = site.conf(&[]);
    let output = explain(&conf, b"PT-1-alice", &[]);
    assert_eq!(output.status, 2);
    assert!(
        output.err.contains("sasl_caspt_url is not set"),
        "{output:?}"
    );
    let nothing = site
        .scratch
        .write("nothing.conf", "configdirectory: /x\ncyrus_user: root\n");
    assert!(explain(&nothing, b"x", &[]).err.contains("set one"));
    let missing = explain(&conf, b"", &["--file", "/missing/token"]);
    assert_eq!(missing.status, 2);
    assert!(missing.err.contains("/missing/token: "), "{missing:?}");
    let wrong = site.conf(&[("jwt_leeway", "long"), ("jwt_timeout", "never")]);
    let output = explain(&wrong, b"x.y.z", &[]);
    assert_eq!(output.status, 2);
    assert!(output.err.contains("sasl_jwt_leeway: ") && output.err.contains("sasl_jwt_timeout: "));
}

#[test]
fn checks_independent_of_the_failed_one_are_still_made() {
    let site = TokenSite::new("others");
    let token = site.token(json!({"aud": "x", "exp": 1, "sub": 7}));
    let output = explain_json(&site.conf(&[]), &token, &[]);
    assert_eq!(output.field("reason"), "audience_not_allowed");
    for (step, outcome) in [
        ("signature", "ok"),
        ("aud", "fails"),
        ("exp", "fails"),
        ("nbf", "ok"),
        ("iat", "ok"),
        ("user", "fails"),
        ("principal", "not_reached"),
    ] {
        assert_eq!(output.step(step)[0], outcome, "{step}: {output:?}");
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
fn cached_token_that_would_now_be_refused_shows_both_results() {
    let site = TokenSite::new("stale");
    let keys = site.pem_file(&[&site.key]);
    let options = [("jwt_keys", keys.as_str())];
    let token = site.token(json!({}));
    let conf = site.conf(&options);
    let mut driver = site.driver(&options);
    assert_eq!(driver.token(&token).code(), code::OK);
    // The deferred write has been made by the time that the driver answers again.
    driver.ask("list");
    let withdrawn = test_support::mint::SigningKey::p256();
    site.pem_file(&[&withdrawn]);
    let output = explain_json(&conf, &token, &[]);
    assert_eq!(
        output.verdict(),
        ("accepted".into(), "alice".into()),
        "{output:?}"
    );
    assert_eq!(output.step("session")[0], "ok");
    assert_eq!(output.step("signature")[0], "fails");
    assert!(
        output
            .out
            .contains("what would be found out now is another thing"),
        "{output:?}"
    );
    let [_, found, wanted] = output.step("keys");
    assert!(
        found.contains(&format!("{keys} (ES256) is tried")),
        "{found}"
    );
    assert_eq!(wanted, format!("a key of {keys}"));
}
