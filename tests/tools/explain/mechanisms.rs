//! `sasl-sso explain` where `mech_list` excludes a mechanism: a credential that no offered
//! mechanism accepts is not reported as accepted, and its ticket is not used up.

use serde_json::json;
use test_support::explaining::{explain, explain_json};
use test_support::libsasl2::site::{PROXY, Site};
use test_support::libsasl2::token_site::TokenSite;

#[test]
fn ticket_that_no_mechanism_accepts_is_not_used_up() {
    let site = Site::new("not-offered");
    site.cas.arm("PT-1-alice", "alice", &[PROXY]);
    for list in ["PLAIN", "PLAIN,CASPT", "\"PLAIN CASPT\""] {
        let options = [("mech_list", list)];
        let conf = site.conf(&options);
        // libsasl2 agrees that the mechanism is not offered.
        let offered = site.driver(&options).ask("list").last;
        assert!(
            !offered.contains(&"CASPT".to_owned()),
            "{list}: {offered:?}"
        );
        let output = explain_json(&conf, "PT-1-alice", &["--yes"]);
        let outcome = (output.field("outcome"), output.status);
        assert_eq!(outcome, ("not_offered".into(), 1), "{list}: {output:?}");
        assert!(
            output.out.contains("add CASPT to sasl_mech_list"),
            "{output:?}"
        );
        let text = explain(&conf, b"PT-1-alice", &["--yes"]);
        assert!(
            text.out.contains("not_offered") && !text.out.contains("accepted"),
            "{text:?}"
        );
    }
    assert_eq!(site.cas.connections(), 0);
    // The ticket has not been used up.
    let conf = site.conf(&[("mech_list", "PLAIN CASPT")]);
    let output = explain_json(&conf, "PT-1-alice", &["--yes"]);
    assert_eq!(output.status, 0, "{output:?}");
    assert!(output.field("log").contains("mech=CASPT "), "{output:?}");
}

#[test]
fn ticket_sent_as_a_password_is_explained_as_one() {
    let site = Site::new("offered-otherwise");
    for (ticket, options, mechanism) in [
        (
            "PT-1-alice",
            &[("mech_list", "PLAIN"), ("sso_plain", "yes")][..],
            "PLAIN",
        ),
        (
            "PT-2-alice",
            &[
                ("mech_list", "PLAIN"),
                ("pwcheck_method", "saslauthd"),
                ("saslauthd_path", "/run/sasl-sso/mux"),
            ],
            "saslauthd",
        ),
    ] {
        site.cas.arm(ticket, "alice", &[PROXY]);
        let output = explain_json(&site.conf(options), ticket, &["--yes"]);
        assert_eq!(output.status, 0, "{output:?}");
        assert!(
            output.field("log").contains(&format!("mech={mechanism} ")),
            "{output:?}"
        );
    }
}

#[test]
fn service_that_offers_the_mechanism_is_named() {
    let site = Site::new("offered-elsewhere");
    site.cas.arm("PT-1-alice", "alice", &[PROXY]);
    let conf = site.conf(&[("mech_list", "PLAIN")]);
    let mut text = std::fs::read_to_string(&conf).expect("imapd.conf");
    text += "webmail_sasl_mech_list: PLAIN CASPT\n";
    std::fs::write(&conf, text).expect("imapd.conf");
    let output = explain_json(&conf, "PT-1-alice", &["--yes"]);
    assert_eq!(output.field("outcome"), "not_offered");
    assert!(output.out.contains("say --service webmail"), "{output:?}");
    let output = explain_json(&conf, "PT-1-alice", &["--yes", "--service", "webmail"]);
    assert_eq!(output.status, 0, "{output:?}");
}

#[test]
fn token_is_accepted_only_where_one_of_its_mechanisms_is_offered() {
    let site = TokenSite::new("token-not-offered");
    let token = site.token(json!({}));
    let conf = |list| site.conf(&[("mech_list", list)]);
    let output = explain_json(&conf("PLAIN CASPT"), &token, &[]);
    assert_eq!(
        (output.field("outcome"), output.status),
        ("not_offered".into(), 1),
        "{output:?}"
    );
    assert!(
        output.out.contains("add OAUTHBEARER to sasl_mech_list"),
        "{output:?}"
    );
    let output = explain_json(&conf("PLAIN XOAUTH2"), &token, &[]);
    assert_eq!(output.status, 0, "{output:?}");
    assert!(output.field("log").contains("mech=XOAUTH2 "), "{output:?}");
}
