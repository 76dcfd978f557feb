//! What logins and loading cost in instructions, as callgrind counts them: no figure of the machine's
//! mood, so that a change that costs more than it says is seen at once. `make instructions` writes
//! the figures anew.

// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]
// What was counted is what one wants to know.
#![allow(clippy::print_stdout)]

mod counting;
mod figures;
// The benches use the rest of it.
#[allow(dead_code)]
#[path = "../../benches/tokens.rs"]
mod tokens;

use counting::{Counter, Counts};
use figures::{Figures, Judgement, Toolchain};
use test_support::scratch::Scratch;

/// Where the figures are that are held to.
const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");

#[test]
fn logins_and_loading_take_no_more_instructions_than_they_did() {
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
    match committed.judge(&toolchain, &counted) {
        Judgement::Held(report) => print!("{report}"),
        Judgement::Broken(report) => panic!("{report}"),
    }
}

fn all(scratch: &Scratch) -> Counts {
    let counter = Counter::new(scratch);
    let parts: [&(dyn Fn() -> Counts + Sync); 6] = [
        &|| counter.tickets(),
        &|| counter.asking(),
        &|| counter.tokens("RS256"),
        &|| counter.tokens("ES256"),
        &|| counter.tokens("EdDSA"),
        &|| counter.loading(),
    ];
    // All at once: each has a process of its own, and time is not what is measured.
    std::thread::scope(|scope| {
        let running = parts.map(|part| scope.spawn(part));
        let counts = running.map(|part| part.join().expect("figures"));
        counts.into_iter().flatten().collect()
    })
}
