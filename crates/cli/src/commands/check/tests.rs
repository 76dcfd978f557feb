use std::path::Path;

use super::*;

fn of(config: &Path) -> Arguments {
    Arguments {
        config_args: ConfigArgs {
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

/// The diagnostics of a file, without those that depend on this host. File names are removed.
fn check(conf: &str) -> (String, ExitStatus) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("imapd.conf");
    std::fs::write(&path, conf).unwrap();
    // Only the build stamp of the plugin is read.
    std::fs::write(
        directory.path().join("libsso.so"),
        sso_core::platform::build_info::STAMP,
    )
    .unwrap();
    let arguments = Arguments {
        plugin_dir: Some(directory.path().to_owned()),
        ..of(&path)
    };
    let (mut console, out, _) = Console::for_test("");
    let status = run(&arguments, &mut console);
    let host_specific = ["_state_dir", "cyrus_user: ", "configdirectory: "];
    let output: String = out
        .text()
        .replace(&path.display().to_string(), "")
        .lines()
        .filter(|line| !host_specific.iter().any(|text| line.contains(text)))
        .map(|line| format!("{}\n", line.trim_start_matches(": ")))
        .collect();
    (output, status)
}

#[test]
fn all_faults_and_unused_options_are_reported() {
    let (output, status) = check(
        "sasl_caspt_url: https://cas.univ.fr/cas\n\
         sasl_caspt_proxy: https://webmail.univ.fr/*\n\
         sasl_caspt_timeout: 5s\n\
         nonsense\n\
         sasl_sso_realm: @univ.fr\n",
    );
    let faults: Vec<&str> = output
        .lines()
        .filter(|line| line.contains("fault:"))
        .collect();
    assert_eq!(faults.len(), 5, "{output}");
    let refused = "fault: sasl_caspt_proxies: is not set";
    assert!(faults[0].starts_with(refused));
    assert!(faults[1].starts_with(":2: fault: sasl_caspt_proxy: there is no such"));
    assert!(faults[2].starts_with(":3: fault: sasl_caspt_timeout: "));
    assert!(faults[3].starts_with(":4: fault: is no option"));
    assert!(faults[4].starts_with(":5: fault: sasl_sso_realm: "));
    assert!(output.ends_with("nothing is offered as long as there are faults\n"));
    assert_eq!(status, ExitStatus::Failure);
}

#[test]
fn valid_configuration_is_reported_as_good() {
    let good = "sasl_caspt_url: https://cas.univ.fr/cas\n\
                sasl_caspt_proxies: https://webmail.univ.fr/*\n";
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    let offered = format!("CASPT is offered; tickets must be for imap://{host}\n");
    assert_eq!(check(good), (offered, ExitStatus::Success));
    let good = "sasl_jwt_issuers: univ\n\
                sasl_jwt_univ_issuer: https://sso.univ.fr\n\
                sasl_jwt_univ_keys: discovery\n\
                sasl_jwt_univ_audience: mail\n";
    let offered = "OAUTHBEARER and XOAUTH2 are offered\n".to_owned();
    assert_eq!(check(good), (offered, ExitStatus::Success));
    let (output, status) = check("configdirectory: /var/lib/cyrus\n");
    assert!(output.starts_with("nothing is offered"), "{output}");
    assert_eq!(status, ExitStatus::Success);
}

#[test]
fn unusable_keys_are_faults() {
    let (output, status) = check(
        "sasl_jwt_keys: /missing/keys\nsasl_jwt_issuer: *\nsasl_jwt_audience: *\n\
         sasl_jwt_univ_keys: discovery\n",
    );
    assert!(
        output.contains("sasl_jwt_univ_keys: there is no"),
        "{output}"
    );
    assert_eq!(status, ExitStatus::Failure);
    let (output, status) = check("sasl_jwt_issuer: *\nsasl_jwt_audience: *\n");
    assert!(
        output.contains("no effect without sasl_jwt_keys"),
        "{output}"
    );
    assert_eq!(status, ExitStatus::Failure);
    let (output, status) =
        check("sasl_jwt_keys: /missing/keys\nsasl_jwt_issuer: *\nsasl_jwt_audience: *\n");
    assert!(
        output.starts_with(":1: fault: sasl_jwt_keys: /missing/keys: "),
        "{output}"
    );
    assert_eq!(status, ExitStatus::Failure);
}

#[test]
fn file_of_sasl_is_recognized() {
    let (output, status) = check(
        "mech_list: PLAIN OAUTHBEARER XOAUTH2\njwt_keys: discovery\n\
         jwt_issuer: https://sso.univ.fr\njwt_audience: mail\nsso_plain: yes\n",
    );
    assert_eq!(output, "PLAIN, OAUTHBEARER and XOAUTH2 are offered\n");
    assert_eq!(status, ExitStatus::Success);
    let (output, _) = check("jwt_keys: discovery\njwt_isuer: x\n");
    assert!(
        output.contains("\n:2: fault: jwt_isuer: there is no"),
        "{output}"
    );
}

#[test]
fn auto_transition_and_fallback_to_itself_are_reported() {
    let cas = "sasl_caspt_url: https://cas.univ.fr/cas\nsasl_caspt_proxies: https://a.fr/*\n\
               sasl_sso_plain: yes\n";
    for option in ["sasl_auto_transition", "pop3_sasl_auto_transition"] {
        let conf = format!("{cas}sasl_saslauthd_path: /run/x/mux\n{option}: yes\n");
        let (output, status) = check(&conf);
        let fault = format!(":5: fault: {option}: would store");
        assert!(output.starts_with(&fault), "{output}");
        assert_eq!(status, ExitStatus::Failure);
    }
    // libsasl2 does not see passwords that the plugin accepts by PLAIN.
    let (output, status) = check(&format!("{cas}sasl_auto_transition: yes\n"));
    assert!(
        output.starts_with(":4: warning: sasl_auto_transition: "),
        "{output}"
    );
    assert_eq!(status, ExitStatus::Success);
    let (output, status) = check(&format!(
        "{cas}sasl_saslauthd_path: /run/x/mux\nsasl_sso_fallback_socket: /run/x//mux\n"
    ));
    let fault = ":5: fault: sasl_sso_fallback_socket: is the daemon's own";
    assert!(output.starts_with(fault), "{output}");
    assert_eq!(status, ExitStatus::Failure);
    let (output, _) = check("sasl_sso_plain: yes\n");
    assert!(
        output.contains("sasl_sso_plain: has no effect without"),
        "{output}"
    );
}

#[test]
fn options_of_single_services_are_checked() {
    let (output, status) = check(
        "servername: mail\n\
         sasl_caspt_url: https://cas.univ.fr/cas\n\
         sasl_caspt_proxies: https://webmail.univ.fr/*\n\
         pop3_sasl_caspt_timeout: 5s\n\
         pop3_sasl_caspt_proxy: x\n",
    );
    let offered = "\nCASPT is offered; tickets must be for imap://mail\n";
    assert!(output.contains(offered), "{output}");
    assert!(
        output.contains(" for pop3: fault: pop3_sasl_caspt_proxy: "),
        "{output}"
    );
    assert!(
        output.contains(" for pop3: fault: pop3_sasl_caspt_timeout: "),
        "{output}"
    );
    assert!(output.ends_with(" for pop3: nothing is offered as long as there are faults\n"));
    assert_eq!(status, ExitStatus::Failure);
    // Shared options may be incomplete for services where no mechanism is configured.
    let (_, status) = check(
        "imap_sasl_caspt_url: https://cas.univ.fr/cas\n\
         sasl_caspt_proxies: https://webmail.univ.fr/*\n",
    );
    assert_eq!(status, ExitStatus::Success);
}

#[test]
fn offered_mechanisms_are_reported_with_the_reason_if_none() {
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
        let (output, _) = check(&format!("{cas}{lines}"));
        assert!(output.ends_with(&format!("{offered}\n")), "{lines}{output}");
    }
    let conf = cas.replace("sasl_caspt_proxies", "sasl_caspt_require: x=y\n#");
    let (output, status) = check(&conf);
    assert!(!output.contains("is offered"), "{output}");
    assert_eq!(status, ExitStatus::Failure);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("imapd.conf");
    std::fs::write(&path, cas).unwrap();
    let arguments = Arguments {
        plugin_dir: Some(directory.path().to_owned()),
        ..of(&path)
    };
    let (mut console, out, _) = Console::for_test("");
    run(&arguments, &mut console);
    let output = out.text();
    assert!(
        output.ends_with("nothing is offered: libsasl2 does not find the plugin\n"),
        "{output}"
    );
}

#[test]
fn host_options_that_conflict_with_the_mechanisms_are_warnings() {
    let cas = "sasl_caspt_url: https://cas.univ.fr/cas\n\
               sasl_caspt_proxies: https://webmail.univ.fr/*\n";
    let (output, _) = check("sasl_mech_list: PLAIN CASPT\n");
    assert!(
        output.starts_with(":1: warning: sasl_mech_list: names CASPT, but"),
        "{output}"
    );
    let (output, _) = check(&format!("{cas}allowplaintext: yes\n"));
    assert!(
        output.starts_with(":3: warning: allowplaintext: offers CASPT"),
        "{output}"
    );
    let whole = "configdirectory: /x\npartition-default: /y\n";
    let (output, _) = check(&format!("{whole}{cas}"));
    assert!(
        output.contains("warning: tls_server_cert: is not set"),
        "{output}"
    );
}

/// The diagnostics of a file with these services in cyrus.conf.
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
    let (mut console, out, _) = Console::for_test("");
    run(&arguments, &mut console);
    let text = out.text().replace(&path.display().to_string(), "");
    let host_specific = [
        "_state_dir",
        "cyrus_user: ",
        "configdirectory: ",
        "_fallback_socket: ",
    ];
    let lines = text
        .lines()
        .filter(|line| !host_specific.iter().any(|text| line.contains(text)));
    lines.map(str::to_owned).collect()
}

const SERVICES: &str = " imap cmd=\"imapd\"\n pop3 cmd=\"pop3d\"\n sieve cmd=\"timsieved\"\n \
                        http cmd=\"httpd\"\n";

#[test]
fn ticket_service_is_reported_for_each_service() {
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
    // CalDAV clients send tickets as passwords, to the daemon.
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
fn diagnostic_is_reported_once_with_the_affected_services() {
    let conf = "sasl_caspt_url: https://cas.univ.fr/cas\n\
                sasl_caspt_proxies: http://webmail.univ.fr/*\n";
    let of = |lines: &str| {
        let output = check_services(&format!("{conf}{lines}"), SERVICES);
        let warnings = output
            .into_iter()
            .filter(|line| line.contains("is without TLS"));
        warnings
            .map(|line| line.split(": warning").next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    // All services are affected.
    assert_eq!(of(""), [":2"]);
    let own = "pop3_sasl_caspt_proxies: https://webmail.univ.fr/*\n";
    assert_eq!(of(own), [":2 for http, imap, sieve"]);
    let own = "pop3_sasl_caspt_proxies: http://other.univ.fr/*\n";
    assert_eq!(of(own), [":2 for http, imap, sieve", ":3 for pop3"]);
}

#[test]
fn unreadable_file_makes_the_result_unusable() {
    let (mut console, _, _) = Console::for_test("");
    let status = run(&of(Path::new("/missing/imapd.conf")), &mut console);
    assert_eq!(status, ExitStatus::Error);
}

#[test]
fn server_text_cannot_control_the_terminal() {
    let mut report = Report::default();
    let diagnostic = Diagnostic {
        severity: Severity::Warning,
        file: PathBuf::from("imapd.conf"),
        line: None,
        option: None,
        problem: "the key \u{1b}]0;title\u{7}".to_owned(),
        remedy: "tell\nthe issuer".to_owned(),
    };
    report.add(None, diagnostic);
    let key = "https://op.univ.fr: key \u{1b}[2J".to_owned();
    report.online.push((key, serde_json::Value::Null));
    let (mut console, out, _) = Console::for_test("");
    print_report(&report, &mut console);
    let output = out.text();
    assert!(
        output.contains("the key ?]0;title?; tell?the issuer\n"),
        "{output}"
    );
    assert!(output.contains("key ?[2J\n"), "{output}");
}

#[test]
fn privileged_users_who_are_not_denied_are_warnings() {
    let of = |lines: &str| {
        let (output, _) = check(&format!("sasl_caspt_url: https://sso.univ.fr/cas\n{lines}"));
        output
    };
    let output = of("admins: cyrus root\nlmtp_admins: postman\nproxyservers: murder group:ops\n");
    assert!(!output.contains("authenticate cyrus"), "{output}");
    for (option, user) in [
        ("admins", "root"),
        ("lmtp_admins", "postman"),
        ("proxyservers", "murder"),
        ("proxyservers", "group:ops"),
    ] {
        let line = format!("warning: {option}: single sign-on may authenticate {user}");
        assert!(output.contains(&line), "{output}");
    }
    let output = of("admins: cyrus root\nsasl_sso_denied_users: root\n");
    assert!(
        output.contains("authenticate cyrus; add cyrus to sasl_sso_denied_users"),
        "{output}"
    );
    assert!(!output.contains("authenticate root"), "{output}");
}

#[test]
fn options_that_change_user_names_are_warnings() {
    let of = |lines: &str| {
        let (output, _) = check(&format!("sasl_caspt_url: https://sso.univ.fr/cas\n{lines}"));
        output
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
