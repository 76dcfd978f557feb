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
        cyrus_version: None,
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
    // The stamp is all that is looked at in the plugin.
    std::fs::write(
        directory.path().join("libsso.so"),
        sso_core::platform::build_info::STAMP,
    )
    .unwrap();
    let arguments = Arguments {
        plugin_dir: Some(directory.path().to_owned()),
        ..of(&path)
    };
    let (mut console, out, _) = Console::of_test("");
    let status = run(&arguments, &mut console);
    let of_machine = ["_state_dir", "cyrus_user: ", "configdirectory: "];
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
    assert_eq!(faults.len(), 5, "{said}");
    let refused = "fault: sasl_caspt_proxies: is not set";
    assert!(faults[0].starts_with(refused));
    assert!(faults[1].starts_with(":2: fault: sasl_caspt_proxy: there is no such"));
    assert!(faults[2].starts_with(":3: fault: sasl_caspt_timeout: "));
    assert!(faults[3].starts_with(":4: fault: is no option"));
    assert!(faults[4].starts_with(":5: fault: sasl_sso_realm: "));
    assert!(said.ends_with("nothing is offered as long as there are faults\n"));
    assert_eq!(status, Status::Bad);
}

#[test]
fn a_good_configuration_is_called_good() {
    let good = "sasl_caspt_url: https://cas.univ.fr/cas\n\
                sasl_caspt_proxies: https://webmail.univ.fr/*\n";
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    let offered = format!("CASPT is offered; tickets must be for imap://{host}\n");
    assert_eq!(check(good), (offered, Status::Good));
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
    let cas = "sasl_caspt_url: https://cas.univ.fr/cas\nsasl_caspt_proxies: https://a.fr/*\n\
               sasl_sso_plain: yes\n";
    for option in ["sasl_auto_transition", "pop3_sasl_auto_transition"] {
        let conf = format!("{cas}sasl_saslauthd_path: /run/x/mux\n{option}: yes\n");
        let (said, status) = check(&conf);
        let fault = format!(":5: fault: {option}: would store");
        assert!(said.starts_with(&fault), "{said}");
        assert_eq!(status, Status::Bad);
    }
    // What the plugin takes by PLAIN, libsasl2 does not see.
    let (said, status) = check(&format!("{cas}sasl_auto_transition: yes\n"));
    assert!(
        said.starts_with(":4: warning: sasl_auto_transition: "),
        "{said}"
    );
    assert_eq!(status, Status::Good);
    let (said, status) = check(&format!(
        "{cas}sasl_saslauthd_path: /run/x/mux\nsasl_sso_fallback_socket: /run/x//mux\n"
    ));
    let fault = ":5: fault: sasl_sso_fallback_socket: is the daemon's own";
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
        "servername: mail\n\
         sasl_caspt_url: https://cas.univ.fr/cas\n\
         sasl_caspt_proxies: https://webmail.univ.fr/*\n\
         pop3_sasl_caspt_timeout: 5s\n\
         pop3_sasl_caspt_proxy: x\n",
    );
    let offered = "\nCASPT is offered; tickets must be for imap://mail\n";
    assert!(said.contains(offered), "{said}");
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
fn mechanisms_are_said_to_be_offered_only_where_they_are() {
    let cas = "servername: mail\nsasl_caspt_url: https://cas.univ.fr/cas\n\
               sasl_caspt_proxies: https://webmail.univ.fr/*\n";
    let whole = "configdirectory: /x\npartition-default: /y\n";
    for (lines, offered) in [
        (
            "sasl_mech_list: plain caspt\n",
            "CASPT is offered; tickets must be for imap://mail",
        ),
        (
            "sasl_sso_plain: yes\nsasl_mech_list: GSSAPI PLAIN\n",
            "PLAIN is offered; tickets must be for imap://mail",
        ),
        (
            "sasl_mech_list: PLAIN\n",
            "nothing is offered: sasl_mech_list has none of it",
        ),
        (
            "sasl_caspt_timeout: 5s\n",
            "nothing is offered as long as there are faults",
        ),
        (
            "sasl_caspt_ca_file: /missing\n",
            "CASPT would be offered, but there are faults; tickets must be for imap://mail",
        ),
        (
            whole,
            "nothing is offered: without tls_server_cert there is no TLS",
        ),
    ] {
        let (said, _) = check(&format!("{cas}{lines}"));
        assert!(said.ends_with(&format!("{offered}\n")), "{lines}{said}");
    }
    let conf = cas.replace("sasl_caspt_proxies", "sasl_caspt_require: x=y\n#");
    let (said, status) = check(&conf);
    assert!(!said.contains("is offered"), "{said}");
    assert_eq!(status, Status::Bad);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("imapd.conf");
    std::fs::write(&path, cas).unwrap();
    let arguments = Arguments {
        plugin_dir: Some(directory.path().to_owned()),
        ..of(&path)
    };
    let (mut console, out, _) = Console::of_test("");
    run(&arguments, &mut console);
    let said = out.text();
    assert!(
        said.ends_with("nothing is offered: libsasl2 does not find the plugin\n"),
        "{said}"
    );
}

#[test]
fn options_of_the_host_that_do_not_fit_the_mechanisms_are_named() {
    let cas = "sasl_caspt_url: https://cas.univ.fr/cas\n\
               sasl_caspt_proxies: https://webmail.univ.fr/*\n";
    let (said, _) = check("sasl_mech_list: PLAIN CASPT\n");
    assert!(
        said.starts_with(":1: warning: sasl_mech_list: names CASPT, but"),
        "{said}"
    );
    let (said, _) = check(&format!("{cas}allowplaintext: yes\n"));
    assert!(
        said.starts_with(":3: warning: allowplaintext: offers CASPT"),
        "{said}"
    );
    let whole = "configdirectory: /x\npartition-default: /y\n";
    let (said, _) = check(&format!("{whole}{cas}"));
    assert!(
        said.contains("warning: tls_server_cert: is not set"),
        "{said}"
    );
}

/// What is said of a file for these services.
fn check_services(conf: &str, services: &str) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let path = write("imapd.conf", conf);
    write("cyrus.conf", &format!("SERVICES {{\n{services}}}\n"));
    std::fs::write(
        directory.path().join("libsso.so"),
        sso_core::platform::build_info::STAMP,
    )
    .unwrap();
    let arguments = Arguments {
        plugin_dir: Some(directory.path().to_owned()),
        ..of(&path)
    };
    let (mut console, out, _) = Console::of_test("");
    run(&arguments, &mut console);
    let text = out.text().replace(&path.display().to_string(), "");
    let of_machine = [
        "_state_dir",
        "cyrus_user: ",
        "configdirectory: ",
        "_fallback_socket: ",
    ];
    let lines = text
        .lines()
        .filter(|line| !of_machine.iter().any(|text| line.contains(text)));
    lines.map(str::to_owned).collect()
}

const SERVICES: &str = " imap cmd=\"imapd\"\n pop3 cmd=\"pop3d\"\n sieve cmd=\"timsieved\"\n \
                        http cmd=\"httpd\"\n";

#[test]
fn the_service_of_tickets_is_shown_for_each_service() {
    let conf = "servername: mail\nsasl_caspt_url: https://cas.univ.fr/cas\n\
                sasl_caspt_proxies: https://webmail.univ.fr/*\n";
    assert_eq!(
        check_services(conf, SERVICES),
        [
            " for http: nothing is offered: HTTP has none of these mechanisms",
            " for imap: CASPT is offered; tickets must be for imap://mail",
            " for pop3: CASPT is offered; tickets must be for pop://mail",
            " for sieve: CASPT is offered; tickets must be for sieve://mail",
        ]
    );
    // By the daemon, calendars bring tickets as passwords.
    let conf = format!(
        "{conf}sasl_caspt_service: imap://mail\nsasl_sso_fallback_socket: /run/other/mux\n"
    );
    assert_eq!(
        check_services(&conf, SERVICES),
        [
            " for http: nothing is offered: HTTP has none of these mechanisms; tickets must be \
             for imap://mail",
            " for imap, pop3, sieve: CASPT is offered; tickets must be for imap://mail",
        ]
    );
}

#[test]
fn a_finding_is_told_once_with_the_services_that_it_concerns() {
    let conf = "sasl_caspt_url: https://cas.univ.fr/cas\n\
                sasl_caspt_proxies: http://webmail.univ.fr/*\n";
    let of = |lines: &str| {
        let said = check_services(&format!("{conf}{lines}"), SERVICES);
        let warnings = said
            .into_iter()
            .filter(|line| line.contains("is without TLS"));
        warnings
            .map(|line| line.split(": warning").next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    // Of all services.
    assert_eq!(of(""), [":2"]);
    let own = "pop3_sasl_caspt_proxies: https://webmail.univ.fr/*\n";
    assert_eq!(of(own), [":2 for http, imap, sieve"]);
    let own = "pop3_sasl_caspt_proxies: http://other.univ.fr/*\n";
    assert_eq!(of(own), [":2 for http, imap, sieve", ":3 for pop3"]);
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
    let finding = Finding {
        severity: Severity::Warning,
        file: PathBuf::from("imapd.conf"),
        line: None,
        option: None,
        problem: "the key \u{1b}]0;title\u{7}".to_owned(),
        remedy: "tell\nthe issuer".to_owned(),
    };
    report.add(None, finding);
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
    let on = of("virtdomains: on\n");
    assert!(on.contains("warning: virtdomains: ") && on.contains("such logins are refused"));
    let domain = of("virtdomains: on\nsasl_sso_host_names: domain\n");
    assert!(
        domain.contains("the client chooses whose mailbox it opens"),
        "{domain}"
    );
    let aborts = "defaultdomain: univ.fr\nloginrealms: other.fr univ.fr\n";
    assert!(of(aborts).contains("warning: loginrealms: lists the default domain univ.fr"));
    assert!(!of(&format!("virtdomains: userid\n{aborts}")).contains("loginrealms"));
}
