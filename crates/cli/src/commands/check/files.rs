//! Files and directories that the plugin reads with the first credential: CAs, keys, and the state
//! directory.

#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use super::access::{Access, Account};
use super::certificate;
use super::context::CheckContext;
use super::diagnostic::Severity;
use crate::imapd_conf::Format;
use sso_core::config::{Config, KeysAt};
use sso_core::jwt;
use sso_core::net::tls_trust;
use sso_core::state_dir::directory::examine as examine_state_dir;

/// Checks all files of a configuration. `is_sound` returns whether an option has a valid value.
pub(crate) fn check(
    context: &mut CheckContext<'_>,
    config: &Config,
    is_sound: &dyn Fn(&str) -> bool,
) {
    let account = find_user(context);
    let user = account.as_ref().map(|account| account.uid);
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
        check_ca_file(context, &option, &path, account.as_ref());
    }
    for issuer in issuers {
        let option = issuer.option("keys");
        if !is_sound(&option) || !is_sound(&issuer.option("algorithms")) {
            continue;
        }
        for complaint in jwt::check_keys(issuer, user) {
            let what = with_remedy(complaint, "put one there that can be used");
            context.add_for_sasl(Severity::Fault, &option, &what);
        }
        if let KeysAt::Path(path) = &issuer.keys {
            check_keys(context, &option, path, account.as_ref());
        }
    }
    if (config.cas.is_some() || config.jwt.is_some()) && is_sound("sso_state_dir") {
        check_state_dir(context, &config.sessions.state_dir, account.as_ref());
    }
}

/// The user of the mail server; unknown for other programs.
fn find_user(context: &mut CheckContext<'_>) -> Option<Account> {
    if context.conf.format() == Format::Sasl {
        return None;
    }
    let name = context.conf.host_option("cyrus_user").unwrap_or("cyrus");
    let found = Account::find(name);
    if found.is_none() {
        let what = format!("there is no user {name} on this host, so rights are not checked");
        let remedy = "check where the server is, or set cyrus_user";
        context.add(Severity::Note, "cyrus_user", what, remedy);
    }
    found
}

/// Adds a remedy to a problem that has none.
fn with_remedy(problem: String, remedy: &str) -> String {
    match problem.contains("; ") {
        true => problem,
        false => format!("{problem}; {remedy}"),
    }
}

fn check_ca_file(
    context: &mut CheckContext<'_>,
    option: &str,
    path: &Path,
    account: Option<&Account>,
) {
    if let Err(problem) = tls_trust::check(path, account.map(|account| account.uid)) {
        let what = with_remedy(problem, "name a PEM file of the CAs to be trusted");
        return context.add_for_sasl(Severity::Fault, option, &what);
    }
    check_readable(context, option, path, account);
    check_is_persistent(context, option, path);
    for one in certificate::in_file(path) {
        if let Some(end) = one.expiry() {
            let (path, name) = (path.display(), &one.subject);
            let what = format!("{path}: the certificate of {name} {end}; have its successor ready");
            context.add_for_sasl(Severity::Warning, option, &what);
        }
    }
}

fn check_keys(
    context: &mut CheckContext<'_>,
    option: &str,
    path: &Path,
    account: Option<&Account>,
) {
    check_is_persistent(context, option, path);
    check_readable(context, option, path, account);
    for file in jwt::key_files(path) {
        check_readable(context, option, &file, account);
        check_secret(context, option, &file);
    }
}

/// Everyone who can read a symmetric key can make tokens with it.
fn check_secret(context: &mut CheckContext<'_>, option: &str, path: &Path) {
    if mode(path).is_some_and(|mode| mode & 0o004 != 0) && jwt::contains_a_secret(path) {
        let path = path.display();
        let remedy = "let the mail server's group alone read it, by chgrp and chmod 0640";
        let what = format!("everybody may read the secret in {path}; {remedy}");
        context.add_for_sasl(Severity::Fault, option, &what);
    }
}

/// The mode of a file; links are followed.
fn mode(path: &Path) -> Option<u32> {
    Some(fs::metadata(path).ok()?.mode())
}

fn check_readable(
    context: &mut CheckContext<'_>,
    option: &str,
    path: &Path,
    account: Option<&Account>,
) {
    let mut accesses = vec![Access::Read];
    if path.is_dir() {
        accesses.push(Access::Enter);
    }
    let denial = |account: &Account| {
        accesses
            .iter()
            .find_map(|access| account.denial(path, *access))
    };
    if let Some(denial) = account.and_then(denial) {
        let what = format!("{denial}; let that user read it");
        context.add_for_sasl(Severity::Fault, option, &what);
    }
}

/// Warns of files that are removed at the next boot, or that systemd hides from other units.
fn check_is_persistent(context: &mut CheckContext<'_>, option: &str, path: &Path) {
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
        context.add_for_sasl(Severity::Warning, option, &what);
    }
}

/// Without a usable state directory, processes do not share sessions.
fn check_state_dir(context: &mut CheckContext<'_>, path: &Path, account: Option<&Account>) {
    if let Err(problem) = examine_state_dir(path, account.map(|account| account.uid)) {
        return context.add_for_sasl(Severity::Warning, "sso_state_dir", &problem);
    }
    let Some(account) = account.filter(|_| !path.exists()) else {
        return;
    };
    let owner = &account.name;
    let make = format!("make it, owned by {owner}, mode 0700, at every boot (tmpfiles.d(5))");
    let what = match path.parent() {
        Some(parent) if parent.is_dir() => match account.denial(parent, Access::Write) {
            Some(denial) => format!("{} cannot be made: {denial}; {make}", path.display()),
            None => return,
        },
        _ => {
            let path = path.display();
            format!("{path} cannot be made: there is no directory for it to be in; {make}")
        }
    };
    context.add_for_sasl(Severity::Warning, "sso_state_dir", &what);
}
