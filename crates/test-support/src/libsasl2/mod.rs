//! The plugin in the real libsasl2, with a small program (`driver.c`) as the host.

// Each test binary has all of it and uses a part.
#![allow(dead_code)]
// clippy sees no tests outside of #[test] functions.
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

/// libsasl2's result codes (sasl.h).
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

/// The plugin as it is shipped, or one that was built to watch itself (`make asan`).
pub fn plugin() -> PathBuf {
    if let Some(watched) = std::env::var_os("SSO_TEST_PLUGIN") {
        return watched.into();
    }
    crate::released("libsso.so")
}

/// What the program says to these arguments: its exit status, standard output and error.
pub fn sasl_sso(arguments: &[&str]) -> (Option<i32>, String, String) {
    let program = crate::released("sasl-sso");
    let output = Command::new(program).args(arguments).output();
    let output = output.expect("sasl-sso: run `make build`");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Compiles a C program of the project's against libsasl2, without its -dev package.
pub fn compile(scratch: &Scratch, source: &str) -> PathBuf {
    let root = Path::new(crate::ROOT);
    let source = root.join(source);
    let program = scratch.join(source.file_stem().expect("a source file"));
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

/// The driver's program and a plugin directory with nothing but our plugin in it.
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
        std::fs::copy(plugin(), directory.join("libsso.so")).expect("installing the plugin");
        Self {
            program,
            directory,
            syslog: Syslog::start(scratch),
        }
    }

    /// The plugin directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What drivers say before they have a connection; see [`Answer::log`] for the rest.
    pub fn syslog(&self) -> &Syslog {
        &self.syslog
    }

    /// Starts a driver with these options.
    pub fn driver(&self, scratch: &Scratch, options: &[(&str, &str)]) -> Driver {
        self.driver_under(scratch, &[], options)
    }

    /// A driver under another program with a site's options, but for these.
    pub fn driver_of(
        &self,
        scratch: &Scratch,
        wrapper: &[&str],
        site: &[(String, String)],
        other: &[(&str, &str)],
    ) -> Driver {
        let mut options = other.to_vec();
        for (name, value) in site {
            if !other.iter().any(|(changed, _)| changed == name) {
                options.push((name, value));
            }
        }
        self.driver_under(scratch, wrapper, &options)
    }

    /// The same under another program, such as valgrind.
    pub fn driver_under(
        &self,
        scratch: &Scratch,
        wrapper: &[&str],
        options: &[(&str, &str)],
    ) -> Driver {
        self.driver_in(scratch, &self.directory, wrapper, options)
    }

    /// The same with another plugin directory.
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

/// The options of a driver as an imapd.conf, of a host that writes names as the driver does.
fn conf(scratch: &Scratch, site: &[(String, String)], other: &[(&str, &str)]) -> PathBuf {
    let is_other = |name: &str| other.iter().any(|(changed, _)| *changed == name);
    let of_site = site.iter().filter(|(name, _)| !is_other(name));
    let of_site = of_site.map(|(name, value)| (name.as_str(), value.as_str()));
    let set = of_site.chain(other.iter().copied());
    let lines: String = set
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("sasl_{name}: {value}\n"))
        .collect();
    // The driver has no other user than us.
    let us = nix::unistd::User::from_uid(nix::unistd::geteuid());
    let us = us.ok().flatten().expect("an account of one's own").name;
    let host = format!(
        "servername: localhost\ncyrus_user: {us}\nusername_tolower: no\nvirtdomains: userid\n\
         auth_mech: none\n"
    );
    scratch.write("imapd.conf", host + &lines)
}

/// A SASL server that does as it is told. It ends with its input.
pub struct Driver {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    registration: PathBuf,
}

/// What the driver said to one command.
#[derive(Debug, Default)]
pub struct Answer {
    /// The words of the last line.
    pub last: Vec<String>,
    /// Of each step, the code and the challenge.
    pub steps: Vec<(i32, String)>,
    /// What the plugin logged: level and text.
    pub log: Vec<(i32, String)>,
}

impl Answer {
    /// The code at the end of an exchange.
    pub fn code(&self) -> i32 {
        self.last[1].parse().expect("a code")
    }

    /// The authentication identity at the end of an exchange.
    pub fn authid(&self) -> &str {
        &self.last[2]
    }

    /// The value of a field of the line on the decision, such as `reason`.
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

    /// The reason that was logged for a failure.
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
            .expect("a driver");
        let output = BufReader::new(child.stdout.take().expect("the driver's output"));
        Self {
            registration: scratch.join("groups").join(child.id().to_string()),
            input: child.stdin.take(),
            output,
            child,
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The numbers of its open files, once it is up.
    pub fn ask_descriptors(&mut self) -> Vec<u32> {
        self.ask("list");
        let listing = std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("/proc");
        listing
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect()
    }

    /// Has a command done.
    pub fn ask(&mut self, command: &str) -> Answer {
        self.tell(command);
        self.answer()
    }

    /// Gives a command without waiting for its answer.
    pub fn tell(&mut self, command: &str) {
        let input = self.input.as_mut().expect("the driver's input");
        input
            .write_all(format!("{command}\n").as_bytes())
            .expect("a driver that reads");
    }

    /// The answer to a command.
    pub fn answer(&mut self) -> Answer {
        let answer = self.answer_or_end();
        answer.unwrap_or_else(|answer| panic!("the driver ended after {answer:?}"))
    }

    /// The answer to a command; if the driver ended instead, what it said before that.
    pub fn answer_or_end(&mut self) -> Result<Answer, Answer> {
        let mut answer = Answer::default();
        loop {
            let mut line = String::new();
            let read = self
                .output
                .read_line(&mut line)
                .expect("a driver that writes text");
            if read == 0 {
                return Err(answer);
            }
            let line = line.trim_end_matches('\n');
            let mut words = line.splitn(3, ' ');
            match (words.next(), words.next(), words.next()) {
                (Some("log"), Some(level), Some(text)) => {
                    answer
                        .log
                        .push((level.parse().expect("a level"), text.to_owned()));
                }
                (Some("step"), Some(code), challenge) => {
                    let challenge = challenge.unwrap_or_default().to_owned();
                    answer
                        .steps
                        .push((code.parse().expect("a code"), challenge));
                }
                _ => {
                    answer.last = line.split(' ').map(str::to_owned).collect();
                    return Ok(answer);
                }
            }
        }
    }

    /// The median of the calls that a command measures, all of which must have succeeded.
    pub fn median(&mut self, command: &str) -> Duration {
        self.medians(command).0
    }

    /// The same, and that of the calls with the beginning and the end of their connections.
    pub fn medians(&mut self, command: &str) -> (Duration, Duration) {
        let answer = self.ask(command);
        assert_eq!(answer.code(), code::OK, "{command}: {answer:?}");
        let median = |place: usize| {
            let nanoseconds = answer.last[place].parse().expect("nanoseconds");
            Duration::from_nanos(nanoseconds)
        };
        (median(3), median(4))
    }

    /// A login by CASPT with this first message; a refusal is answered with `^A`.
    pub fn caspt(&mut self, message: &[u8]) -> Answer {
        self.ask(&caspt(message))
    }

    /// A login by CASPT with a ticket alone.
    pub fn ticket(&mut self, ticket: &str) -> Answer {
        self.caspt(format!("\0\0{ticket}").as_bytes())
    }

    /// How it ended, if it did by itself.
    pub fn ended(&mut self) -> ExitStatus {
        self.child.wait().expect("the driver's end")
    }

    /// Ends the driver and returns its exit code and what it still said.
    pub fn end(mut self) -> (Option<i32>, String) {
        drop(self.input.take());
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut self.output, &mut rest).expect("the driver's output");
        let status = self.child.wait().expect("the driver's end");
        (status.code(), rest)
    }
}

/// The command for a login by CASPT.
pub fn caspt(message: &[u8]) -> String {
    format!("login CASPT {} 01", hex(message))
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
        // From here on the id may become that of somebody else's group.
        let _ = std::fs::remove_file(&self.registration);
    }
}
