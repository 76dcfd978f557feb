//! Runs `sasl-sso check --online` against correct, faulty and unreachable servers.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

use serde_json::{Value, json};
use std::process::Command;
use test_support::authority::Authority;
use test_support::base64;
use test_support::cas::CasServer;
use test_support::cas_reply;
use test_support::faulty_cas::{Behaviour, FaultyCas};
use test_support::key_server::KeyServer;
use test_support::mint::{self, SigningKey};
use test_support::oidc::OidcProvider;
use test_support::port::Port;
use test_support::scratch::Scratch;

const P3: &str = "/p3/proxyValidate";

/// Checks a configuration with these options; returns the exit status and the document.
fn check(scratch: &Scratch, lines: &[(&str, &str)]) -> (i32, Value) {
    let text: String = lines
        .iter()
        .map(|(name, value)| format!("{name}: {value}\n"))
        .collect();
    let proxies = match text.contains("caspt_url") {
        true => "sasl_caspt_proxies: https://webmail.example/*\n",
        false => "",
    };
    let text = format!("servername: mail.example\n{proxies}{text}");
    let conf = scratch.write("imapd.conf", text);
    let plugin = test_support::libsasl2::plugin();
    let output = Command::new(plugin.with_file_name("sasl-sso"))
        .args(["check", "--json", "--online", "--plugin-dir"])
        .arg(plugin.parent().expect("a directory"))
        .arg("--config")
        .arg(conf)
        .output()
        .expect("sasl-sso: run `make build`");
    let document = serde_json::from_slice(&output.stdout).expect("a document");
    (output.status.code().expect("an exit status"), document)
}

/// The text of all diagnostics with this severity about this option.
fn said(document: &Value, severity: &str, option: &str) -> String {
    let all = document["findings"].as_array().expect("findings").iter();
    let matching = all.filter(|one| one["severity"] == severity && one["option"] == option);
    matching
        .map(|one| format!("{}; {}\n", one["problem"], one["remedy"]))
        .collect()
}

/// A scratch directory, a certificate authority, and the path of its certificate.
fn site(name: &str) -> (Scratch, Authority, String) {
    let scratch = Scratch::new(name);
    let authority = Authority::new();
    let ca = authority.write_ca(&scratch).display().to_string();
    (scratch, authority, ca)
}

#[test]
fn check_sends_a_real_cas_one_impossible_ticket_per_service() {
    let (scratch, authority, ca) = site("online-cas");
    let cas = CasServer::start(&scratch, &authority);
    let (status, document) = check(
        &scratch,
        &[
            ("sasl_caspt_url", &cas.url()),
            ("sasl_caspt_ca_file", &ca),
            ("pop3_sasl_caspt_timeout", "4"),
        ],
    );
    assert_eq!(status, 0, "{document}");
    let services = ["imap://mail.example", "pop://mail.example"];
    let online = document["online"].as_array().expect("servers");
    assert_eq!(online.len(), 2, "{document}");
    for (one, service) in online.iter().zip(services) {
        assert_eq!(one["service"], service);
        assert_eq!(
            (&one["path"], &one["answer"]),
            (&json!(P3), &json!("INVALID_TICKET"))
        );
        assert_eq!(one["certificate"]["issuer"], "CN=SSO test authority");
        assert!(one["certificate"]["days"].as_i64().expect("days") > 300);
    }
    assert_eq!(cas.validations(), 2);
}

#[test]
fn faulty_cas_server_is_reported_with_its_fault() {
    let (scratch, authority, ca) = site("online-wrong");
    let mut cas = FaultyCas::start(&authority);
    let url = cas.url();
    let lines = [("sasl_caspt_url", &*url), ("sasl_caspt_ca_file", &*ca)];
    let html = "<html><body>Welcome</body></html>".to_owned();
    let forbidden = cas_reply::failure("INVALID_SERVICE", "imap://mail.example is not registered");
    let accepted = cas_reply::success("alice", &[], &[]);
    for (behaviour, option, what) in [
        (
            Behaviour::Answer(html),
            "caspt_url",
            "does not answer as a CAS server",
        ),
        (
            Behaviour::Answer(forbidden.clone()),
            "caspt_service",
            "register it in CAS",
        ),
        (
            Behaviour::Answer(accepted),
            "caspt_url",
            "takes a ticket that nobody issued",
        ),
        (
            Behaviour::Redirect("https://elsewhere.example/".to_owned()),
            "caspt_url",
            "HTTP status 302",
        ),
        (Behaviour::CloseAfterRequest, "caspt_url", "server"),
    ] {
        cas.set(behaviour.clone());
        let (status, document) = check(&scratch, &lines);
        let said = said(&document, "fault", &format!("sasl_{option}"));
        assert_eq!(status, 1, "{behaviour:?}");
        assert!(said.contains(what), "{behaviour:?}: {document}");
    }
    // pop3d gets no tickets here, so a fault of its service is only a warning.
    cas.set(Behaviour::Answer(forbidden));
    let pop = ("pop3_sasl_caspt_timeout", "4");
    let (_, document) = check(&scratch, &[lines[0], lines[1], pop]);
    let of = |severity| said(&document, severity, "sasl_caspt_service");
    assert!(
        of("fault").contains("the service imap://mail.example"),
        "{document}"
    );
    assert!(!of("fault").contains("the service pop://"), "{document}");
    assert!(
        of("warning").contains("the service pop://mail.example"),
        "{document}"
    );
    // A server that only supports an older version of the protocol is acceptable.
    cas.set(Behaviour::NotFoundOnP3);
    let (status, document) = check(&scratch, &lines);
    assert_eq!(status, 0, "{document}");
    assert_eq!(document["online"][0]["path"], "/proxyValidate");
    // The system's trust anchors do not include the test authority.
    let (status, document) = check(&scratch, &lines[..1]);
    assert_eq!(status, 1);
    let fault = said(&document, "fault", "sasl_caspt_url");
    assert!(fault.contains("file of sasl_caspt_ca_file"), "{document}");
    assert_eq!(document["online"][0]["reason"], "server_untrusted");
    cas.refuse();
    let (status, document) = check(&scratch, &lines);
    assert_eq!(status, 1);
    assert_eq!(document["online"][0]["reason"], "server_unreachable");
    // No request contained a ticket that could have been issued to a user.
    let requests = cas.requests();
    let is_marked = |line: &String| line.contains("ticket=PT-sasl-sso-check-of-the-configuration-");
    assert!(
        !requests.is_empty() && requests.iter().all(is_marked),
        "{requests:?}"
    );
}

#[test]
fn each_of_several_cas_servers_is_probed() {
    let (scratch, authority, ca) = site("online-several");
    let cas = FaultyCas::start(&authority);
    let dead = Port::reserve();
    let urls = format!("https://localhost:{}/cas {}", dead.number(), cas.url());
    let (status, document) = check(
        &scratch,
        &[("sasl_caspt_url", &urls), ("sasl_caspt_ca_file", &ca)],
    );
    assert_eq!(status, 0, "{document}");
    assert_eq!(document["online"][0]["reason"], "server_unreachable");
    assert_eq!(document["online"][1]["answer"], "INVALID_TICKET");
    let said = said(&document, "warning", "sasl_caspt_url");
    assert!(
        said.contains(&format!("localhost:{}", dead.number())),
        "{document}"
    );
}

#[test]
fn keys_of_a_real_issuer_are_listed_and_its_name_must_match_exactly() {
    let (scratch, authority, ca) = site("online-issuer");
    let provider = OidcProvider::start(&scratch, &authority);
    let lines = |issuer: &str| {
        check(
            &scratch,
            &[
                ("sasl_jwt_issuer", issuer),
                ("sasl_jwt_keys", "discovery"),
                ("sasl_jwt_audience", "imap.example"),
                ("sasl_jwt_ca_file", &ca),
            ],
        )
    };
    let (status, document) = lines(&provider.issuer());
    assert_eq!(status, 0, "{document}");
    let keys = document["online"][0]["keys"].as_array().expect("keys");
    let kinds: Vec<&str> = keys.iter().filter_map(|key| key["kind"].as_str()).collect();
    for kind in ["RSA 2048 bits", "EC P-256", "OKP Ed25519"] {
        assert!(kinds.contains(&kind), "{document}");
    }
    assert!(
        keys.iter().all(|key| key["problem"].is_null()),
        "{document}"
    );
    assert_eq!(
        document["online"][0]["certificate"]["issuer"],
        "CN=SSO test authority"
    );
    // The issuer must match exactly.
    let (status, document) = lines(&format!("{}/", provider.issuer()));
    assert_eq!(status, 1);
    let said = said(&document, "fault", "sasl_jwt_keys");
    assert!(said.contains("is of the issuer"), "{document}");
}

#[test]
fn published_keys_with_the_roca_fingerprint_are_reported() {
    let (scratch, authority, ca) = site("online-roca");
    let issuer = KeyServer::start(&authority);
    let uri = issuer.jwks_uri();
    let name = issuer.issuer();
    let mut good = SigningKey::rsa().jwk();
    good["kid"] = json!("good");
    let n = base64::encode_url(&mint::vulnerable_modulus());
    let card = json!({"kty": "RSA", "kid": "card", "n": n, "e": "AQAB"});
    issuer.set_keys(&[good, card]);
    let lines = [
        ("sasl_jwt_issuer", &*name),
        ("sasl_jwt_keys", &*uri),
        ("sasl_jwt_audience", "imap.example"),
        ("sasl_jwt_ca_file", &*ca),
    ];
    let (status, document) = check(&scratch, &lines);
    assert_eq!(status, 0, "{document}");
    let said = said(&document, "warning", "sasl_jwt_keys");
    assert!(
        said.contains("the key card: this RSA key has the ROCA fingerprint"),
        "{document}"
    );
    assert!(!said.contains("the key good"), "{document}");
}

#[test]
fn unusable_keys_are_reported_with_the_reason() {
    let (scratch, authority, ca) = site("online-keys");
    let issuer = KeyServer::start(&authority);
    let uri = issuer.jwks_uri();
    let name = issuer.issuer();
    let lines = [
        ("sasl_jwt_issuer", &*name),
        ("sasl_jwt_keys", &*uri),
        ("sasl_jwt_audience", "imap.example"),
        ("sasl_jwt_ca_file", &*ca),
    ];
    let mut good = SigningKey::p256().jwk();
    good["kid"] = json!("good");
    let short = json!({"kty": "RSA", "kid": "short", "n": "AQAB", "e": "AQAB"});
    let encryption_key = json!({"kty": "EC", "kid": "enc", "use": "enc"});
    issuer.set_keys(&[good, short.clone(), encryption_key]);
    let (status, document) = check(&scratch, &lines);
    assert_eq!(status, 0, "{document}");
    let keys = &document["online"][0]["keys"];
    assert_eq!(keys[0]["algorithms"], json!(["ES256"]));
    assert!(
        keys[1]["problem"]
            .as_str()
            .expect("a problem")
            .contains("RSA"),
        "{document}"
    );
    assert!(
        keys[2]["problem"]
            .as_str()
            .expect("a problem")
            .contains("something else")
    );
    let warned = said(&document, "warning", "sasl_jwt_keys");
    assert!(
        warned.contains("the key short") && !warned.contains("the key enc"),
        "{document}"
    );
    // The keys and the configured algorithms have none in common.
    let algorithms = [&lines[..], &[("sasl_jwt_algorithms", "RS256 PS256")]].concat();
    let (status, document) = check(&scratch, &algorithms);
    assert_eq!(status, 1);
    assert!(
        !said(&document, "fault", "sasl_jwt_algorithms").is_empty(),
        "{document}"
    );
    issuer.set_keys(&[short]);
    let (status, document) = check(&scratch, &lines);
    assert_eq!(status, 1);
    let fault = said(&document, "fault", "sasl_jwt_keys");
    assert!(fault.contains("no key that could be used"), "{document}");
    issuer.set(Behaviour::Answer("<html>".to_owned()));
    let (status, document) = check(&scratch, &lines);
    assert_eq!(status, 1);
    assert_eq!(document["online"][0]["reason"], "reply_unusable");
}
