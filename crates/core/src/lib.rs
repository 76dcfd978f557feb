//! The decisions of sasl-sso: whether a CAS ticket or an access token is valid, for whom, and
//! whether a cached session already answers that.
//!
//! The plugin (package `libsso`) and the program (package `sasl-sso`) are two front ends of this
//! crate. It depends on no header of libsasl2, and none of its modules knows who calls it.
//!
//! # Layers
//!
//! A module may use the modules of its own layer and of the layers above it in this list:
//!
//! 1. [`platform`]: clocks, deadlines, the log, permissions, the allocator. [`credential`],
//!    [`principal`], [`error`], [`trace`]: the types that all other modules share.
//! 2. [`policy`]: what the administrator allows, and [`config`]: the options that say so.
//!    [`protocol`]: the messages of SASL mechanisms and of saslauthd.
//! 3. [`net`]: requests to SSO servers. [`state_dir`]: the files that processes share.
//!    [`metrics`]: their counters. [`session_cache`]: sessions, rate limits, circuit breakers.
//! 4. [`cas`] validates tickets, [`jwt`] validates tokens.
//! 5. [`auth`]: the one path of a login through all of them, and its line in the log.
//!
//! `fuzz_support` is built for fuzz targets and tests only.
//!
//! # Unsafe code
//!
//! This crate has unsafe code in five files, each for one reason: LMDB and shared memory are
//! memory maps (`session_cache/lmdb/environment.rs`, `state_dir/shared_memory.rs`), processes
//! wait for each other in such a map (`state_dir/sync_file.rs`), LMDB's descriptor must close
//! on exec (`state_dir/boot_file.rs`), and the allocator overwrites memory that is freed
//! (`platform/zeroizing_alloc.rs`). All other files forbid it.
//!
//! # Threat model
//!
//! - Clients are hostile. Their input is bounded and validated before it is used. They learn that
//!   a new credential is needed and where to get one, and nothing else. Input that looks like a
//!   credential is never passed on as a password.
//! - The CAS server is trusted to say whose a ticket is, over verified TLS only. Its replies
//!   contain data of other people and are parsed as hostile input.
//! - An issuer is trusted to say whose a token is if one of its own keys signed the token. A token
//!   has no say in which key or algorithm verifies it.
//! - Portals are trusted by name (`caspt_proxies`).
//! - Other users of the host are hostile. The state directory belongs to the mail system alone. A
//!   user who may connect to the daemon's socket can try passwords and occupy the daemon, and
//!   can do nothing else.
//! - A compromised process of the mail system is out of scope. The state directory shows it keyed
//!   digests and no credentials.
//! - The administrator's tools show no credential, and give up root before they read files that
//!   belong to another user.
//!
//! `SECURITY.md` names the test that shows each of these.

pub mod auth;
pub mod cas;
pub mod config;
pub mod credential;
pub mod error;
#[cfg(any(fuzzing, test, feature = "test-support"))]
pub mod fuzz_support;
pub mod jwt;
pub mod metrics;
pub mod net;
pub mod platform;
pub mod policy;
pub mod principal;
pub mod protocol;
pub mod session_cache;
pub mod state_dir;
pub mod trace;
