use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use super::*;
use crate::commands::check::context::CheckContext;

const CAS: &str = "sasl_caspt_url: https://cas.univ.fr/cas\n";
const MUX: &str = "sasl_saslauthd_path: /run/sasl-sso/mux\n";

/// The diagnostics of an imapd.conf with three entries in cyrus.conf.
fn service_diagnostics(imapd: &str) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("imapd.conf");
    fs::write(&path, imapd).unwrap();
    let cyrus = directory.path().join("cyrus.conf");
    let entries = "imap cmd=\"imapd\"\nimaps cmd=\"imapd -s\"\npop3 cmd=\"pop3d\"";
    fs::write(&cyrus, format!("SERVICES {{\n{entries}\n}}\n")).unwrap();
    let mut report = Report::default();
    let conf = ConfFile::read(&path, None).unwrap();
    let cyrus = CyrusConf::read(&cyrus).unwrap();
    check_services(&mut report, &path, &conf, Some(&cyrus));
    shown(&report, directory.path())
}

fn shown(report: &Report, directory: &Path) -> Vec<String> {
    let directory = format!("{}/", directory.display());
    let lines = report.lines();
    lines
        .map(|line| anstream::adapter::strip_str(&line).to_string())
        .map(|line| line.replace(&directory, ""))
        .collect()
}

#[test]
fn entries_that_the_daemon_cannot_distinguish_are_faults() {
    let differs = "imaps_sasl_caspt_require: role=mail\n";
    let found = service_diagnostics(&format!("{CAS}{MUX}{differs}"));
    let [fault] = &found[..] else {
        panic!("{found:?}")
    };
    let begin = "imapd.conf:3: fault: imaps_sasl_caspt_require: the entries imap and imaps of \
                 cyrus.conf are both imap to SASL";
    assert!(fault.starts_with(begin), "{fault}");
    // The daemon is not used, or can distinguish the services.
    for imapd in [
        format!("{CAS}{differs}"),
        format!("{CAS}sasl_saslauthd_path: /run/saslauthd/mux\n{differs}"),
        format!("{CAS}{MUX}pop3_sasl_caspt_require: role=mail\n"),
    ] {
        assert_eq!(service_diagnostics(&imapd), [""; 0], "{imapd}");
    }
    let found = service_diagnostics(&format!("{CAS}{MUX}pop3_sasl_sso_sessions: 5\n"));
    assert!(
        found[0].contains(":3: fault: pop3_sasl_sso_sessions: "),
        "{found:?}"
    );
}

/// The diagnostics of `sso_fallback_socket: DIRECTORY/mux` with more options.
fn fallback_diagnostics(directory: &Path, options: &str) -> Vec<String> {
    let path = directory.join("imapd.conf");
    let socket = directory.join("mux");
    let text = format!(
        "{CAS}sasl_sso_fallback_socket: {}\n{options}",
        socket.display()
    );
    fs::write(&path, text).unwrap();
    let mut report = Report::default();
    report.targets.push((path.clone(), None));
    let conf = ConfFile::read(&path, None).unwrap();
    let (config, _) = Config::examine(&conf);
    let mut context = CheckContext {
        path: &path,
        conf: &conf,
        service: None,
        target: 0,
        report: &mut report,
    };
    check_fallback(&mut context, &config);
    let mut lines = shown(&report, directory);
    lines.retain(|line| !line.contains("PrivateUsers"));
    lines
}

#[test]
fn untrusted_fallback_socket_is_a_fault() {
    let directory = tempfile::tempdir().unwrap();
    let us = User::from_uid(Uid::effective()).unwrap().unwrap().name;
    let options = format!("sasl_sso_fallback_user: {us}\n");
    let found = |options: &str| fallback_diagnostics(directory.path(), options);
    let absent = found(&options);
    assert!(absent[0].starts_with("imapd.conf:2: note: "), "{absent:?}");
    let _listener = UnixListener::bind(directory.path().join("mux")).unwrap();
    assert_eq!(found(&options), [""; 0]);
    fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
    let open = found(&options);
    let begin = "imapd.conf:2: fault: sasl_sso_fallback_socket: ";
    assert!(open[0].starts_with(begin), "{open:?}");
    assert!(
        open[0].contains("may be written by others (mode 777)"),
        "{open:?}"
    );
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let unknown = found("sasl_sso_fallback_user: no-such\n");
    let begin = "imapd.conf:3: fault: sasl_sso_fallback_user: there is no user no-such";
    assert!(unknown[0].starts_with(begin), "{unknown:?}");
}
