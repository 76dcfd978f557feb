//! Runs the plugin in the real libsasl2, with a small program (`driver.c`) as the host application.

// Every test binary compiles this module and uses part of it.
#![allow(dead_code)]
// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

pub mod site;
pub mod token_site;
pub mod valgrind;

use crate::compiled;
use crate::scratch::Scratch;
use crate::syslog::Syslog;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

/// Result codes of libsasl2 (sasl.h).
pub mod code {
    pub const CONTINUE: i32 = 1;
    pub const OK: i32 = 0;
    pub const FAIL: i32 = -1;
    pub const NOMECH: i32 = -4;
    pub const BADPROT: i32 = -5;
    pub const BADAUTH: i32 = -13;
    pub const NOAUTHZ: i32 = -14;
    pub const UNAVAIL: i32 = -24;
}

/// Returns the release build of the plugin, or the one that `SSO_TEST_PLUGIN` names, such as a
/// build with AddressSanitizer (`make asan`).
pub fn plugin() -> PathBuf {
    if let Some(path) = std::env::var_os("SSO_TEST_PLUGIN") {
        return path.into();
    }
    crate::released("libsso.so")
}

/// Runs `sasl-sso` with these arguments. Returns its exit status, standard output and standard
/// error.
pub fn sasl_sso(arguments: &[&str]) -> (Option<i32>, String, String) {
    let program = crate::released("sasl-sso");
    let output = Command::new(program).args(arguments).output();
    let output = output.expect("sasl-sso: run `make build`");
    let text = |bytes| String::from_utf8(bytes).expect("the output is not UTF-8");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Compiles a C program of the project and links it to libsasl2, without the -dev package of
/// libsasl2.
pub fn compile(scratch: &Scratch, source: &str) -> PathBuf {
    let root = Path::new(crate::ROOT);
    let source = root.join(source);
    let program = scratch.join(source.file_stem().expect("the source has no file name"));
    let mut cc = scratch.command("cc");
    cc.args(["-Wall", "-Werror", "-O1", "-g"])
        .args(std::env::var_os("SSO_TEST_SANITIZER"))
        .arg("-I")
        .arg(root.join("sasl-headers"))
        .arg("-o")
        .args([&program, &source])
        .args(["-l:libsasl2.so.2", "-lm"]);
    compiled::once(&source, &program, || {
        scratch.run("cc", cc, "");
    });
    program
}

/// The compiled driver, and a plugin directory that contains only the plugin.
pub struct Kit {
    program: PathBuf,
    directory: PathBuf,
    syslog: Syslog,
}

impl Kit {
    /// Compiles the driver and installs the plugin, both in the scratch directory.
    pub fn new(scratch: &Scratch) -> Self {
        let program = compile(scratch, "crates/test-support/src/libsasl2/driver.c");
        let directory = scratch.create_dir("plugins");
        std::fs::copy(plugin(), directory.join("libsso.so")).expect("cannot install the plugin");
        Self {
            program,
            directory,
            syslog: Syslog::start(scratch),
        }
    }

    /// Returns the plugin directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the syslog of the drivers, for messages before the first connection. [`Answer::log`]
    /// has all later ones.
    pub fn syslog(&self) -> &Syslog {
        &self.syslog
    }

    /// Starts a driver with these options.
    pub fn driver(&self, scratch: &Scratch, options: &[(&str, &str)]) -> Driver {
        self.driver_under(scratch, &[], options)
    }

    /// Starts a driver through `wrapper` with the options of an environment, some of them replaced
    /// by `other`.
    pub fn driver_of(
        &self,
        scratch: &Scratch,
        wrapper: &[&str],
        base: &[(String, String)],
        other: &[(&str, &str)],
    ) -> Driver {
        let mut options = other.to_vec();
        for (name, value) in base {
            if !other.iter().any(|(changed, _)| changed == name) {
                options.push((name, value));
            }
        }
        self.driver_under(scratch, wrapper, &options)
    }

    /// Starts a driver with these options through a wrapper such as valgrind.
    pub fn driver_under(
        &self,
        scratch: &Scratch,
        wrapper: &[&str],
        options: &[(&str, &str)],
    ) -> Driver {
        self.driver_in(scratch, &self.directory, wrapper, options)
    }

    /// Starts a driver with another plugin directory.
    pub fn driver_in(
        &self,
        scratch: &Scratch,
        plugins: &Path,
        wrapper: &[&str],
        options: &[(&str, &str)],
    ) -> Driver {
        let mut words = wrapper.iter().map(PathBuf::from).collect::<Vec<_>>();
        words.extend([self.program.clone(), plugins.to_path_buf()]);
        let mut command = scratch.command(words.remove(0));
        command.args(words).args(
            options
                .iter()
                .map(|(name, value)| format!("{name}={value}")),
        );
        self.syslog.attach(&mut command);
        for (name, value) in std::env::vars().filter(|(name, _)| name.ends_with("SAN_OPTIONS")) {
            command.env(name, value);
        }
        Driver::start(scratch, command)
    }
}

/// Writes the options of a driver to an imapd.conf, for a host that maps user names as the driver
/// does.
fn conf(scratch: &Scratch, base: &[(String, String)], other: &[(&str, &str)]) -> PathBuf {
    let is_replaced = |name: &str| other.iter().any(|(changed, _)| *changed == name);
    let kept = base.iter().filter(|(name, _)| !is_replaced(name));
    let kept = kept.map(|(name, value)| (name.as_str(), value.as_str()));
    let all = kept.chain(other.iter().copied());
    let lines: String = all
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("sasl_{name}: {value}\n"))
        .collect();
    // The driver runs as the current user.
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid());
    let user = user
        .ok()
        .flatten()
        .expect("the current user has no account")
        .name;
    let host = format!(
        "servername: localhost\ncyrus_user: {user}\nusername_tolower: no\nvirtdomains: userid\n\
         auth_mech: none\n"
    );
    scratch.write("imapd.conf", host + &lines)
}

/// A SASL server that executes commands. It ends when its input is closed.
pub struct Driver {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    registration: PathBuf,
}

/// The output of the driver for one command.
#[derive(Debug, Default)]
pub struct Answer {
    /// The words of the last line.
    pub last: Vec<String>,
    /// The result code and the challenge of each step.
    pub steps: Vec<(i32, String)>,
    /// The log lines of the plugin: level and text.
    pub log: Vec<(i32, String)>,
}

impl Answer {
    /// Returns the result code of an exchange.
    pub fn code(&self) -> i32 {
        self.last[1].parse().expect("not a result code")
    }

    /// Returns the authentication identity at the end of an exchange.
    pub fn authid(&self) -> &str {
        &self.last[2]
    }

    /// Returns the value of a field, such as `reason`, in the log line of the login.
    pub fn field(&self, name: &str) -> Option<String> {
        let line = self
            .log
            .iter()
            .map(|(_, text)| text)
            .find(|text| text.starts_with("sso: mech="))?;
        let value = line.split_once(&format!(" {name}="))?.1;
        let end = match value.strip_prefix('"') {
            Some(quoted) => quoted.find('"').map(|end| end + 2),
            None => value.find(' '),
        };
        Some(
            value[..end.unwrap_or(value.len())]
                .trim_matches('"')
                .to_owned(),
        )
    }

    /// Returns the reason in the log line of a failed login.
    pub fn reason(&self) -> String {
        self.field("reason").unwrap_or_default()
    }
}

impl Driver {
    fn start(scratch: &Scratch, mut command: Command) -> Self {
        let mut child = command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("cannot start the driver");
        let output = BufReader::new(child.stdout.take().expect("cannot read from the driver"));
        Self {
            registration: scratch.join("groups").join(child.id().to_string()),
            input: child.stdin.take(),
            output,
            child,
        }
    }

    /// Returns the process ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the numbers of the open descriptors after the start.
    pub fn ask_descriptors(&mut self) -> Vec<u32> {
        self.ask("list");
        let listing = std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("/proc");
        listing
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect()
    }

    /// Executes a command and returns its output.
    pub fn ask(&mut self, command: &str) -> Answer {
        self.tell(command);
        self.answer()
    }

    /// Sends a command without waiting for its output.
    pub fn tell(&mut self, command: &str) {
        let input = self
            .input
            .as_mut()
            .expect("the input of the driver is closed");
        input
            .write_all(format!("{command}\n").as_bytes())
            .expect("cannot write to the driver");
    }

    /// Reads the output of a command.
    pub fn answer(&mut self) -> Answer {
        let answer = self.answer_or_end();
        answer.unwrap_or_else(|answer| panic!("the driver ended after {answer:?}"))
    }

    /// Reads the output of a command. Returns the output so far as the error if the driver ends.
    pub fn answer_or_end(&mut self) -> Result<Answer, Answer> {
        let mut answer = Answer::default();
        loop {
            let mut line = String::new();
            let read = self
                .output
                .read_line(&mut line)
                .expect("cannot read from the driver");
            if read == 0 {
                return Err(answer);
            }
            let line = line.trim_end_matches('\n');
            let mut words = line.splitn(3, ' ');
            match (words.next(), words.next(), words.next()) {
                (Some("log"), Some(level), Some(text)) => {
                    answer
                        .log
                        .push((level.parse().expect("not a log level"), text.to_owned()));
                }
                (Some("step"), Some(code), challenge) => {
                    let challenge = challenge.unwrap_or_default().to_owned();
                    answer
                        .steps
                        .push((code.parse().expect("not a result code"), challenge));
                }
                _ => {
                    answer.last = line.split(' ').map(str::to_owned).collect();
                    return Ok(answer);
                }
            }
        }
    }

    /// Returns the median duration of the calls that a command measures. Panics unless all of them
    /// succeeded.
    pub fn median(&mut self, command: &str) -> Duration {
        self.medians(command).0
    }

    /// Like [`Driver::median`], with the median that includes creating and disposing of the
    /// connection as the second value.
    pub fn medians(&mut self, command: &str) -> (Duration, Duration) {
        let answer = self.ask(command);
        assert_eq!(answer.code(), code::OK, "{command}: {answer:?}");
        let median = |index: usize| {
            let nanoseconds = answer.last[index]
                .parse()
                .expect("not a number of nanoseconds");
            Duration::from_nanos(nanoseconds)
        };
        (median(3), median(4))
    }

    /// Logs in by CASPT with this first message, and responds to a challenge with `^A`.
    pub fn caspt(&mut self, message: &[u8]) -> Answer {
        self.ask(&caspt(message))
    }

    /// Logs in by CASPT with a message that contains only a ticket.
    pub fn ticket(&mut self, ticket: &str) -> Answer {
        self.caspt(format!("\0\0{ticket}").as_bytes())
    }

    /// Waits until the driver exits.
    pub fn ended(&mut self) -> ExitStatus {
        self.child.wait().expect("cannot wait for the driver")
    }

    /// Closes the input of the driver. Returns its exit code and its remaining output.
    pub fn end(mut self) -> (Option<i32>, String) {
        drop(self.input.take());
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut self.output, &mut rest)
            .expect("cannot read from the driver");
        let status = self.child.wait().expect("cannot wait for the driver");
        (status.code(), rest)
    }
}

/// Returns the command for a login by CASPT.
pub fn caspt(message: &[u8]) -> String {
    format!("login CASPT {} 01", hex(message))
}

/// Encodes bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
        // The ID may be reused for another process group from now on.
        let _ = std::fs::remove_file(&self.registration);
    }
}
