//! Tests of README.md, `docs/` and SECURITY.md: every configuration loads, every command runs,
//! every link resolves, and every test that they name exists.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

mod commands;
mod configurations;
mod log;
mod proof;
mod threats;
mod words;
