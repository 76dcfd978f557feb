//! `sasl-sso serve`: the daemon, as the files and the command line want it.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Group, getgroups};

use super::Status;
use crate::daemon;
use crate::daemon::{AsyncLogger, BindTarget, DaemonSettings, Settings};
use crate::imapd_conf;
use crate::imapd_conf::ConfFile;
use crate::imapd_conf::service_options;
use crate::privileges::{become_user, fallback_of, host_name, host_names};
use crate::term::console::Console;
use sso_core::config::Options;
use sso_core::platform::log::{Level, Log};

/// The group that Debian lets connect to saslauthd.
const GROUP: &str = "sasl";

/// Take tickets and tokens in the place of passwords, for logins that can only
/// send a password.
///
/// It speaks saslauthd's protocol. Any other password goes on to the saslauthd at
/// sso_fallback_socket. It runs in the foreground: SIGHUP has it read FILE again,
/// SIGTERM ends it. Sockets of systemd go before --socket.
#[derive(Clone, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: imapd_conf::Place,
    /// The services of the mail server, for options of single ones [default: cyrus.conf
    /// beside the file]
    #[arg(long, value_name = "FILE")]
    cyrus_conf: Option<PathBuf>,
    /// Where it serves [default: saslauthd_path of FILE]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Of the socket, in octal
    #[arg(long, default_value = "0660", value_parser = read_mode)]
    mode: u32,
    /// Of the socket [default: sasl, if we are in it]
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Whom it goes on as, if started by root [default: cyrus_user of FILE; with a
    /// file of SASL itself it must be said]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Lines go to standard error and not to syslog
    #[arg(long)]
    stderr: bool,
}

pub(crate) fn run(orders: &Arguments, console: &mut Console) -> Status {
    let answered = AsyncLogger::start(orders.stderr)
        .map_err(|error| format!("no thread to be had for the log: {error}"))
        .and_then(|journal| {
            let served = serve(orders, &journal);
            if let Err(problem) = &served {
                for line in problem.lines() {
                    journal.write(Level::Error, &format!("sso: not serving: {line}"));
                }
            }
            journal.flush();
            served
        });
    match answered {
        Ok(()) => Status::Good,
        Err(problem) => {
            console.complain(format_args!("serve: {problem}"));
            Status::Unusable
        }
    }
}

fn read_mode(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text} is no mode of a socket; 0660 is one");
    let mode = u32::from_str_radix(text, 8).map_err(|_| wrong())?;
    (mode & !0o777 == 0).then_some(mode).ok_or_else(wrong)
}

fn serve(orders: &Arguments, journal: &AsyncLogger) -> Result<(), String> {
    umask(Mode::from_bits_truncate(0o077));
    let given = BindTarget::from_systemd()?;
    let conf = orders.place.read()?;
    become_user("--user", orders.user.as_deref(), &conf)?;
    let place = match given {
        Some(given) => given,
        None => BindTarget::Create {
            path: socket_path(orders, &conf)?,
            mode: orders.mode,
            group: find_group(orders.group.as_deref(), journal)?,
        },
    };
    // Once more, as who will read it again.
    let settings = read_settings(orders).map_err(|faults| faults.join("\n"))?;
    let again = orders.clone();
    daemon::run(&place, settings, move || read_settings(&again), journal)
}

/// All that the files say, for each service, or all that is wrong with it.
fn read_settings(orders: &Arguments) -> Result<DaemonSettings, Vec<String>> {
    let conf = orders.place.read().map_err(|problem| vec![problem])?;
    let mut faults = Vec::new();
    let entries = match orders.place.service {
        // Then its options are for all.
        Some(_) => Vec::new(),
        None => {
            let (named, main) = (orders.cyrus_conf.as_deref(), &orders.place.config);
            let cyrus = service_options::find_cyrus_conf(named, main, conf.format());
            let cyrus = cyrus.map_err(|problem| vec![problem])?;
            faults.extend(service_options::unknown_entries(&conf, cyrus.as_ref()));
            service_options::entries(main, &conf, cyrus.as_ref())?
        }
    };
    let conflicts = service_options::conflicts(&entries);
    faults.extend(conflicts.iter().map(ToString::to_string));
    faults.extend(service_options::other_stores(&conf, &entries));
    faults.extend(conf.transitions());
    let mut take = |conf: &ConfFile| settings_of(conf).map_err(|own| faults.extend(own)).ok();
    let general = take(&conf);
    let own = service_options::with_own_options(&conf, &entries).into_iter();
    let of_service: BTreeMap<String, Settings> = own
        .filter_map(|(service, conf)| Some((service.to_owned(), take(conf)?)))
        .collect();
    // What is wrong for all is wrong for each.
    let mut seen = BTreeSet::new();
    faults.retain(|fault| seen.insert(fault.clone()));
    let Some(mut general) = general.filter(|_| faults.is_empty()) else {
        return Err(faults);
    };
    let takes = |settings: &&Settings| {
        let config = &settings.config;
        config.cas.is_some() || config.jwt.is_some()
    };
    if !takes(&&general) {
        let sasl = conf.format().prefix();
        let what = format!("neither {sasl}caspt_url nor {sasl}jwt_keys is set; set one");
        let other = of_service.values().find(takes).ok_or_else(|| vec![what])?;
        // The store is one, and is not read where nothing else is configured.
        general.config.sessions = other.config.sessions.clone();
    }
    Ok(DaemonSettings {
        general,
        of_service,
    })
}

/// What one service has.
fn settings_of(conf: &ConfFile) -> Result<Settings, Vec<String>> {
    let config = conf.config()?;
    Ok(Settings {
        names: host_names(conf),
        host: host_name(conf)?,
        fallback: fallback_of(conf, &config).map_err(|problem| vec![problem])?,
        config,
    })
}

/// The path that the option of libsasl2 says, which its clients read too.
fn socket_path(orders: &Arguments, conf: &ConfFile) -> Result<PathBuf, String> {
    let of_conf = || conf.get("saslauthd_path").map(PathBuf::from);
    let path = orders.socket.clone().or_else(of_conf).ok_or_else(|| {
        let option = format!("{}saslauthd_path", conf.format().prefix());
        format!("where? Set {option}, such as /run/sasl-sso/mux, or use --socket")
    })?;
    // What fits into a sockaddr_un, also while its name is a longer one.
    match path.is_absolute() && path.as_os_str().len() <= 100 {
        true => Ok(path),
        false => Err(format!(
            "{}: is not an absolute path of at most 100 bytes",
            path.display()
        )),
    }
}

/// The group of the socket, if not our own: as ordered, or Debian's if we are in it.
fn find_group(name: Option<&str>, journal: &AsyncLogger) -> Result<Option<Gid>, String> {
    let find = |name: &str| Group::from_name(name).ok().flatten().map(|group| group.gid);
    if let Some(name) = name {
        let unknown = || format!("--group: there is no group {name}");
        return find(name).map(Some).ok_or_else(unknown);
    }
    let ours = getgroups().unwrap_or_default();
    let group = find(GROUP);
    if group.is_some_and(|gid| !ours.contains(&gid)) {
        let line = format!(
            "sso: the socket is for our own group alone: we are not in {GROUP}; add us, or say --group"
        );
        journal.write(Level::Warning, &line);
    }
    Ok(group.filter(|gid| ours.contains(gid)))
}
