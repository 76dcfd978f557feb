//! Tests of README.md, `docs/` and SECURITY.md: every configuration loads, every command runs,
//! every link resolves, and every test that they name exists.

// clippy recognizes only #[test] functions as tests.
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
