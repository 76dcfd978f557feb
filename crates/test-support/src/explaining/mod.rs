//! Runs the shipped `sasl-sso explain`.

// Every test binary compiles this module and uses part of it.
#![allow(dead_code)]
// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

use crate::libsasl2;
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// The exit status and the output of a run.
#[derive(Debug)]
pub struct Explained {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Explained {
    /// The output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A string member of the JSON output, empty if missing.
    pub fn field(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_default().to_owned()
    }

    /// The first check of this name: its outcome, the actual value, and the expected value.
    pub fn step(&self, name: &str) -> [String; 3] {
        let json = self.json();
        let steps = json["steps"].as_array().expect("steps");
        let step = steps.iter().find(|step| step["step"] == name);
        let step = step.unwrap_or_else(|| panic!("no step {name}: {self:?}"));
        ["outcome", "found", "wanted"].map(|name| step[name].as_str().expect("a text").to_owned())
    }

    /// The outcome, followed by the reason or the user.
    pub fn verdict(&self) -> (String, String) {
        let reason = self.field("reason");
        let user = self.field("user");
        (self.field("outcome"), reason + &user)
    }
}

/// Explains a credential and prints text.
pub fn explain(conf: &Path, credential: &[u8], arguments: &[&str]) -> Explained {
    let program = libsasl2::plugin().with_file_name("sasl-sso");
    let mut child = Command::new(program)
        .env_clear()
        .arg("explain")
        .arg("--config")
        .arg(conf)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sasl-sso: run `make build`");
    let mut input = child.stdin.take().expect("the standard input");
    // The program may exit without reading its input.
    let _ = input.write_all(credential);
    drop(input);
    let output = child.wait_with_output().expect("the output");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Explained {
        status: output.status.code().expect("an exit status"),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// Like [`explain`], with JSON output.
pub fn explain_json(conf: &Path, credential: &str, arguments: &[&str]) -> Explained {
    let arguments = [&["--json"], arguments].concat();
    explain(conf, credential.as_bytes(), &arguments)
}
