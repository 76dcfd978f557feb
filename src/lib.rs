//! Single sign-on for Cyrus IMAP, as a plugin of Cyrus SASL.
//!
//! A webmail that its user reached through CAS or OpenID Connect holds no
//! password, only a proxy ticket or an access token. With this plugin it logs in
//! with that, and imapd validates it in its own process: a ticket by the
//! mechanism CASPT, which has the form of PLAIN with the ticket in the place of
//! the password, and a JWT by OAUTHBEARER or XOAUTH2. For clients that can only
//! send a password there is PLAIN with either in its place, and a daemon that
//! answers as saslauthd does.
//!
//! # Layers
//!
//! Arrows point one way, from the bottom of this list to its top:
//!
//! 1. [`credential`], [`principal`], [`clock`], [`deadline`], [`descriptors`], [`log`],
//!    [`outcome`], [`rights`], [`witness`]: the words that all others speak. `wiping`: what is
//!    freed is wiped.
//! 2. [`algorithm`], [`host_names`], [`identity`], [`proxies`], [`rules`], [`service`]: what the
//!    administrator decides, and [`config`]: how it is written. [`wire`]: what
//!    clients send. [`trust`], [`http`], [`session`]: asking a server, and remembering.
//!    [`cas`], [`jwt`]: what a ticket and a token are worth.
//! 3. [`authenticate`]: the one path of a login; [`decision`]: its line in the
//!    log.
//! 4. `plugin`: the border to libsasl2. Unsafe code is here and in three other places:
//!    where memory maps are opened and processes wait for one another in them
//!    (`session::host::place`, `session::mapped`, `session::sync_file`), where
//!    LMDB's file is closed to programs that the host starts (`session::store_file`), and
//!    in the allocator, `wiping`. [`daemon`]: saslauthd's protocol on a socket.
//!    [`cli`]: the program, which starts it, and the administrator's tools.
//!    [`stamp`]: which build each of them is of.
//!
//! What fuzzers call is in `fuzzing`, which is built for them and for tests alone.
//!
//! Nothing below names `plugin`; without the feature of that name the rest
//! builds without libsasl2's headers.
//!
//! # Threat model
//!
//! Clients are hostile: whatever they send is bounded and judged before it is
//! used, and they are told no more than that a new credential would be needed, and
//! where to get one. What is meant to be a credential is never handed on to be tried
//! as a password. The CAS server is trusted to say who a ticket belongs to, and only
//! over TLS that verifies; what it sends is parsed as hostile all the same, because
//! other people's data is in it. An issuer is trusted to say who a token speaks for, as
//! long as one of its own keys signed it; a token says nothing about which key
//! or algorithm that may be. Portals are trusted by name (`caspt_proxies`). Other
//! users of the host are hostile: the state directory is ours alone, and whoever may
//! connect to the daemon's socket can try passwords and take up its time, and no more.
//! A process of the mail system that is taken over is not defended against; but what it
//! could read in the state directory are keyed digests, and no credential. The
//! administrator's tools show no credential either, and give up root before they look
//! into what is another user's. How each of this is shown is in `SECURITY.md`.

pub mod algorithm;
pub mod authenticate;
pub mod cas;
pub mod cli;
pub mod clock;
pub mod config;
pub mod credential;
pub mod daemon;
pub mod deadline;
pub mod decision;
pub mod descriptors;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
pub mod host_names;
pub mod http;
pub mod identity;
pub mod jwt;
pub mod log;
pub mod outcome;
#[cfg(feature = "plugin")]
mod plugin;
pub mod principal;
pub mod proxies;
pub mod rights;
pub mod rules;
pub mod service;
pub mod session;
pub mod stamp;
pub mod trust;
mod wiping;
pub mod wire;
pub mod witness;
