//! A private Cyrus with its own master, directories, users, ports and log.

use super::authority::Authority;
use super::cyrus_conf;
use super::plugin_dir;
use super::port::Port;
use super::process::{self, Process};
use super::scratch::{Scratch, cyrus_user, set_mode};
use super::syslog::{self, Syslog};
use super::wait::{PATIENCE, STARTING, wait_until};
use nix::sys::signal::Signal;
use std::path::{Path, PathBuf};

pub use super::cyrus_conf::{Options, Service};

const MASTER: &str = "/usr/sbin/cyrmaster";

/// A running private Cyrus in `cyrus` below the scratch directory.
pub struct Cyrus {
    scratch: Scratch,
    home: PathBuf,
    ports: Vec<(Service, Port)>,
    environment: Vec<(String, String)>,
    /// The libraries that programs load beside the syslog of the test.
    preload: Vec<PathBuf>,
    syslog: Syslog,
    master: Option<Process>,
}

impl Cyrus {
    /// Writes the configuration, starts master and waits until it listens.
    pub fn start(scratch: &Scratch, authority: &Authority, options: Options) -> Self {
        let syslog = Syslog::start(scratch);
        let home = scratch.create_dir("cyrus");
        for dir in cyrus_conf::DIRECTORIES {
            scratch.create_dir(Path::new("cyrus").join(dir));
        }
        set_mode(&home.join("state"), 0o700);
        // Normally written by `ctl_cyrusdb -r`; without it, every process logs an error.
        scratch.write("cyrus/conf/db/skipstamp", 1u32.to_be_bytes());
        authority
            .server_certificate()
            .write(scratch, "cyrus/server");
        plugin_dir::fill(
            &home.join("sasl"),
            &options.stock_plugins,
            options.plugin.as_deref(),
        );

        let ports: Vec<(Service, Port)> = options
            .services
            .iter()
            .map(|service| (*service, Port::reserve()))
            .collect();
        let imapd_conf = cyrus_conf::imapd_conf(&home, &cyrus_user(), &options.imapd_conf);
        scratch.write("cyrus/imapd.conf", imapd_conf);
        scratch.write(
            "cyrus/cyrus.conf",
            cyrus_conf::cyrus_conf(&home, &ports, &options),
        );
        scratch.give_to_cyrus(&home);

        let mut environment = options.environment;
        let mut preload = Vec::new();
        if let Some(name) = options.reverse_name {
            environment.push(("SSO_TEST_REVERSE_NAME".to_owned(), name.to_owned()));
            preload.push(syslog::build_preload(
                scratch,
                Path::new("cyrus/reverse_name_preload"),
                include_str!("reverse_name_preload.c"),
            ));
        }
        let mut cyrus = Self {
            scratch: scratch.clone(),
            home,
            ports,
            environment,
            preload,
            syslog,
            master: None,
        };
        cyrus.start_again();
        cyrus
    }

    /// Starts master again after [`Cyrus::stop`], on the same ports and directories.
    pub fn start_again(&mut self) {
        assert!(self.master.is_none(), "Cyrus runs already");
        let mut command = self.scratch.command(MASTER);
        command
            .arg("-C")
            .arg(self.imapd_conf())
            .arg("-M")
            .arg(self.home.join("cyrus.conf"))
            .arg("-p")
            .arg(self.home.join("master.pid"))
            .env("SASL_PATH", self.home.join("sasl"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        self.syslog.attach_with(&mut command, &self.preload);
        let mut master = self.scratch.spawn("cyrmaster", command);
        // This checks the sockets without connecting, because a connection would use up a process.
        let up = wait_until(STARTING, || {
            !master.running() || self.ports.iter().all(|(_, port)| port.listened())
        });
        assert!(
            up && master.running(),
            "Cyrus did not start\n{}{}",
            master.output(),
            self.syslog.tail()
        );
        self.master = Some(master);
    }

    /// Stops master and all its children.
    pub fn stop(&mut self) {
        self.master = None;
    }

    /// Stops and starts Cyrus.
    pub fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    /// Makes master read cyrus.conf again and replace its children; idle ones are replaced at once.
    pub fn hup(&self) {
        let mark = self.syslog.mark();
        self.running().signal(Signal::SIGHUP);
        let seen = self.syslog.wait_for_since(
            mark,
            |line| line.text.starts_with("Services reconfigured"),
            STARTING,
        );
        assert!(seen.is_some(), "no SIGHUP\n{}", self.syslog.tail());
    }

    /// Adds a user to the private sasldb, which the stock PLAIN and LOGIN use.
    pub fn sasl_user(&self, name: &str, password: &str) {
        let database = self.home.join("sasldb2");
        let mut command = self.scratch.command("saslpasswd2");
        command
            .args(["-c", "-p", "-u", "localhost", "-f"])
            .args([database.as_os_str(), name.as_ref()])
            // Without this variable, saslpasswd2 loads the plugins of the host.
            .env("SASL_PATH", self.home.join("sasl"));
        self.scratch.run("saslpasswd2", command, password);
        self.scratch.give_to_cyrus(&database);
    }

    /// Returns the port of a service in [`Options::services`].
    pub fn port(&self, service: Service) -> u16 {
        self.ports
            .iter()
            .find(|(running, _)| *running == service)
            .unwrap_or_else(|| panic!("{service:?} is not among the services of this Cyrus"))
            .1
            .number()
    }

    /// Returns the port of imapd.
    pub fn imap_port(&self) -> u16 {
        self.port(Service::Imap)
    }

    /// Returns the port of imapd with implicit TLS.
    pub fn imaps_port(&self) -> u16 {
        self.port(Service::Imaps)
    }

    /// Returns the port of pop3d.
    pub fn pop3_port(&self) -> u16 {
        self.port(Service::Pop3)
    }

    /// Returns the port of timsieved.
    pub fn sieve_port(&self) -> u16 {
        self.port(Service::Sieve)
    }

    /// Returns the port of httpd.
    pub fn http_port(&self) -> u16 {
        self.port(Service::Http)
    }

    /// Returns the process ID of master.
    pub fn master_pid(&self) -> u32 {
        self.running().pid()
    }

    /// Returns the running processes of the services.
    pub fn children(&self) -> Vec<u32> {
        process::children(self.master_pid())
    }

    /// Waits until none of the processes `old` is running. Returns false after a time-out.
    pub fn replaced(&self, old: &[u32]) -> bool {
        wait_until(PATIENCE, || {
            !self.children().iter().any(|pid| old.contains(pid))
        })
    }

    /// Returns the log of master and all services.
    pub fn log(&self) -> &Syslog {
        &self.syslog
    }

    /// Returns the value of `sasl_sso_state_dir`: a directory with mode 0700, owned by the Cyrus
    /// user.
    pub fn state_dir(&self) -> PathBuf {
        self.home.join("state")
    }

    /// Returns the plugin directory.
    pub fn plugin_dir(&self) -> PathBuf {
        self.home.join("sasl")
    }

    /// Returns the path of imapd.conf. Changes take effect with [`Cyrus::hup`] or
    /// [`Cyrus::restart`].
    pub fn imapd_conf(&self) -> PathBuf {
        self.home.join("imapd.conf")
    }

    fn running(&self) -> &Process {
        self.master.as_ref().expect("Cyrus is stopped")
    }
}
