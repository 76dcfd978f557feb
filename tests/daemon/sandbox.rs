//! The sandbox of the daemon's systemd unit, tested from inside: a separate systemd starts the
//! daemon, and a probe with the same unit.
//!
//! `make sandbox`, as root. The test runs in namespaces and does not touch the files of the
//! machine.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]
// Prints the results of the probe.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use test_support::authority::Authority;
use test_support::daemon::{ask, program, request};
use test_support::faulty_cas::FaultyCas;
use test_support::process::children;
use test_support::scratch::Scratch;
use test_support::wait::{PATIENCE, wait_until};

/// The proxy that may present users.
const PROXY: &str = "https://webmail.example/callback";

/// The attempts that fail inside the sandbox, and whether the same user succeeds outside of it,
/// which shows that the sandbox is the cause. Attempts that only root may make have no such
/// contrast.
const REFUSED: &[(&str, bool)] = &[
    ("write_programs", false),
    ("write_state_of_imapd", true),
    ("write_run", true),
    ("write_shared_memory", true),
    ("write_sysctl", false),
    ("read_mail", true),
    ("read_scripts", true),
    ("read_home", true),
    ("read_tmp_of_others", true),
    ("read_kernel_log", false),
    ("read_devices", false),
    ("see_a_process", true),
    ("trace_a_process", false),
    ("read_memory_of_a_process", false),
    ("deliver_mail", true),
    ("run_another_program", true),
    ("run_what_was_brought", true),
    ("memory_that_is_code", true),
    ("raw_socket", false),
    ("packet_socket", false),
    ("netlink_socket", true),
    ("alg_socket", false),
    ("user_namespace", false),
    ("mount_namespace", false),
    ("mount_something", false),
    ("change_root", false),
    ("become_root", false),
    ("load_a_module", false),
    ("program_the_kernel", false),
    ("watch_the_machine", false),
    ("kernel_ring", false),
    ("kernel_keys", false),
    ("another_execution_domain", true),
    ("name_the_host", false),
    ("set_the_clock", false),
    ("realtime", false),
    ("shared_segments", true),
    ("core_dumps", false),
    ("setuid_file", true),
    ("a_thousand_processes", true),
];

/// The attempts that succeed, because the user is that of imapd. (The last one is harmless.)
const POSSIBLE_AS_USER: &[&str] = &["signal_a_process", "page_faults"];

/// The attempts that succeed because the daemon needs them.
const GRANTED: &[&str] = &["write_sessions", "read_certificates", "ask_a_server"];

/// A saslauthd that accepts every password, at a socket from systemd (`held`) or at one that it
/// creates.
const SASLAUTHD: &str = "\
import os, socket, sys
if sys.argv[1] == 'held':
    listener = socket.socket(fileno=3)
else:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind('/run/own/mux')
    os.chmod('/run/own/mux', 0o666)
    listener.listen()
while True:
    client, _ = listener.accept()
    # Who sends nothing does not wait for an answer.
    if client.recv(4096):
        client.sendall(b'\\0\\2OK')
    client.close()
";

/// Returns the unit of the daemon, changed to run another program.
fn probe_unit(service: &str, program: &str, output: &str) -> String {
    let (_, settings) = service
        .split_once("[Service]")
        .expect("the unit lacks a section");
    let (settings, _) = settings
        .split_once("[Install]")
        .expect("the unit lacks a section");
    format!(
        "[Unit]\nAfter=outside.service\n[Service]{settings}ExecStart=\nExecStart={program}\n\
         ExecReload=\nType=oneshot\nRestart=no\nTimeoutStartSec=60s\n\
         ExecPaths=/mnt/site/probe\nStandardOutput=file:/mnt/site/{output}\n"
    )
}

/// Reads the attempts of the probe and their results.
fn results(file: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(file).expect("the probe wrote no results");
    let lines = text.lines().map(|line| {
        let (attempt, result) = line.split_once(' ').expect("the attempt has no result");
        (attempt.to_owned(), result.to_owned())
    });
    lines.collect()
}

#[test]
#[ignore = "needs root, and namespaces with a systemd in them: make sandbox"]
fn sandboxed_process_can_only_use_sessions_certificates_and_network() {
    let scratch = Scratch::new("sandbox");
    let authority = Authority::new();
    let cas = FaultyCas::start(&authority);
    let ca = authority.write_ca(&scratch);
    let site = scratch.create_dir("site");
    for name in ["sbin", "units/service.d", "units/socket.d"] {
        scratch.create_dir(site.join(name));
    }
    let write = |name: &str, text: &str| scratch.write(site.join(name), text);
    let mut compile = scratch.command("cc");
    compile.args(["-Wall", "-Werror", "-O1", "-o"]);
    compile.arg(site.join("probe"));
    compile.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sandbox/probe.c"));
    scratch.run("cc", compile, "");
    fs::copy(program(), site.join("sbin/sasl-sso")).expect("cannot copy the program");
    fs::copy(&ca, site.join("ca.pem")).expect("cannot copy the CA certificate");
    write(
        "imapd.conf",
        &format!(
            "configdirectory: /var/lib/cyrus\nsasl_pwcheck_method: saslauthd\n\
             sasl_saslauthd_path: /run/sasl-sso/mux\nsasl_caspt_url: {}\n\
             sasl_caspt_ca_file: /mnt/site/ca.pem\nsasl_caspt_proxies: {PROXY}\n",
            cas.url()
        ),
    );
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    let unit = |name: &str| {
        let text = fs::read_to_string(root.join(name)).expect("cannot read the unit");
        text.replace("@SBINDIR@", "/usr/local/sbin")
    };
    let service = unit("sasl-sso.service");
    // Starts none of the usual units of the machine.
    let alone = "[Unit]\nDefaultDependencies=no\n";
    write("units/service.d/alone.conf", alone);
    write("units/socket.d/alone.conf", alone);
    write("units/sasl-sso.service", &service);
    write("units/sasl-sso.socket", &unit("sasl-sso.socket"));
    let probe = "/mnt/site/probe /mnt/site/other.pid";
    write(
        "units/inside.service",
        &probe_unit(&service, probe, "inside"),
    );
    write(
        "units/outside.service",
        &format!(
            "[Unit]\nAfter=other.service lmtp.socket\n[Service]\nType=oneshot\nUser=cyrus\n\
             Group=mail\nRuntimeDirectory=cyrus/sasl-sso\nRuntimeDirectoryPreserve=yes\n\
             ExecStart={probe}\nStandardOutput=file:/mnt/site/outside\n"
        ),
    );
    write(
        "units/other.service",
        "[Service]\nType=exec\nUser=cyrus\nExecStart=/bin/sleep 1000\n\
         ExecStartPost=+/bin/sh -c 'echo $MAINPID >/mnt/site/other.pid'\n",
    );
    write(
        "units/lmtp.socket",
        "[Socket]\nListenStream=/run/cyrus/socket/lmtp\nSocketUser=cyrus\nAccept=yes\n",
    );
    write("units/lmtp@.service", "[Service]\nExecStart=/bin/true\n");
    write(
        "units/reload.service",
        "[Unit]\nAfter=inside.service sasl-sso.service\n[Service]\nType=exec\n\
         ExecStart=/bin/sh -c 'while sleep 0.1; do [ ! -e /mnt/site/reload ] || \
         { systemctl reload sasl-sso.service shown.service && mv /mnt/site/reload /mnt/site/reloaded; }; done'\n",
    );
    // The same daemon in a unit without a private user namespace.
    let shown = service
        .replace("sasl-sso.socket", "shown.socket")
        .replace("PrivateUsers=yes", "PrivateUsers=no");
    write("units/shown.service", &shown);
    let socket = unit("sasl-sso.socket").replace("/run/sasl-sso/", "/run/shown/");
    write("units/shown.socket", &socket);
    write("saslauthd.py", SASLAUTHD);
    // systemd holds the socket of the first saslauthd, and the second one creates its own.
    write(
        "units/held.socket",
        "[Socket]\nListenStream=/run/held.mux\nSocketMode=0666\n",
    );
    for name in ["held", "own"] {
        write(
            &format!("units/{name}.service"),
            &format!(
                "[Service]\nType=exec\nUser=daemon\nRuntimeDirectory={name}\n\
                 ExecStart=/usr/bin/python3 /mnt/site/saslauthd.py {name}\n"
            ),
        );
    }
    write(
        "units/probe.target",
        "[Unit]\nDefaultDependencies=no\nWants=other.service lmtp.socket outside.service \
         inside.service sasl-sso.socket sasl-sso.service reload.service held.socket own.service \
         shown.socket shown.service\n",
    );
    let console = write("console", "");
    let console_text = || fs::read_to_string(&console).expect("cannot read the console");
    let mut enter = scratch.command("unshare");
    enter.args(["-mpfiuC", "--kill-child", "--mount-proc", "sh"]);
    enter.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sandbox/enter.sh"));
    enter.arg(&site);
    let systemd = scratch.spawn("systemd", enter);
    let up = wait_until(Duration::from_secs(60), || {
        let result = |name: &str| fs::read_to_string(site.join(name)).unwrap_or_default();
        result("inside").contains("ask_a_server") && result("outside").contains("ask_a_server")
    });
    assert!(up, "{}{}", systemd.output(), console_text());

    let (inside, outside) = (
        results(&site.join("inside")),
        results(&site.join("outside")),
    );
    for (attempt, result) in &inside {
        println!(
            "{attempt:<26} outside: {:<14} inside: {result}",
            outside[attempt]
        );
    }
    for (attempt, has_contrast) in REFUSED {
        assert_ne!(inside[*attempt], "done", "{attempt}");
        assert!(outside[*attempt] == "done" || !has_contrast, "{attempt}");
    }
    for attempt in GRANTED {
        assert_eq!(inside[*attempt], "done", "{attempt}");
    }
    assert_eq!(
        inside.len(),
        REFUSED.len() + GRANTED.len() + POSSIBLE_AS_USER.len()
    );
    for attempt in POSSIBLE_AS_USER {
        assert_eq!(inside[*attempt], "done", "{attempt}");
    }

    // The daemon works in the sandbox.
    let [first] = children(systemd.pid())[..] else {
        panic!("{}", console_text());
    };
    let mux = PathBuf::from(format!("/proc/{first}/root/run/sasl-sso/mux"));
    let log_in = |ticket: &str| {
        cas.arm(ticket, "alice", &[PROXY]);
        let answer = ask(&mux, &request(&["alice", ticket, "imap", ""]));
        assert_eq!(answer.as_deref(), Some("OK"), "{}", console_text());
    };
    log_in("PT-1-sandboxed");
    let conf = fs::read_to_string(site.join("imapd.conf")).expect("cannot read imapd.conf");
    let reload = |lines: &str| {
        write("imapd.conf", &format!("{conf}{lines}"));
        let reloaded = site.join("reloaded");
        let _ = fs::remove_file(&reloaded);
        write("reload", "");
        assert!(
            wait_until(PATIENCE, || reloaded.exists()),
            "{}",
            console_text()
        );
    };
    reload("");
    log_in("PT-1-sandboxed");
    log_in("PT-2-sandboxed");
    assert_eq!(cas.requests().len(), 2);

    // The daemon recognizes root as the user that listens at the fallback socket, and other users
    // only if its unit has no private user namespace.
    let shown = mux.parent().and_then(Path::parent).expect("/run");
    let shown = shown.join("shown/mux");
    let held = "sasl_sso_fallback_socket: /run/held.mux\n";
    let own = "sasl_sso_fallback_socket: /run/own/mux\n";
    let [user, other] =
        ["daemon", "mail"].map(|user| format!("{own}sasl_sso_fallback_user: {user}\n"));
    // Each answer differs from the previous one, because the configuration is read again with a
    // delay.
    for (lines, by_default, by_shown) in [
        (held, Some("OK"), Some("OK")),
        (own, None, None),
        (held, Some("OK"), Some("OK")),
        (&*other, None, None),
        (&*user, None, Some("OK")),
    ] {
        reload(lines);
        for (mux, expected) in [(&shown, by_shown), (&mux, by_default)] {
            let password = request(&["alice", "ordinary", "imap", ""]);
            let is_answer = || ask(mux, &password).as_deref() == expected;
            assert!(wait_until(PATIENCE, is_answer), "{lines}{}", console_text());
        }
    }
}
