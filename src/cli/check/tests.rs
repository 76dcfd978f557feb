use std::path::Path;

use super::*;

fn of(config: &Path) -> Arguments {
    Arguments {
        place: Place {
            config: config.to_owned(),
            service: None,
        },
        cyrus_conf: None,
        plugin_dir: None,
        online: false,
        strict: false,
        json: false,
    }
}

/// What is found in a file, but for what depends on the machine; the places of faults
/// and warnings are lines.
fn check(conf: &str) -> (String, Status) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("imapd.conf");
    std::fs::write(&path, conf).unwrap();
    let (mut console, out, _) = Console::of_test("");
    let status = run(&of(&path), &mut console);
    let of_machine = [
        "libsso.so",
        "_state_dir",
        "cyrus_user: ",
        "configdirectory: ",
    ];
    let said: String = out
        .text()
        .replace(&path.display().to_string(), "")
        .lines()
        .filter(|line| !of_machine.iter().any(|text| line.contains(text)))
        .map(|line| format!("{}\n", line.trim_start_matches(": ")))
        .collect();
    (said, status)
}

#[test]
fn every_fault_is_named_and_so_is_an_option_that_nobody_reads() {
    let (said, status) = check(
        "sasl_caspt_url: https://cas.univ.fr/cas\n\
         sasl_caspt_proxy: https://webmail.univ.fr/*\n\
         sasl_caspt_timeout: 5s\n\
         nonsense\n\
         sasl_sso_realm: @univ.fr\n",
    );
    let faults: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("fault:"))
        .collect();
    assert_eq!(faults.len(), 4, "{said}");
    assert!(faults[0].starts_with(":2: fault: sasl_caspt_proxy: there is no such"));
    assert!(faults[1].starts_with(":3: fault: sasl_caspt_timeout: "));
    assert!(faults[2].starts_with(":4: fault: is no option"));
    assert!(faults[3].starts_with(":5: fault: sasl_sso_realm: "));
    assert!(said.ends_with("nothing is offered as long as there are faults\n"));
    assert_eq!(status, Status::Bad);
}

#[test]
fn a_good_configuration_is_called_good() {
    let good = "sasl_caspt_url: https://cas.univ.fr/cas\n\
                sasl_caspt_proxies: https://webmail.univ.fr/*\n";
    assert_eq!(check(good), ("CASPT is offered\n".to_owned(), Status::Good));
    let good = "sasl_jwt_issuers: univ\n\
                sasl_jwt_univ_issuer: https://sso.univ.fr\n\
                sasl_jwt_univ_keys: discovery\n\
                sasl_jwt_univ_audience: mail\n";
    let offered = "OAUTHBEARER and XOAUTH2 are offered\n".to_owned();
    assert_eq!(check(good), (offered, Status::Good));
    let (said, status) = check("configdirectory: /var/lib/cyrus\n");
    assert!(said.starts_with("nothing is offered"), "{said}");
    assert_eq!(status, Status::Good);
}

#[test]
fn keys_that_cannot_be_used_are_named_before_the_first_token() {
    let (said, status) = check(
        "sasl_jwt_keys: /missing/keys\nsasl_jwt_issuer: *\nsasl_jwt_audience: *\n\
         sasl_jwt_univ_keys: discovery\n",
    );
    assert!(said.contains("sasl_jwt_univ_keys: there is no"), "{said}");
    assert_eq!(status, Status::Bad);
    let (said, status) = check("sasl_jwt_issuer: *\nsasl_jwt_audience: *\n");
    assert!(said.contains("no effect without sasl_jwt_keys"), "{said}");
    assert_eq!(status, Status::Bad);
    let (said, status) =
        check("sasl_jwt_keys: /missing/keys\nsasl_jwt_issuer: *\nsasl_jwt_audience: *\n");
    assert!(
        said.starts_with(":1: fault: sasl_jwt_keys: /missing/keys: "),
        "{said}"
    );
    assert_eq!(status, Status::Bad);
}

#[test]
fn a_file_of_sasl_is_read_as_one() {
    let (said, status) = check(
        "mech_list: PLAIN OAUTHBEARER XOAUTH2\njwt_keys: discovery\n\
         jwt_issuer: https://sso.univ.fr\njwt_audience: mail\nsso_plain: yes\n",
    );
    assert_eq!(said, "PLAIN, OAUTHBEARER and XOAUTH2 are offered\n");
    assert_eq!(status, Status::Good);
    let (said, _) = check("jwt_keys: discovery\njwt_isuer: x\n");
    assert!(
        said.contains("\n:2: fault: jwt_isuer: there is no"),
        "{said}"
    );
}

#[test]
fn passwords_go_where_they_are_checked_and_are_stored_nowhere() {
    let cas = "sasl_caspt_url: https://cas.univ.fr/cas\nsasl_sso_plain: yes\n";
    for option in ["sasl_auto_transition", "pop3_sasl_auto_transition"] {
        let conf = format!("{cas}sasl_saslauthd_path: /run/x/mux\n{option}: yes\n");
        let (said, status) = check(&conf);
        let fault = format!(":4: fault: {option}: would store");
        assert!(said.starts_with(&fault), "{said}");
        assert_eq!(status, Status::Bad);
    }
    // What the plugin takes by PLAIN, libsasl2 does not see.
    let (said, status) = check(&format!("{cas}sasl_auto_transition: yes\n"));
    assert!(
        said.starts_with(":3: warning: sasl_auto_transition: "),
        "{said}"
    );
    assert_eq!(status, Status::Good);
    let (said, status) = check(&format!(
        "{cas}sasl_saslauthd_path: /run/x/mux\nsasl_sso_fallback_socket: /run/x//mux\n"
    ));
    let fault = ":4: fault: sasl_sso_fallback_socket: is the daemon's own";
    assert!(said.starts_with(fault), "{said}");
    assert_eq!(status, Status::Bad);
    let (said, _) = check("sasl_sso_plain: yes\n");
    assert!(
        said.contains("sasl_sso_plain: has no effect without"),
        "{said}"
    );
}

#[test]
fn options_of_one_service_are_checked_as_well() {
    let (said, status) = check(
        "sasl_caspt_url: https://cas.univ.fr/cas\n\
         pop3_sasl_caspt_timeout: 5s\n\
         pop3_sasl_caspt_proxy: x\n",
    );
    assert!(said.contains("\nCASPT is offered\n"), "{said}");
    assert!(
        said.contains(" for pop3: fault: pop3_sasl_caspt_proxy: "),
        "{said}"
    );
    assert!(
        said.contains(" for pop3: fault: pop3_sasl_caspt_timeout: "),
        "{said}"
    );
    assert!(said.ends_with(" for pop3: nothing is offered as long as there are faults\n"));
    assert_eq!(status, Status::Bad);
    // What all have in common need not be enough for those that are not configured.
    let (_, status) = check(
        "imap_sasl_caspt_url: https://cas.univ.fr/cas\n\
         sasl_caspt_proxies: https://webmail.univ.fr/*\n",
    );
    assert_eq!(status, Status::Good);
}

#[test]
fn what_is_offered_and_what_is_listed_are_held_against_each_other() {
    let cas = "sasl_caspt_url: https://cas.univ.fr/cas\n";
    let (said, status) = check(&format!("{cas}sasl_mech_list: PLAIN\n"));
    assert!(
        said.starts_with(":2: warning: sasl_mech_list: lacks CASPT"),
        "{said}"
    );
    assert!(said.ends_with("nothing is offered: sasl_mech_list has none of it\n"));
    assert_eq!(status, Status::Good);
    let of_both = format!("{cas}sasl_sso_plain: yes\nsasl_mech_list: GSSAPI PLAIN\n");
    assert!(check(&of_both).0.ends_with("\nPLAIN is offered\n"));
    let (said, _) = check("sasl_mech_list: PLAIN CASPT\n");
    assert!(
        said.starts_with(":1: warning: sasl_mech_list: names CASPT, but"),
        "{said}"
    );
    let (said, _) = check(&format!("{cas}sasl_mech_list: plain caspt\n"));
    assert_eq!(said, "CASPT is offered\n");
    let (said, _) = check(&format!("{cas}allowplaintext: yes\n"));
    assert!(
        said.starts_with(":2: warning: allowplaintext: offers CASPT"),
        "{said}"
    );
    let whole = "configdirectory: /x\npartition-default: /y\n";
    let (said, _) = check(&format!("{whole}{cas}"));
    assert!(
        said.contains("warning: tls_server_cert: is not set"),
        "{said}"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_no_good_configuration() {
    let (mut console, _, _) = Console::of_test("");
    let status = run(&of(Path::new("/missing/imapd.conf")), &mut console);
    assert_eq!(status, Status::Unusable);
}

#[test]
fn what_a_server_says_does_not_reach_the_terminal_as_it_is() {
    let mut report = Report::default();
    report.add(Finding {
        severity: Severity::Warning,
        file: PathBuf::from("imapd.conf"),
        line: None,
        option: None,
        service: None,
        problem: "the key \u{1b}]0;title\u{7}".to_owned(),
        remedy: "tell\nthe issuer".to_owned(),
    });
    let key = "https://op.univ.fr: key \u{1b}[2J".to_owned();
    report.online.push((key, serde_json::Value::Null));
    let (mut console, out, _) = Console::of_test("");
    tell(&report, &mut console);
    let said = out.text();
    assert!(
        said.contains("the key ?]0;title?; tell?the issuer\n"),
        "{said}"
    );
    assert!(said.contains("key ?[2J\n"), "{said}");
}

#[test]
fn privileged_users_whom_single_sign_on_may_authenticate_are_warnings() {
    let of = |lines: &str| {
        let (said, _) = check(&format!("sasl_caspt_url: https://sso.univ.fr/cas\n{lines}"));
        said
    };
    let said = of("admins: cyrus root\nlmtp_admins: postman\nproxyservers: murder group:ops\n");
    assert!(!said.contains("authenticate cyrus"), "{said}");
    for (option, user) in [
        ("admins", "root"),
        ("lmtp_admins", "postman"),
        ("proxyservers", "murder"),
        ("proxyservers", "group:ops"),
    ] {
        let line = format!("warning: {option}: single sign-on may authenticate {user}");
        assert!(said.contains(&line), "{said}");
    }
    let said = of("admins: cyrus root\nsasl_sso_denied_users: root\n");
    assert!(
        said.contains("authenticate cyrus; add cyrus to sasl_sso_denied_users"),
        "{said}"
    );
    assert!(!said.contains("authenticate root"), "{said}");
}

#[test]
fn host_names_that_change_are_warnings() {
    let of = |lines: &str| {
        let (said, _) = check(&format!("sasl_caspt_url: https://sso.univ.fr/cas\n{lines}"));
        said
    };
    assert!(of("sasl_sso_host_names: any\n").contains("warning: sasl_sso_host_names: any"));
    let is_told = |lines| of(lines).contains("warning: virtdomains: on: imapd adds");
    assert!(is_told("virtdomains: on\n"));
    assert!(!is_told("virtdomains: on\nsasl_sso_realm: univ.fr\n"));
    assert!(!is_told("virtdomains: on\nsasl_sso_host_names: domain\n"));
    assert!(!is_told("virtdomains: userid\n"));
    let aborts = "defaultdomain: univ.fr\nloginrealms: other.fr univ.fr\n";
    assert!(of(aborts).contains("warning: loginrealms: lists the default domain univ.fr"));
    assert!(!of(&format!("virtdomains: userid\n{aborts}")).contains("loginrealms"));
}
