//! What the plugin costs, each figure beside that of something real which was measured in the same
//! run: `cargo bench`.
//!
//! Nothing is passed or failed by its speed. What does not work at all ends the run with an error.

// What fails here ends the run, and says why.
#![allow(clippy::expect_used)]
// The table is what the program is for.
#![allow(clippy::print_stdout)]

mod cached_saslauthd;
mod callers;
mod counting;
mod daemon;
mod filling;
mod first_ticket;
mod first_token;
mod imap_logins;
mod known_session;
mod loading;
mod mail;
mod measure;
mod processes;
mod store;
mod table;
mod tokens;

fn main() {
    // `cargo test --all-targets` starts benches too, without this word: to see that they build.
    if !std::env::args().any(|word| word == "--bench") {
        return;
    }
    let mail = mail::Mail::start();
    let (mut rows, sizes) = known_session::rows(&mail);
    rows.extend(counting::rows(&mail));
    rows.extend(processes::rows(&mail));
    rows.extend(imap_logins::rows(&mail));
    rows.extend(daemon::rows(&mail));
    // The others are for one process at a time.
    drop(mail);
    rows.extend(first_ticket::rows());
    rows.extend(first_token::rows());
    rows.extend(loading::rows());
    print!("{}{}", table::text(&rows), table::sizes(&sizes));
}
