//! What the plugin will read with the first credential, and not before: CAs, keys,
//! and the directory of the sessions.

#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use super::access::{Want, Who};
use super::certificate;
use super::context::Subject;
use super::diagnostic::Severity;
use crate::imapd_conf::Format;
use sso_core::config::{Config, KeysAt};
use sso_core::jwt;
use sso_core::net::tls_trust;
use sso_core::state_dir::directory::examine as examine_state_dir;

/// `is_sound` says of an option that it could be read.
pub(crate) fn check(subject: &mut Subject<'_>, config: &Config, is_sound: &dyn Fn(&str) -> bool) {
    let who = find_user(subject);
    let user = who.as_ref().map(|who| who.uid);
    let mut ca_files = Vec::new();
    if let Some(cas) = &config.cas {
        ca_files.extend(
            cas.ca_file
                .clone()
                .map(|path| ("caspt_ca_file".to_owned(), path)),
        );
    }
    let issuers = config.jwt.iter().flat_map(|jwt| &jwt.issuers);
    for issuer in issuers.clone() {
        let file = issuer.ca_file.clone();
        ca_files.extend(file.map(|path| (issuer.option("ca_file"), path)));
    }
    ca_files.retain(|(option, _)| is_sound(option));
    for (option, path) in ca_files {
        check_ca_file(subject, &option, &path, who.as_ref());
    }
    for issuer in issuers {
        let option = issuer.option("keys");
        if !is_sound(&option) || !is_sound(&issuer.option("algorithms")) {
            continue;
        }
        for complaint in jwt::check_keys(issuer, user) {
            let what = with_remedy(complaint, "put one there that can be used");
            subject.say_of_sasl(Severity::Fault, &option, &what);
        }
        if let KeysAt::Path(path) = &issuer.keys {
            check_keys(subject, &option, path, who.as_ref());
        }
    }
    if (config.cas.is_some() || config.jwt.is_some()) && is_sound("sso_state_dir") {
        check_state_dir(subject, &config.sessions.state_dir, who.as_ref());
    }
}

/// Who the processes of the mail server are; of other hosts it is not known.
fn find_user(subject: &mut Subject<'_>) -> Option<Who> {
    if subject.conf.format() == Format::Sasl {
        return None;
    }
    let name = subject.conf.of_host("cyrus_user").unwrap_or("cyrus");
    let found = Who::find(name);
    if found.is_none() {
        let what = format!("there is no user {name} on this host, so rights are not checked");
        let remedy = "check where the server is, or set cyrus_user";
        subject.say(Severity::Note, "cyrus_user", what, remedy);
    }
    found
}

/// Some problems come with their own.
fn with_remedy(problem: String, remedy: &str) -> String {
    match problem.contains("; ") {
        true => problem,
        false => format!("{problem}; {remedy}"),
    }
}

fn check_ca_file(subject: &mut Subject<'_>, option: &str, path: &Path, who: Option<&Who>) {
    if let Err(problem) = tls_trust::check(path, who.map(|who| who.uid)) {
        let what = with_remedy(problem, "name a PEM file of the CAs to be trusted");
        return subject.say_of_sasl(Severity::Fault, option, &what);
    }
    check_readable(subject, option, path, who);
    check_stays(subject, option, path);
    for one in certificate::in_file(path) {
        if let Some(end) = one.end() {
            let (path, name) = (path.display(), &one.subject);
            let what = format!("{path}: the certificate of {name} {end}; have its successor ready");
            subject.say_of_sasl(Severity::Warning, option, &what);
        }
    }
}

fn check_keys(subject: &mut Subject<'_>, option: &str, path: &Path, who: Option<&Who>) {
    check_stays(subject, option, path);
    check_readable(subject, option, path, who);
    for file in jwt::key_files(path) {
        check_readable(subject, option, &file, who);
        check_secret(subject, option, &file);
    }
}

/// Whoever can read a secret makes tokens with it; public keys are for everybody.
fn check_secret(subject: &mut Subject<'_>, option: &str, path: &Path) {
    if mode(path).is_some_and(|mode| mode & 0o004 != 0) && jwt::contains_a_secret(path) {
        let path = path.display();
        let remedy = "let the mail server's group alone read it, by chgrp and chmod 0640";
        let what = format!("everybody may read the secret in {path}; {remedy}");
        subject.say_of_sasl(Severity::Fault, option, &what);
    }
}

/// Of what a link leads to.
fn mode(path: &Path) -> Option<u32> {
    Some(fs::metadata(path).ok()?.mode())
}

fn check_readable(subject: &mut Subject<'_>, option: &str, path: &Path, who: Option<&Who>) {
    let mut wants = vec![Want::Read];
    if path.is_dir() {
        wants.push(Want::Enter);
    }
    let hindrance = |who: &Who| wants.iter().find_map(|want| who.hindrance(path, *want));
    if let Some(hindrance) = who.and_then(hindrance) {
        let what = format!("{hindrance}; let that user read it");
        subject.say_of_sasl(Severity::Fault, option, &what);
    }
}

/// What the next boot takes away, or what systemd shows to others only.
fn check_stays(subject: &mut Subject<'_>, option: &str, path: &Path) {
    let Ok(real) = fs::canonicalize(path) else {
        return;
    };
    let is_temporary = ["/tmp", "/var/tmp"]
        .iter()
        .any(|parent| real.starts_with(parent));
    let in_memory = statfs(&real).is_ok_and(|found| found.filesystem_type() == TMPFS_MAGIC);
    if is_temporary || in_memory {
        let path = path.display();
        let what = match is_temporary {
            true => {
                "is in a directory for temporary files, of which a unit of systemd's may have \
                     its own"
            }
            false => "is on a file system in memory, which the next boot takes away",
        };
        let what = format!("{path} {what}; move it, to /etc/cyrus for one");
        subject.say_of_sasl(Severity::Warning, option, &what);
    }
}

/// Without it there is no login that another process remembers.
fn check_state_dir(subject: &mut Subject<'_>, path: &Path, who: Option<&Who>) {
    if let Err(problem) = examine_state_dir(path, who.map(|who| who.uid)) {
        return subject.say_of_sasl(Severity::Warning, "sso_state_dir", &problem);
    }
    let Some(who) = who.filter(|_| !path.exists()) else {
        return;
    };
    let owner = &who.name;
    let make = format!("make it, owned by {owner}, mode 0700, at every boot (tmpfiles.d(5))");
    let what = match path.parent() {
        Some(parent) if parent.is_dir() => match who.hindrance(parent, Want::Write) {
            Some(hindrance) => format!("{} cannot be made: {hindrance}; {make}", path.display()),
            None => return,
        },
        _ => {
            let path = path.display();
            format!("{path} cannot be made: there is no directory for it to be in; {make}")
        }
    };
    subject.say_of_sasl(Severity::Warning, "sso_state_dir", &what);
}
