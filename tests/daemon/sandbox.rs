//! What the unit of the daemon promises, tried by who is inside: under a systemd of its own, as the
//! daemon is started, and by the same unit.
//!
//! `make sandbox`, as root: namespaces are made, in which the machine's own files are not touched.

// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]
// The table is what the test is for.
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

/// What is refused inside; and whether the same user may do it outside, so that it is the sandbox
/// that refuses it. What is root's anyway comes without contrast.
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

/// What is not refused: the user is imapd's own. (The last is harmless.)
const REMAINS: &[&str] = &["signal_a_process", "page_faults"];

/// What the daemon needs, and a program in its place has as well.
const GRANTED: &[&str] = &["write_sessions", "read_certificates", "ask_a_server"];

/// A saslauthd that likes every password: at the socket that systemd hands over (`held`),
/// or at one of its own.
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

/// The unit of the daemon, by which another program is run.
fn unit_of(service: &str, program: &str, output: &str) -> String {
    let (_, settings) = service.split_once("[Service]").expect("the service");
    let (settings, _) = settings.split_once("[Install]").expect("the service");
    format!(
        "[Unit]\nAfter=outside.service\n[Service]{settings}ExecStart=\nExecStart={program}\n\
         ExecReload=\nType=oneshot\nRestart=no\nTimeoutStartSec=60s\n\
         ExecPaths=/mnt/site/probe\nStandardOutput=file:/mnt/site/{output}\n"
    )
}

/// What was tried, and what came of it.
fn results(file: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(file).expect("what the probe says");
    let lines = text.lines().map(|line| {
        let (what, result) = line.split_once(' ').expect("a result");
        (what.to_owned(), result.to_owned())
    });
    lines.collect()
}

#[test]
#[ignore = "needs root, and namespaces with a systemd in them: make sandbox"]
fn who_is_inside_reads_writes_his_sessions_and_connects_and_nothing_else() {
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
    fs::copy(program(), site.join("sbin/sasl-sso")).expect("the program");
    fs::copy(&ca, site.join("ca.pem")).expect("the CA");
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
        let text = fs::read_to_string(root.join(name)).expect("a unit");
        text.replace("@SBINDIR@", "/usr/local/sbin")
    };
    let service = unit("sasl-sso.service");
    // Nothing of the machine's own is started.
    let alone = "[Unit]\nDefaultDependencies=no\n";
    write("units/service.d/alone.conf", alone);
    write("units/socket.d/alone.conf", alone);
    write("units/sasl-sso.service", &service);
    write("units/sasl-sso.socket", &unit("sasl-sso.socket"));
    let probe = "/mnt/site/probe /mnt/site/other.pid";
    write("units/inside.service", &unit_of(&service, probe, "inside"));
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
    // The same daemon, in a unit that shows it the other users.
    let shown = service
        .replace("sasl-sso.socket", "shown.socket")
        .replace("PrivateUsers=yes", "PrivateUsers=no");
    write("units/shown.service", &shown);
    let socket = unit("sasl-sso.socket").replace("/run/sasl-sso/", "/run/shown/");
    write("units/shown.socket", &socket);
    write("saslauthd.py", SASLAUTHD);
    // One whose socket systemd holds, and one that makes its own.
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
    let said = || fs::read_to_string(&console).expect("what systemd says");
    let mut enter = scratch.command("unshare");
    enter.args(["-mpfiuC", "--kill-child", "--mount-proc", "sh"]);
    enter.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sandbox/enter.sh"));
    enter.arg(&site);
    let systemd = scratch.spawn("systemd", enter);
    let up = wait_until(Duration::from_secs(60), || {
        let last = |name: &str| fs::read_to_string(site.join(name)).unwrap_or_default();
        last("inside").contains("ask_a_server") && last("outside").contains("ask_a_server")
    });
    assert!(up, "{}{}", systemd.output(), said());

    let (inside, outside) = (
        results(&site.join("inside")),
        results(&site.join("outside")),
    );
    for (what, result) in &inside {
        println!("{what:<26} outside: {:<14} inside: {result}", outside[what]);
    }
    for (what, has_contrast) in REFUSED {
        assert_ne!(inside[*what], "done", "{what}");
        assert!(outside[*what] == "done" || !has_contrast, "{what}");
    }
    for what in GRANTED {
        assert_eq!(inside[*what], "done", "{what}");
    }
    assert_eq!(inside.len(), REFUSED.len() + GRANTED.len() + REMAINS.len());
    for what in REMAINS {
        assert_eq!(inside[*what], "done", "{what}");
    }

    // And the daemon itself, in the same sandbox, does what it is for.
    let [first] = children(systemd.pid())[..] else {
        panic!("{}", said());
    };
    let mux = PathBuf::from(format!("/proc/{first}/root/run/sasl-sso/mux"));
    let logs_in = |ticket: &str| {
        cas.arm(ticket, "alice", &[PROXY]);
        let answer = ask(&mux, &request(&["alice", ticket, "imap", ""]));
        assert_eq!(answer.as_deref(), Some("OK"), "{}", said());
    };
    logs_in("PT-1-sandboxed");
    let conf = fs::read_to_string(site.join("imapd.conf")).expect("imapd.conf");
    let reload = |lines: &str| {
        write("imapd.conf", &format!("{conf}{lines}"));
        let reloaded = site.join("reloaded");
        let _ = fs::remove_file(&reloaded);
        write("reload", "");
        assert!(wait_until(PATIENCE, || reloaded.exists()), "{}", said());
    };
    reload("");
    logs_in("PT-1-sandboxed");
    logs_in("PT-2-sandboxed");
    assert_eq!(cas.requests().len(), 2);

    // It knows who listens where ordinary passwords go: root, and, if the unit shows them,
    // other users.
    let shown = mux.parent().and_then(Path::parent).expect("/run");
    let shown = shown.join("shown/mux");
    let held = "sasl_sso_fallback_socket: /run/held.mux\n";
    let own = "sasl_sso_fallback_socket: /run/own/mux\n";
    let [user, other] =
        ["daemon", "mail"].map(|user| format!("{own}sasl_sso_fallback_user: {user}\n"));
    // Each time another answer than before, for they read it again when they come to it.
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
            assert!(wait_until(PATIENCE, is_answer), "{lines}{}", said());
        }
    }
}
