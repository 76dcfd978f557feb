//! README.md, `docs/` and SECURITY.md say what is so: every configuration in them is loaded, every
//! command run, every link followed, every test found.

// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]

mod documents;
mod harness;
mod libsasl2;

#[path = "docs_are_true/commands.rs"]
mod commands;
#[path = "docs_are_true/configurations.rs"]
mod configurations;
#[path = "docs_are_true/log.rs"]
mod log;
#[path = "docs_are_true/proof.rs"]
mod proof;
#[path = "docs_are_true/threats.rs"]
mod threats;
#[path = "docs_are_true/words.rs"]
mod words;
