//! After the demonstration: commands by which the reader tries it, and the log to watch.

use super::Outcome;
use super::desk::Desk;
use super::harness::daemon::program;
use super::harness::scratch::set_mode;
use super::harness::syslog::Line;
use super::harness::wait::{PATIENCE, wait_until};
use super::page::Page;
use super::signals::Signals;
use super::site::Site;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often the file of the log looks whether the demonstration is over.
const TICK: Duration = Duration::from_millis(200);

/// Says what there is to try and waits for the end; `once` only tries it itself.
pub fn offer(site: &Site, page: &Page, signals: &Signals, once: bool) -> Outcome {
    let desk = Desk::open(site)?;
    install(site, &desk);
    let log = site.scratch.join("mail.log");
    let file = File::create(&log)?;
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| desk.serve(site));
        threads.spawn(|| copy_log(site, file, &over));
        let outcome = super::guarded(|| {
            try_out(site, &log)?;
            if once {
                return Ok(page.heading("The commands to try it by hand work as well.")?);
            }
            print(site, page)?;
            signals.wait();
            Ok(page.paragraph("Stopping …")?)
        });
        over.store(true, Ordering::SeqCst);
        desk.close();
        outcome
    })
}

/// Writes the commands. They need no more than a shell and Debian's Python.
fn install(site: &Site, desk: &Desk) {
    let ask = site.scratch.write("ask.py", include_str!("ask.py"));
    let login = site.scratch.write("login.py", include_str!("login.py"));
    let ask = format!("{} {}", ask.display(), desk.path());
    let login = format!("{} {}", login.display(), site.cyrus.imap_port());
    for (name, program) in [
        ("ticket", format!("{ask} ticket")),
        ("token", format!("{ask} token")),
        ("cas", format!("{ask} cas")),
        ("login", login),
    ] {
        // -I: the reader's PYTHONPATH and packages have no say.
        let script = format!("#!/bin/sh\nexec /usr/bin/python3 -I {program} \"$@\"\n");
        set_mode(&site.scratch.write(name, script), 0o755);
    }
    let (program, conf) = (program(), site.cyrus.imapd_conf());
    let (program, conf) = (program.display(), conf.display());
    let script = format!("#!/bin/sh\nexec {program} \"$@\" --config {conf}\n");
    set_mode(&site.scratch.write("sasl-sso", script), 0o755);
}

/// Does what the reader is told to do: what does not work is not offered.
fn try_out(site: &Site, log: &Path) -> Outcome {
    let run = |name: &str, arguments: &[&str]| {
        let mut command = site.scratch.command(site.scratch.join(name));
        command.args(arguments);
        site.scratch.run(name, command, "").trim().to_owned()
    };
    let ticket = run("ticket", &["carol"]);
    let token = run("token", &["dave"]);
    let curl = |login: &str, more: &[&str]| {
        let mut command = site.scratch.command("curl");
        command.args(["-sS", "-u", login]).args(more);
        command.args([&url(site), "-X", "NAMESPACE"]);
        site.scratch.run("curl", command, "")
    };
    let bearer = curl("erin:", &["--oauth2-bearer", &run("token", &["erin"])]);
    let password = curl(&format!("frank:{}", run("ticket", &["frank"])), &[]);
    let explained = {
        let mut command = site.scratch.command(site.scratch.join("sasl-sso"));
        command.arg("explain");
        site.scratch
            .run("explain", command, &run("token", &["grace"]))
    };
    if !explained.contains("\naccepted: grace\n") {
        return Err(format!("the commands to try do not work: {explained}").into());
    }
    for (answer, sign, user) in [
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
        if !answer.contains(sign) || !logged {
            return Err(format!("the commands to try do not work: {answer}").into());
        }
    }
    let listed = run("sasl-sso", &["sessions", "list", "--user", "carol"]);
    let flushed = run("sasl-sso", &["sessions", "flush", "--user", "carol"]);
    let is_flushed = flushed.starts_with("flushed 1 session of tickets");
    match listed.contains("CASPT") && is_flushed {
        true => Ok(()),
        false => Err(format!("the commands to try do not work: {listed} {flushed}").into()),
    }
}

fn print(site: &Site, page: &Page) -> Outcome {
    let dir = site.scratch.path().display();
    page.heading(
        "Now try it yourself, in another terminal. Everything stays up until Ctrl-C here.",
    )?;
    for (command, what) in [
        ("ticket alice", "gets a new ticket for any user"),
        (
            "token alice",
            "gets a new token; token alice -60 one that is over",
        ),
        ("login TICKET", "logs in to imapd with a ticket"),
        (
            "login TOKEN",
            "by OAUTHBEARER; login TOKEN alice by XOAUTH2",
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
            "is the configuration right?",
        ),
        ("{}/sasl-sso sessions list", "who is known"),
        ("{}/sasl-sso sessions flush --user alice", "out with her"),
        ("{}/sasl-sso sessions stats", "what was counted"),
        (
            "{}/token alice | {}/sasl-sso explain",
            "what would be decided, and why",
        ),
    ] {
        page.command(&command.replace("{}", &dir.to_string()), what)?;
    }
    page.paragraph(
        "Or by a program that has never heard of this plugin, with a token and with a ticket for a \
         password; -v shows what it sends:",
    )?;
    for login in [
        format!("alice: --oauth2-bearer \"$({dir}/token alice)\""),
        format!("\"alice:$({dir}/ticket alice)\""),
    ] {
        let curl = format!("curl -sS -u {login} {} -X NAMESPACE", url(site));
        page.command(&curl, "")?;
    }
    Ok(())
}

/// Where imapd listens.
fn url(site: &Site) -> String {
    format!("imap://127.0.0.1:{}/", site.cyrus.imap_port())
}

/// Appends to the file what comes in the log, from its beginning.
fn copy_log(site: &Site, mut file: File, over: &AtomicBool) {
    let log = site.cyrus.log();
    let mut mark = 0;
    while !over.load(Ordering::SeqCst) {
        let lines = log.since(mark);
        mark += lines.len();
        for Line {
            ident, pid, text, ..
        } in lines
        {
            // The directory may be on a full disk; the demonstration itself is over.
            let _ = writeln!(file, "{ident}[{pid}]: {text}");
        }
        log.wait_for_since(mark, |_| true, TICK);
    }
}
