//! The figures that are held to, and what they were taken with: with another compiler or C library
//! they are others, and nobody's fault.

use crate::counting::Counts;
use std::fmt::Write;
use test_support::libsasl2::plugin;
use test_support::scratch::Scratch;

/// So much more, or less, is another figure: one part in so many.
const TOLERANCE: u64 = 20;

const HEAD: &str = "\
# Instructions of one login in sasl_server_start, of the end of its connection in sasl_dispose,
# and of loading the plugin in sasl_server_init, as callgrind counts them with the plugin as it
# is shipped. tests/instructions.rs holds to them; `make instructions` writes them anew.
";

const RENEW: &str = "have the figures renewed by `make instructions`";

/// Figures, and what they were taken with.
pub struct Figures {
    toolchain: Toolchain,
    counts: Counts,
}

/// What figures depend on, beside the sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain(String);

/// What comes of comparing.
#[derive(Debug)]
pub enum Judgement {
    /// Nothing is wrong.
    Held(String),
    /// A figure is another one.
    Broken(String),
}

impl Toolchain {
    /// What compiled the plugin, the C library, and the processor as far as it makes a difference.
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

/// What callgrind lets programs see of it.
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

    /// Of the text that [`Figures::text`] makes.
    pub fn read(text: &str) -> Self {
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let toolchain = Toolchain(lines.next().expect("what they were taken with").to_owned());
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

    /// Holds what was counted to these figures.
    pub fn judge(&self, toolchain: &Toolchain, counted: &Counts) -> Judgement {
        let mut report = String::new();
        let mut others = Vec::new();
        for (name, count) in counted {
            let before = self.counts.iter().find(|(known, _)| known == name);
            let before = before.map(|(_, count)| *count);
            let difference = before.map(|before| 100.0 * (*count as f64 / before as f64 - 1.0));
            match difference {
                Some(percent) => writeln!(report, "{name:<26} {count:>8} {percent:>+6.1} %"),
                None => writeln!(report, "{name:<26} {count:>8} new"),
            }
            .expect("text");
            others.extend(remedy(name, before, *count));
        }
        if *toolchain != self.toolchain {
            writeln!(
                report,
                "skipped: these were counted with {}, and benches/instructions.txt with {}",
                toolchain.0, self.toolchain.0
            )
            .expect("text");
            return Judgement::Held(report);
        }
        if counted.len() != self.counts.len() {
            others.push(format!("there are {} figures: {RENEW}", self.counts.len()));
        }
        match others.is_empty() {
            true => Judgement::Held(report),
            false => Judgement::Broken(format!("{}\n{report}", others.join("\n"))),
        }
    }
}

/// What to do about a figure that is another one.
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
fn a_figure_is_held_to_a_twentieth_either_way_where_the_toolchain_is_the_same() {
    let committed = Figures::read("# About it.\nthis compiler\nlogin    1000\nload 50\n");
    let judge = |compiler: &str, login, load| {
        let counted = vec![("login".to_owned(), login), ("load".to_owned(), load)];
        match committed.judge(&Toolchain(compiler.to_owned()), &counted) {
            Judgement::Held(report) => (true, report),
            Judgement::Broken(report) => (false, report),
        }
    };
    for (login, holds) in [
        (1000, true),
        (1050, true),
        (950, true),
        (1051, false),
        (949, false),
    ] {
        let (held, report) = judge("this compiler", login, 50);
        assert_eq!(held, holds, "{report}");
    }
    let (held, report) = judge("another compiler", 2000, 50);
    assert!(held && report.contains("skipped"), "{report}");
    let (_, report) = judge("this compiler", 2000, 50);
    assert!(
        report.starts_with("login takes 2000 instructions and took 1000"),
        "{report}"
    );
    let fewer = committed.judge(&Toolchain("this compiler".to_owned()), &vec![]);
    assert!(matches!(fewer, Judgement::Broken(_)));
}
