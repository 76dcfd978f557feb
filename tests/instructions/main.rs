//! The cost of logins and of loading the plugin in instructions, as callgrind counts them. The
//! figures do not depend on the load of the machine, so a more expensive change is noticed at once.
//! `make instructions` renews the figures.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]
// The counts are printed for people to read.
#![allow(clippy::print_stdout)]

mod counting;
mod figures;
// Only the benches use the rest of this module.
#[allow(dead_code)]
#[path = "../../benches/tokens.rs"]
mod tokens;

use counting::{Counter, Counts};
use figures::{Comparison, Figures, Toolchain};
use test_support::scratch::Scratch;

/// The committed figures that counts are compared with.
const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");

#[test]
fn logins_and_loading_take_as_many_instructions_as_committed() {
    let scratch = Scratch::new("instructions");
    let toolchain = Toolchain::of_this_machine(&scratch);
    let counted = all(&scratch);
    if std::env::var_os("SSO_RENEW_INSTRUCTIONS").is_some() {
        let text = Figures::new(toolchain, counted).text();
        std::fs::write(COMMITTED, &text).expect("writing the figures");
        print!("{text}");
        return;
    }
    let committed = std::fs::read_to_string(COMMITTED).expect("benches/instructions.txt");
    let committed = Figures::read(&committed);
    match committed.compare(&toolchain, &counted) {
        Comparison::Unchanged(report) => print!("{report}"),
        Comparison::Changed(report) => panic!("{report}"),
    }
}

fn all(scratch: &Scratch) -> Counts {
    let counter = Counter::new(scratch);
    let parts: [&(dyn Fn() -> Counts + Sync); 6] = [
        &|| counter.tickets(),
        &|| counter.validation_in_all_threads(),
        &|| counter.tokens("RS256"),
        &|| counter.tokens("ES256"),
        &|| counter.tokens("EdDSA"),
        &|| counter.loading(),
    ];
    // All run concurrently: each has a process of its own, and time is not measured.
    std::thread::scope(|scope| {
        let running = parts.map(|part| scope.spawn(part));
        let counts = running.map(|part| part.join().expect("figures"));
        counts.into_iter().flatten().collect()
    })
}
