//! The release build of the plugin in the real libsasl2: what every program that loads it can rely
//! on, and how a configured server behaves.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use test_support::faulty_cas::Behaviour;
use test_support::libsasl2::site::{PROXY, Site};
use test_support::libsasl2::valgrind::Valgrind;
use test_support::libsasl2::{Kit, caspt, code, hex, plugin};
use test_support::scratch::Scratch;

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .expect(program);
    assert!(output.status.success(), "{program}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn plugin_exports_only_its_entry_point_and_stays_mapped() {
    let plugin = plugin().display().to_string();
    let symbols = run("nm", &["-D", "--defined-only", &plugin]);
    let names: Vec<&str> = symbols
        .lines()
        .filter_map(|line| line.split(' ').nth(2))
        .collect();
    assert_eq!(names, ["sasl_server_plug_init"]);
    let flags = run("readelf", &["-dW", &plugin]);
    assert!(flags.contains("NODELETE"), "{flags}");
}

#[test]
fn unconfigured_plugin_offers_no_mechanism_and_logs_nothing() {
    let scratch = Scratch::new("none");
    let kit = Kit::new(&scratch);
    let mut driver = kit.driver(&scratch, &[("sso_sessions", "nonsense")]);
    let answer = driver.ask("list");
    assert_eq!(answer.last, ["mechs", ""]);
    assert_eq!(answer.log, []);
    assert_eq!(driver.caspt(b"\0\0PT-12345").code(), code::NOMECH);
    assert_eq!(driver.end(), (Some(0), String::new()));
    assert_eq!(kit.syslog().tail(), "");
}

#[test]
fn unconfigured_plugin_does_not_change_the_output_of_saslpluginviewer() {
    let scratch = Scratch::new("viewer");
    let kit = Kit::new(&scratch);
    let view = |directory: &std::path::Path| {
        let mut command = scratch.command("saslpluginviewer");
        command.arg("-s").arg("-p").arg(directory);
        kit.syslog().attach(&mut command);
        scratch.run("viewer", command, "")
    };
    let empty = scratch.create_dir("empty");
    assert_eq!(view(kit.directory()), view(&empty));
    assert_eq!(kit.syslog().tail(), "");
}

#[test]
fn invalid_configuration_disables_the_plugin_and_every_fault_is_logged() {
    let site = Site::new("wrong");
    let mut driver = site.driver(&[("caspt_timeout", "soon"), ("caspt_proxies", "https://*")]);
    assert_eq!(driver.ask("list").last, ["mechs", ""]);
    let log = site.kit.syslog();
    for option in ["sasl_caspt_timeout: ", "sasl_caspt_proxies: "] {
        let line = log.wait_for(
            |line| line.text.contains(option),
            test_support::wait::PATIENCE,
        );
        assert!(line.is_some(), "{option}\n{}", log.tail());
    }
}

#[test]
fn loading_only_registers_the_mechanisms() {
    let site = Site::new("load");
    let mut driver = site.driver(&[]);
    assert_eq!(driver.ask("list").last, ["mechs", "CASPT"]);
    // A driver without configuration, for comparison.
    let mut other = site.kit.driver(&site.scratch, &[]);
    assert_eq!(other.ask("list").last, ["mechs", ""]);
    let entries = |pid: u32, name: &str| {
        let listing = std::fs::read_dir(format!("/proc/{pid}/{name}"));
        listing.expect("cannot list a directory of /proc").count()
    };
    assert_eq!(entries(driver.pid(), "task"), 1);
    assert_eq!(entries(driver.pid(), "fd"), entries(other.pid(), "fd"));
    assert!(!site.scratch.join("state").exists());
    assert_eq!(site.cas.connections(), 0);
}

#[test]
fn cached_ticket_is_accepted_by_every_process() {
    let site = Site::new("again");
    site.cas.arm("PT-1-alice", "alice", &[PROXY]);
    let mut first = site.driver(&[]);
    let answer = first.ticket("PT-1-alice");
    assert_eq!((answer.code(), answer.authid()), (code::OK, "alice"));
    assert_eq!(answer.field("source").as_deref(), Some("validated"));
    // No message follows a success, because it would cost a round trip.
    assert_eq!(answer.steps, [(code::OK, String::new())]);
    let mut second = site.driver(&[]);
    for driver in [&mut first, &mut second] {
        let answer = driver.ticket("PT-1-alice");
        assert_eq!((answer.code(), answer.authid()), (code::OK, "alice"));
        assert_eq!(answer.field("source").as_deref(), Some("host"));
    }
    assert_eq!(site.cas.requests().len(), 1);
}

#[test]
fn credentials_of_one_user_are_cached_side_by_side() {
    let site = Site::new("many");
    let mut driver = site.driver(&[]);
    for number in 0..20 {
        site.cas
            .arm(&format!("PT-{number}-alice"), "alice", &[PROXY]);
    }
    for _ in 0..3 {
        for number in 0..20 {
            assert_eq!(
                driver.ticket(&format!("PT-{number}-alice")).code(),
                code::OK
            );
        }
    }
    assert_eq!(site.cas.requests().len(), 20);
}

#[test]
fn challenge_names_cas_and_service_and_accepts_any_response() {
    let site = Site::new("refusal");
    let mut driver = site.driver(&[]);
    let message = hex(b"\0\0PT-unknown");
    for response in ["01", "", "2a", &message, &hex(&[b'x'; 3000])] {
        // "-" stands for an empty response, because it has no hexadecimal digits.
        let answer = driver.ask(&format!(
            "login CASPT {message} {}",
            if response.is_empty() { "-" } else { response }
        ));
        assert_eq!(answer.code(), code::BADAUTH);
        assert_eq!(answer.reason(), "ticket_refused");
        let (first, challenge) = &answer.steps[0];
        assert_eq!(*first, code::CONTINUE);
        let challenge: serde_json::Value = serde_json::from_str(challenge).expect("JSON");
        let expected = serde_json::json!({
            "status": "invalid_ticket",
            "cas": site.cas.url(),
            "service": "imap://localhost",
        });
        assert_eq!(challenge, expected);
    }
    // CAS is asked once. Further attempts hit the negative entry.
    assert_eq!(site.cas.requests().len(), 1);
    // A client may also disconnect.
    let unfinished = driver.ask(&format!("login CASPT {message}"));
    assert_eq!(unfinished.code(), code::CONTINUE);
    assert_eq!(driver.end().0, Some(0));
}

#[test]
fn malformed_message_never_reaches_cas() {
    let site = Site::new("malformed");
    let mut driver = site.driver(&[]);
    for (message, reason) in [
        (&b"PT-12345"[..], "message_malformed"),
        (b"\0\0\0PT-12345", "message_malformed"),
        (b"\0\0secret", "ticket_malformed"),
        (b"\0\0PT-1 345", "ticket_malformed"),
        (b"\0\0PT-12345\0", "message_malformed"),
    ] {
        let answer = driver.caspt(message);
        assert_eq!(answer.code(), code::BADPROT);
        assert_eq!(answer.reason(), reason);
        assert!(answer.steps[0].1.contains("invalid_request"));
    }
    assert_eq!(site.cas.connections(), 0);
}

#[test]
fn identity_of_the_client_must_match_the_principal() {
    let site = Site::new("names");
    site.cas.arm("PT-1-alice", "alice@univ.fr", &[PROXY]);
    let mut driver = site.driver(&[("sso_strip_domain", "univ.fr")]);
    let accepted: [&[u8]; 6] = [
        b"alice\0\0PT-1-alice",
        b"alice@univ.fr\0\0PT-1-alice",
        b"\0\0PT-1-alice",
        b"\0alice\0PT-1-alice",
        b"\0alice@UNIV.fr\0PT-1-alice",
        b"alice\0alice\0PT-1-alice",
    ];
    for message in accepted {
        let answer = driver.caspt(message);
        assert_eq!((answer.code(), answer.authid()), (code::OK, "alice"));
    }
    let answer = driver.caspt(b"\0bob\0PT-1-alice");
    assert_eq!(
        (answer.code(), answer.reason().as_str()),
        (code::BADAUTH, "user_mismatch")
    );
    // libsasl2 strips white space, so these users would act as a user with an empty name.
    for message in [
        &b" \0\0PT-1-alice"[..],
        b"   \0alice\0PT-1-alice",
        b"\0 \0PT-1-alice",
    ] {
        let answer = driver.caspt(message);
        assert_eq!(answer.code(), code::BADAUTH, "{answer:?}");
    }
    // The host decides whether alice may act as another user. This host never allows it.
    let answer = driver.caspt(b"bob\0alice\0PT-1-alice");
    assert_eq!(answer.code(), code::BADAUTH);
    assert_eq!(answer.field("outcome").as_deref(), Some("accepted"));
}

/// Logs in with a ticket that CAS answers with `body`. Returns the reason in the log, the result
/// code, and the challenge.
fn log_in_with_reply(body: &str) -> (String, i32, String) {
    let site = Site::new("attack");
    site.cas.set(Behaviour::Answer(body.to_owned()));
    let answer = site.driver(&[]).ticket("PT-1-attack");
    (answer.reason(), answer.code(), answer.steps[0].1.clone())
}

#[test]
fn ambiguous_cas_reply_is_refused_and_only_the_log_has_the_reason() {
    for (body, reason, _) in test_support::attacks::replies::all() {
        let (logged, code, challenge) = log_in_with_reply(&body);
        assert_eq!(logged, reason, "{body}");
        assert_eq!(code, code::BADAUTH, "{body}");
        assert!(
            challenge.contains("invalid_ticket") && !challenge.contains(reason),
            "{challenge}"
        );
    }
}

#[test]
fn ticket_must_satisfy_service_proxies_and_rules() {
    let site = Site::new("policy");
    site.cas.arm_service("imap://localhost");
    let mut driver = site.driver(&[("caspt_require", "role=mail|admin")]);
    let mail = [("role", "mail")];
    site.cas.arm_with(
        "PT-1-foreign",
        "alice",
        &[PROXY, "https://evil.example/"],
        &mail,
    );
    site.cas.arm_with("PT-2-direct", "alice", &[], &mail);
    site.cas
        .arm_with("PT-3-role", "alice", &[PROXY], &[("role", "guest")]);
    for (ticket, reason, code) in [
        ("PT-1-foreign", "proxy_not_allowed", code::NOAUTHZ),
        ("PT-2-direct", "direct_not_allowed", code::NOAUTHZ),
        ("PT-3-role", "rule_not_met", code::NOAUTHZ),
        ("PT-4-unknown", "ticket_refused", code::BADAUTH),
    ] {
        for _ in 0..2 {
            let answer = driver.ticket(ticket);
            assert_eq!(
                (answer.reason().as_str(), answer.code()),
                (reason, code),
                "{ticket}"
            );
        }
    }
    assert_eq!(site.cas.requests().len(), 4);
    // CAS uses a ticket up even if it is validated for the wrong service.
    site.cas.arm_with("PT-5-service", "alice", &[PROXY], &mail);
    let mut elsewhere = site.driver(&[("caspt_service", "pop://{host}")]);
    assert_eq!(elsewhere.ticket("PT-5-service").reason(), "ticket_refused");
    assert_eq!(driver.ticket("PT-5-service").reason(), "ticket_refused");
    // A ticket that satisfies the policy is accepted.
    site.cas.arm_with("PT-6-good", "alice", &[PROXY], &mail);
    assert_eq!(driver.ticket("PT-6-good").code(), code::OK);
    // A rule matches a whole value, also if another value is not text.
    let body = format!(
        "<cas:serviceResponse xmlns:cas=\"http://www.yale.edu/tp/cas\">\
         <cas:authenticationSuccess><cas:user>alice</cas:user><cas:attributes>\
         <cas:role>no mail</cas:role><cas:role><cas:x/></cas:role></cas:attributes>\
         <cas:proxies><cas:proxy>{PROXY}</cas:proxy></cas:proxies>\
         </cas:authenticationSuccess></cas:serviceResponse>"
    );
    site.cas.set(Behaviour::Answer(body));
    assert_eq!(driver.ticket("PT-7-two").reason(), "rule_not_met");
}

#[test]
fn options_allow_direct_tickets_and_user_attributes() {
    let site = Site::new("allow");
    let mut driver = site.driver(&[
        ("caspt_allow_direct", "yes"),
        ("caspt_user_attribute", "mailuser"),
        ("sso_realm", "univ.fr"),
    ]);
    site.cas
        .arm_with("ST-1-one", "a1234", &[], &[("mailuser", "alice")]);
    site.cas.arm_with(
        "ST-2-two",
        "a1234",
        &[],
        &[("mailuser", "alice"), ("mailuser", "bob")],
    );
    site.cas.arm("ST-3-none", "a1234", &[]);
    let answer = driver.ticket("ST-1-one");
    assert_eq!(
        (answer.code(), answer.authid()),
        (code::OK, "alice@univ.fr")
    );
    for ticket in ["ST-2-two", "ST-3-none"] {
        assert_eq!(driver.ticket(ticket).reason(), "user_attribute_missing");
    }
}

#[test]
fn session_of_another_policy_is_not_accepted() {
    let site = Site::new("changed");
    site.cas.arm("PT-1-alice", "alice", &[PROXY]);
    assert_eq!(site.driver(&[]).ticket("PT-1-alice").code(), code::OK);
    let mut stricter = site.driver(&[("caspt_require", "role=mail")]);
    assert_eq!(stricter.ticket("PT-1-alice").reason(), "ticket_refused");
}

#[test]
fn random_messages_neither_crash_nor_log_in() {
    let site = Site::new("random");
    let mut driver = site.driver(&[]);
    let answer = driver.ask("fuzz CASPT 65000 4711");
    assert_eq!(answer.last, ["fuzz", "0"]);
    let reached_cas = answer
        .log
        .iter()
        .filter(|(_, line)| line.contains("reason=ticket_refused"))
        .count();
    assert!(reached_cas > 100, "only {reached_cas} messages reached CAS");
    assert_eq!(driver.end(), (Some(0), String::new()));
}

#[test]
fn plugin_loads_no_other_library() {
    let scratch = Scratch::new("libraries");
    let kit = Kit::new(&scratch);
    let libraries = |plugins: &Path| {
        let mut driver = kit.driver_in(&scratch, plugins, &[], &[]);
        driver.ask("list");
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", driver.pid()));
        let maps = maps.expect("cannot read /proc/PID/maps");
        let names = maps.lines().filter_map(|line| line.rsplit('/').next());
        let libraries = names.filter(|name| name.contains(".so"));
        libraries.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let without = libraries(&scratch.create_dir("empty"));
    let mut with = libraries(kit.directory());
    assert!(with.remove("libsso.so"), "{with:?}");
    assert_eq!(with, without);
}

#[test]
fn valgrind_reports_no_errors_for_random_messages() {
    let site = Site::new("valgrind");
    let valgrind = Valgrind::new(&site.scratch);
    let mut driver = site.driver_under(&valgrind.words(), &[("caspt_timeout", "60")]);
    site.cas.arm("PT-1-alice", "alice", &[PROXY]);
    for _ in 0..3 {
        assert_eq!(driver.ticket("PT-1-alice").code(), code::OK);
    }
    let answer = driver.ask("fuzz CASPT 65000 42");
    assert_eq!(answer.last, ["fuzz", "0"]);
    valgrind.assert_nothing_wrong(driver);
}

#[test]
fn plugin_works_after_sasl_done_and_reinitialization() {
    let site = Site::new("reload");
    site.cas.arm("PT-1-alice", "alice", &[PROXY]);
    let mut driver = site.driver(&[]);
    for _ in 0..3 {
        assert_eq!(driver.ticket("PT-1-alice").code(), code::OK);
        assert_eq!(driver.ask("reload").last, ["reload", "0"]);
    }
    let answer = driver.ticket("PT-1-alice");
    assert_eq!(answer.field("source").as_deref(), Some("host"));
    assert_eq!(site.cas.requests().len(), 1);
}

#[test]
fn credentials_appear_neither_in_the_state_directory_nor_in_output() {
    let site = Site::new("secrets");
    let mut driver = site.driver(&[]);
    let tickets = [
        "PT-1-goodSECRETgood",
        "PT-2-badSECRETbad",
        "PT-3-newSECRETnew",
    ];
    site.cas.arm(tickets[0], "alice", &[PROXY]);
    let mut output = Vec::new();
    output.push(format!("{:?}", driver.ticket(tickets[0])));
    // CAS servers may quote the ticket in their reply.
    let quoted = format!(
        "<cas:serviceResponse xmlns:cas=\"http://www.yale.edu/tp/cas\"><cas:authenticationFailure \
         code=\"INVALID_TICKET\">Ticket '{}' not recognized</cas:authenticationFailure>\
         </cas:serviceResponse>",
        tickets[1]
    );
    site.cas.set(Behaviour::Answer(quoted));
    output.push(format!("{:?}", driver.ticket(tickets[1])));
    site.cas.set(Behaviour::HangAfterRequest);
    output.push(format!("{:?}", driver.ticket(tickets[2])));
    output.push(format!("{:?}", driver.caspt(b"\0\0noSECRETticket")));
    output.push(site.kit.syslog().tail());
    assert!(
        output[0].contains("outcome=accepted") && output[1].contains("[ticket]"),
        "{output:?}"
    );
    let mut files = 0;
    for entry in
        std::fs::read_dir(site.scratch.join("state")).expect("cannot list the state directory")
    {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("a file");
        output.push(String::from_utf8_lossy(&bytes).into_owned());
        files += 1;
    }
    assert!(files >= 3, "{files} files");
    for text in output {
        assert!(!text.contains("SECRET"), "{text}");
    }
}

#[test]
fn request_thread_blocks_signals_and_files_close_on_exec() {
    let site = Site::new("thread");
    site.cas.set(Behaviour::HangAfterRequest);
    let mut driver = site.driver(&[("caspt_timeout", "3")]);
    driver.tell(&caspt(b"\0\0PT-1-hanging"));
    let proc = std::path::PathBuf::from(format!("/proc/{}", driver.pid()));
    assert!(test_support::wait::wait_until(
        test_support::wait::PATIENCE,
        || site.cas.requests().len() == 1
    ));
    let mut threads = 0;
    for task in std::fs::read_dir(proc.join("task")).expect("cannot list the threads") {
        let task = task.expect("a task");
        if task.file_name().to_string_lossy() == driver.pid().to_string() {
            continue;
        }
        threads += 1;
        let status = std::fs::read_to_string(task.path().join("status")).expect("status");
        let blocked = status
            .lines()
            .find_map(|line| line.strip_prefix("SigBlk:\t"));
        // All signals are blocked but KILL and STOP, which cannot be, and 32 and 33, which glibc
        // reserves.
        let blocked = u64::from_str_radix(blocked.expect("SigBlk"), 16).expect("a mask");
        assert_eq!(blocked | 0x1_8004_0100, u64::MAX, "{status}");
    }
    assert!(threads >= 1);
    // The descriptors that a driver has before any login do not belong to the plugin.
    let before = site.kit.driver(&site.scratch, &[]).ask_descriptors();
    for descriptor in std::fs::read_dir(proc.join("fdinfo")).expect("cannot list the descriptors") {
        let path = descriptor.expect("a descriptor").path();
        let number: u32 = path
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok())
            .expect("a number");
        let info = std::fs::read_to_string(&path).expect("fdinfo");
        let flags = info
            .lines()
            .find_map(|line| line.strip_prefix("flags:\t"))
            .expect("flags");
        let flags = u32::from_str_radix(flags.trim(), 8).expect("octal");
        assert!(
            before.contains(&number) || flags & 0o2_000_000 != 0,
            "{number}: {info}"
        );
    }
    assert_eq!(driver.answer().code(), code::UNAVAIL);
    // The thread ends with its request.
    assert!(test_support::wait::wait_until(
        test_support::wait::PATIENCE,
        || {
            std::fs::read_dir(proc.join("task"))
                .expect("cannot list the threads")
                .count()
                == 1
        }
    ));
}
