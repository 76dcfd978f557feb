//! Commands with which the reader can try the demonstration, and the log to watch.

use super::Outcome;
use super::control_socket::ControlSocket;
use super::page::Page;
use super::servers::DemoServers;
use super::signals::Signals;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use test_support::daemon::program;
use test_support::scratch::set_mode;
use test_support::syslog::Line;
use test_support::wait::{PATIENCE, wait_until};

/// Interval at which the log copier checks whether the demonstration is over.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Prints the commands and waits for a signal. With `once`, only checks that the commands work.
pub fn offer(servers: &DemoServers, page: &Page, signals: &Signals, once: bool) -> Outcome {
    let control = ControlSocket::open(servers)?;
    install(servers, &control);
    let log = servers.scratch.join("mail.log");
    let file = File::create(&log)?;
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| control.serve(servers));
        threads.spawn(|| copy_log(servers, file, &over));
        let outcome = super::guarded(|| {
            try_out(servers, &log)?;
            if once {
                return Ok(page.heading("The commands to try it by hand work as well.")?);
            }
            print(servers, page)?;
            signals.wait();
            Ok(page.paragraph("Stopping …")?)
        });
        over.store(true, Ordering::SeqCst);
        control.close();
        outcome
    })
}

/// Writes the commands to the scratch directory. They require only a shell and Debian's Python.
fn install(servers: &DemoServers, control: &ControlSocket) {
    let ask = servers.scratch.write("ask.py", include_str!("ask.py"));
    let login = servers.scratch.write("login.py", include_str!("login.py"));
    let ask = format!("{} {}", ask.display(), control.path());
    let login = format!("{} {}", login.display(), servers.cyrus.imap_port());
    for (name, program) in [
        ("ticket", format!("{ask} ticket")),
        ("token", format!("{ask} token")),
        ("cas", format!("{ask} cas")),
        ("login", login),
    ] {
        // -I ignores the reader's PYTHONPATH and packages.
        let script = format!("#!/bin/sh\nexec /usr/bin/python3 -I {program} \"$@\"\n");
        set_mode(&servers.scratch.write(name, script), 0o755);
    }
    let (program, conf) = (program(), servers.cyrus.imapd_conf());
    let (program, conf) = (program.display(), conf.display());
    let script = format!("#!/bin/sh\nexec {program} \"$@\" --config {conf}\n");
    set_mode(&servers.scratch.write("sasl-sso", script), 0o755);
}

/// Runs the commands before they are offered to the reader.
fn try_out(servers: &DemoServers, log: &Path) -> Outcome {
    let run = |name: &str, arguments: &[&str]| {
        let mut command = servers.scratch.command(servers.scratch.join(name));
        command.args(arguments);
        servers.scratch.run(name, command, "").trim().to_owned()
    };
    let ticket = run("ticket", &["carol"]);
    let token = run("token", &["dave"]);
    let curl = |login: &str, more: &[&str]| {
        let mut command = servers.scratch.command("curl");
        command.args(["-sS", "-u", login]).args(more);
        command.args([&url(servers), "-X", "NAMESPACE"]);
        servers.scratch.run("curl", command, "")
    };
    let bearer = curl("erin:", &["--oauth2-bearer", &run("token", &["erin"])]);
    let password = curl(&format!("frank:{}", run("ticket", &["frank"])), &[]);
    let explained = {
        let mut command = servers.scratch.command(servers.scratch.join("sasl-sso"));
        command.arg("explain");
        servers
            .scratch
            .run("explain", command, &run("token", &["grace"]))
    };
    if !explained.contains("\naccepted: grace\n") {
        return Err(format!("the commands do not work: {explained}").into());
    }
    for (answer, expected, user) in [
        (run("login", &[&ticket]), "\nimapd  OK ", "carol"),
        (run("login", &[&token]), "\nimapd  OK ", "dave"),
        (run("login", &[&token, "dave"]), "\nimapd  OK ", "dave"),
        (bearer, "* NAMESPACE ", "erin"),
        (password, "* NAMESPACE ", "frank"),
    ] {
        let line = format!("accepted user={user} ");
        let logged = wait_until(PATIENCE, || {
            std::fs::read_to_string(log).is_ok_and(|text| text.contains(&line))
        });
        if !answer.contains(expected) || !logged {
            return Err(format!("the commands do not work: {answer}").into());
        }
    }
    let listed = run("sasl-sso", &["sessions", "list", "--user", "carol"]);
    let flushed = run("sasl-sso", &["sessions", "flush", "--user", "carol"]);
    let is_flushed = flushed.starts_with("flushed 1 session of tickets");
    match listed.contains("CASPT") && is_flushed {
        true => Ok(()),
        false => Err(format!("the commands do not work: {listed} {flushed}").into()),
    }
}

fn print(servers: &DemoServers, page: &Page) -> Outcome {
    let dir = servers.scratch.path().display();
    page.heading("Now try it yourself, in another terminal. The servers run until Ctrl-C here.")?;
    for (command, what) in [
        ("ticket alice", "gets a new ticket for any user"),
        (
            "token alice",
            "gets a new token; token alice -60 an expired one",
        ),
        ("login TICKET", "logs in to imapd with a ticket"),
        (
            "login TOKEN",
            "uses OAUTHBEARER; login TOKEN alice uses XOAUTH2",
        ),
        ("cas stop", "stops CAS; cas start starts it again"),
    ] {
        page.command(&format!("{dir}/{command}"), what)?;
    }
    for (program, file, what) in [
        ("tail -f", "mail.log", "shows what imapd and sasl-sso log"),
        ("cat", "cyrus/imapd.conf", "shows the configuration"),
    ] {
        page.command(&format!("{program} {dir}/{file}"), what)?;
    }
    page.paragraph("As the administrator:")?;
    for (command, what) in [
        (
            "{}/sasl-sso check --plugin-dir {}/cyrus/sasl",
            "checks the configuration",
        ),
        ("{}/sasl-sso sessions list", "lists cached sessions"),
        (
            "{}/sasl-sso sessions flush --user alice",
            "ends her sessions",
        ),
        ("{}/sasl-sso sessions stats", "shows login statistics"),
        (
            "{}/token alice | {}/sasl-sso explain",
            "shows the outcome of a login, and why",
        ),
    ] {
        page.command(&command.replace("{}", &dir.to_string()), what)?;
    }
    page.paragraph(
        "Or with curl, which knows nothing of this plugin, with a token and with a ticket as the \
                 password; -v shows what it sends:",
    )?;
    for login in [
        format!("alice: --oauth2-bearer \"$({dir}/token alice)\""),
        format!("\"alice:$({dir}/ticket alice)\""),
    ] {
        let curl = format!("curl -sS -u {login} {} -X NAMESPACE", url(servers));
        page.command(&curl, "")?;
    }
    Ok(())
}

/// Returns the URL of imapd.
fn url(servers: &DemoServers) -> String {
    format!("imap://127.0.0.1:{}/", servers.cyrus.imap_port())
}

/// Copies the log to a file, from its beginning, until `over` is set.
fn copy_log(servers: &DemoServers, mut file: File, over: &AtomicBool) {
    let log = servers.cyrus.log();
    let mut mark = 0;
    while !over.load(Ordering::SeqCst) {
        let lines = log.since(mark);
        mark += lines.len();
        for Line {
            ident, pid, text, ..
        } in lines
        {
            // A full disk must not end the demonstration.
            let _ = writeln!(file, "{ident}[{pid}]: {text}");
        }
        log.wait_for_since(mark, |_| true, POLL_INTERVAL);
    }
}
