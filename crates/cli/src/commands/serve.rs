//! `sasl-sso serve`: reads the configuration and starts the daemon.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Group, getgroups};

use super::ExitStatus;
use crate::daemon;
use crate::daemon::{AsyncLogger, BindTarget, DaemonSettings, Settings};
use crate::imapd_conf;
use crate::imapd_conf::ConfFile;
use crate::imapd_conf::service_options;
use crate::privileges::{become_user, fallback_of, host_name, host_names};
use crate::term::console::Console;
use sso_core::config::Options;
use sso_core::platform::log::{Level, Log};

/// The group that may connect to saslauthd on Debian.
const DEFAULT_GROUP: &str = "sasl";

/// Accept tickets and tokens in place of passwords, for clients that can only send a password.
///
/// The daemon speaks saslauthd's protocol. It passes ordinary passwords on to the saslauthd at
/// sso_fallback_socket. It runs in the foreground: SIGHUP makes it read FILE again, SIGTERM stops
/// it. Sockets passed by systemd take precedence over --socket.
#[derive(Clone, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    config_args: imapd_conf::ConfigArgs,
    /// File with the services of the mail server, for options of single services [default:
    /// cyrus.conf beside FILE]
    #[arg(long, value_name = "FILE")]
    cyrus_conf: Option<PathBuf>,
    /// Socket to listen on [default: saslauthd_path of FILE]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Mode of the socket, in octal
    #[arg(long, default_value = "0660", value_parser = read_mode)]
    mode: u32,
    /// Group of the socket [default: sasl, if the daemon's user is in it]
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// User to run as, if started by root [default: cyrus_user of FILE; required with a
    /// configuration file of SASL itself]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Write the log to standard error instead of syslog
    #[arg(long)]
    stderr: bool,
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> ExitStatus {
    let result = AsyncLogger::start(arguments.stderr)
        .map_err(|error| format!("no thread to be had for the log: {error}"))
        .and_then(|logger| {
            let served = serve(arguments, &logger);
            if let Err(problem) = &served {
                for line in problem.lines() {
                    logger.write(Level::Error, &format!("sso: not serving: {line}"));
                }
            }
            logger.flush();
            served
        });
    match result {
        Ok(()) => ExitStatus::Success,
        Err(problem) => {
            console.print_error(format_args!("serve: {problem}"));
            ExitStatus::Error
        }
    }
}

fn read_mode(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text} is no mode of a socket; 0660 is one");
    let mode = u32::from_str_radix(text, 8).map_err(|_| wrong())?;
    (mode & !0o777 == 0).then_some(mode).ok_or_else(wrong)
}

fn serve(arguments: &Arguments, logger: &AsyncLogger) -> Result<(), String> {
    umask(Mode::from_bits_truncate(0o077));
    let inherited = BindTarget::from_systemd()?;
    let conf = arguments.config_args.read()?;
    become_user("--user", arguments.user.as_deref(), &conf)?;
    let target = match inherited {
        Some(inherited) => inherited,
        None => BindTarget::Create {
            path: socket_path(arguments, &conf)?,
            mode: arguments.mode,
            group: find_group(arguments.group.as_deref(), logger)?,
        },
    };
    // Read again with the privileges of the user who will read it on SIGHUP.
    let settings = read_settings(arguments).map_err(|faults| faults.join("\n"))?;
    let again = arguments.clone();
    daemon::run(&target, settings, move || read_settings(&again), logger)
}

/// Reads the settings of every service.
///
/// # Errors
/// Every fault of the configuration.
fn read_settings(arguments: &Arguments) -> Result<DaemonSettings, Vec<String>> {
    let conf = arguments
        .config_args
        .read()
        .map_err(|problem| vec![problem])?;
    let mut faults = Vec::new();
    let entries = match arguments.config_args.service {
        // With `--service`, the options of that service apply to all requests.
        Some(_) => Vec::new(),
        None => {
            let (named, main) = (
                arguments.cyrus_conf.as_deref(),
                &arguments.config_args.config,
            );
            let cyrus = service_options::find_cyrus_conf(named, main, conf.format());
            let cyrus = cyrus.map_err(|problem| vec![problem])?;
            faults.extend(service_options::unknown_entries(&conf, cyrus.as_ref()));
            service_options::entries(main, &conf, cyrus.as_ref())?
        }
    };
    let conflicts = service_options::conflicts(&entries);
    faults.extend(conflicts.iter().map(ToString::to_string));
    faults.extend(service_options::other_session_caches(&conf, &entries));
    faults.extend(conf.auto_transition_faults());
    let mut collect = |conf: &ConfFile| settings_of(conf).map_err(|own| faults.extend(own)).ok();
    let general = collect(&conf);
    let own = service_options::with_own_options(&conf, &entries).into_iter();
    let of_service: BTreeMap<String, Settings> = own
        .filter_map(|(service, conf)| Some((service.to_owned(), collect(conf)?)))
        .collect();
    // A fault in the general options is found again for each service.
    let mut seen = BTreeSet::new();
    faults.retain(|fault| seen.insert(fault.clone()));
    let Some(mut general) = general.filter(|_| faults.is_empty()) else {
        return Err(faults);
    };
    let has_mechanism = |settings: &&Settings| {
        let config = &settings.config;
        config.cas.is_some() || config.jwt.is_some()
    };
    if !has_mechanism(&&general) {
        let sasl = conf.format().prefix();
        let what = format!("neither {sasl}caspt_url nor {sasl}jwt_keys is set; set one");
        let other = of_service
            .values()
            .find(has_mechanism)
            .ok_or_else(|| vec![what])?;
        // The daemon has one session store. The general options do not describe it if no mechanism
        // is configured there.
        general.config.sessions = other.config.sessions.clone();
    }
    Ok(DaemonSettings {
        general,
        of_service,
    })
}

/// The settings of one service.
fn settings_of(conf: &ConfFile) -> Result<Settings, Vec<String>> {
    let config = conf.config()?;
    Ok(Settings {
        names: host_names(conf),
        host: host_name(conf)?,
        fallback: fallback_of(conf, &config).map_err(|problem| vec![problem])?,
        config,
    })
}

/// `saslauthd_path` is an option of libsasl2, which clients of the daemon read too.
fn socket_path(arguments: &Arguments, conf: &ConfFile) -> Result<PathBuf, String> {
    let of_conf = || conf.get("saslauthd_path").map(PathBuf::from);
    let path = arguments.socket.clone().or_else(of_conf).ok_or_else(|| {
        let option = format!("{}saslauthd_path", conf.format().prefix());
        format!("where? Set {option}, such as /run/sasl-sso/mux, or use --socket")
    })?;
    // The limit leaves room in `sockaddr_un` for the longer name that the socket has while it is
    // made.
    match path.is_absolute() && path.as_os_str().len() <= 100 {
        true => Ok(path),
        false => Err(format!(
            "{}: is not an absolute path of at most 100 bytes",
            path.display()
        )),
    }
}

/// The group of the socket: the one of `--group`, or Debian's if this process is a member. `None`
/// is the process's own group.
fn find_group(name: Option<&str>, logger: &AsyncLogger) -> Result<Option<Gid>, String> {
    let find = |name: &str| Group::from_name(name).ok().flatten().map(|group| group.gid);
    if let Some(name) = name {
        let unknown = || format!("--group: there is no group {name}");
        return find(name).map(Some).ok_or_else(unknown);
    }
    let ours = getgroups().unwrap_or_default();
    let group = find(DEFAULT_GROUP);
    if group.is_some_and(|gid| !ours.contains(&gid)) {
        let line = format!(
            "sso: the socket is for our own group alone: we are not in {DEFAULT_GROUP}; add us, or say --group"
        );
        logger.write(Level::Warning, &line);
    }
    Ok(group.filter(|gid| ours.contains(gid)))
}
