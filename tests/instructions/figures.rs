//! The committed figures and the toolchain with which they were counted: another compiler or C
//! library yields other figures.

use crate::counting::Counts;
use std::fmt::Write;
use test_support::libsasl2::plugin;
use test_support::scratch::Scratch;

/// The inverse of the tolerance: a count may differ by one part in this many.
const TOLERANCE: u64 = 20;

const HEAD: &str = "\
# Instructions of one login in sasl_server_start, of the end of its connection in sasl_dispose,
# and of loading the plugin in sasl_server_init, as callgrind counts them with the plugin as it
# is shipped. tests/instructions.rs holds to them; `make instructions` writes them anew.
";

const RENEW: &str = "have the figures renewed by `make instructions`";

/// Figures, and the toolchain with which they were counted.
pub struct Figures {
    toolchain: Toolchain,
    counts: Counts,
}

/// What the figures depend on besides the sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain(String);

/// The result of comparing counts with figures.
#[derive(Debug)]
pub enum Comparison {
    /// All counts are within the tolerance, or cannot be compared.
    Unchanged(String),
    /// At least one count is outside of the tolerance.
    Changed(String),
}

impl Toolchain {
    /// Describes the compiler of the plugin, the C library, and the relevant features of the
    /// processor.
    pub fn of_this_machine(scratch: &Scratch) -> Self {
        let binary = std::fs::read(plugin()).expect("the plugin");
        let at = binary
            .windows(14)
            .position(|bytes| bytes == b"rustc version ");
        let compiler = at.map(|at| binary[at..].split(|byte| *byte == 0).next().unwrap_or(&[]));
        let compiler = String::from_utf8_lossy(compiler.unwrap_or(b"unknown")).into_owned();
        let mut command = scratch.command("getconf");
        command.arg("GNU_LIBC_VERSION");
        let library = scratch.run("getconf", command, "");
        Self(format!("{compiler}, {}, {}", library.trim(), processor()))
    }
}

/// The processor's features that callgrind passes on to programs.
fn processor() -> String {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        return "x86_64 with AVX2".to_owned();
    }
    std::env::consts::ARCH.to_owned()
}

impl Figures {
    pub fn new(toolchain: Toolchain, counts: Counts) -> Self {
        Self { toolchain, counts }
    }

    /// Parses the text that [`Figures::text`] writes.
    pub fn read(text: &str) -> Self {
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let toolchain = Toolchain(lines.next().expect("the toolchain").to_owned());
        let counts = lines.map(|line| {
            let (name, count) = line.rsplit_once(' ').expect("a name and a figure");
            (name.trim().to_owned(), count.parse().expect("a figure"))
        });
        Self {
            counts: counts.collect(),
            toolchain,
        }
    }

    pub fn text(&self) -> String {
        let mut text = format!("{HEAD}{}\n", self.toolchain.0);
        for (name, count) in &self.counts {
            writeln!(text, "{name:<26} {count:>8}").expect("text");
        }
        text
    }

    /// Compares counts with these figures.
    pub fn compare(&self, toolchain: &Toolchain, counted: &Counts) -> Comparison {
        let mut report = String::new();
        let mut remedies = Vec::new();
        for (name, count) in counted {
            let before = self.counts.iter().find(|(known, _)| known == name);
            let before = before.map(|(_, count)| *count);
            let difference = before.map(|before| 100.0 * (*count as f64 / before as f64 - 1.0));
            match difference {
                Some(percent) => writeln!(report, "{name:<26} {count:>8} {percent:>+6.1} %"),
                None => writeln!(report, "{name:<26} {count:>8} new"),
            }
            .expect("text");
            remedies.extend(remedy(name, before, *count));
        }
        if *toolchain != self.toolchain {
            writeln!(
                report,
                "skipped: these were counted with {}, and benches/instructions.txt with {}",
                toolchain.0, self.toolchain.0
            )
            .expect("text");
            return Comparison::Unchanged(report);
        }
        if counted.len() != self.counts.len() {
            remedies.push(format!("there are {} figures: {RENEW}", self.counts.len()));
        }
        match remedies.is_empty() {
            true => Comparison::Unchanged(report),
            false => Comparison::Changed(format!("{}\n{report}", remedies.join("\n"))),
        }
    }
}

/// What to do about a count outside of the tolerance.
fn remedy(name: &str, before: Option<u64>, count: u64) -> Option<String> {
    let before = match before {
        Some(before) => before,
        None => return Some(format!("{name} is new: {RENEW}")),
    };
    let allowed = before / TOLERANCE;
    if count > before + allowed {
        Some(format!(
            "{name} takes {count} instructions and took {before}: make it as fast as it was, or \
             {RENEW} and say why in the commit"
        ))
    } else if count + allowed < before {
        Some(format!("{name} is faster than it was ({before}): {RENEW}"))
    } else {
        None
    }
}

#[test]
fn counts_may_differ_by_a_twentieth_with_the_same_toolchain() {
    let committed = Figures::read("# About it.\nthis compiler\nlogin    1000\nload 50\n");
    let compare = |compiler: &str, login, load| {
        let counted = vec![("login".to_owned(), login), ("load".to_owned(), load)];
        match committed.compare(&Toolchain(compiler.to_owned()), &counted) {
            Comparison::Unchanged(report) => (true, report),
            Comparison::Changed(report) => (false, report),
        }
    };
    for (login, holds) in [
        (1000, true),
        (1050, true),
        (950, true),
        (1051, false),
        (949, false),
    ] {
        let (is_unchanged, report) = compare("this compiler", login, 50);
        assert_eq!(is_unchanged, holds, "{report}");
    }
    let (is_unchanged, report) = compare("another compiler", 2000, 50);
    assert!(is_unchanged && report.contains("skipped"), "{report}");
    let (_, report) = compare("this compiler", 2000, 50);
    assert!(
        report.starts_with("login takes 2000 instructions and took 1000"),
        "{report}"
    );
    let fewer = committed.compare(&Toolchain("this compiler".to_owned()), &vec![]);
    assert!(matches!(fewer, Comparison::Changed(_)));
}
