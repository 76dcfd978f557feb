//! Single sign-on for Cyrus IMAP, as a plugin of Cyrus SASL.
//!
//! A webmail that its user reached through CAS holds no password, only a proxy
//! ticket. With this plugin it logs in with that: the mechanism CASPT has the
//! form of PLAIN with the ticket in the place of the password, and imapd
//! validates it in its own process.
//!
//! # Layers
//!
//! Arrows point one way, from the bottom of this list to its top:
//!
//! 1. [`credential`], [`principal`], [`clock`], [`deadline`], [`log`],
//!    [`outcome`]: the words that all others speak.
//! 2. [`identity`], [`proxies`], [`rules`], [`service`]: what the administrator
//!    decides, and [`config`]: how it is written. [`wire`]: what clients send.
//!    [`http`], [`cas`]: asking the SSO server. [`session`]: remembering the
//!    answer.
//! 3. [`authenticate`]: the one path of a login; [`decision`]: its line in the
//!    log.
//! 4. `plugin`: the border to libsasl2, the only place of unsafe code but for
//!    the opening of a memory map in `session`; and [`cli`], the program.
//!
//! Nothing below names `plugin`; without the feature of that name the rest
//! builds without libsasl2's headers.
//!
//! # Threat model
//!
//! Clients are hostile: whatever they send is bounded and judged before it is
//! used, and they are told no more than that a new ticket would be needed. The
//! CAS server is trusted to say who a ticket belongs to, and only over TLS that
//! verifies; what it sends is parsed as hostile all the same, because other
//! people's data is in it. Portals are trusted by name (`caspt_proxies`). Other
//! users of the host are hostile: the state directory is ours alone. A process
//! of the mail system that is taken over is not defended against; but what it
//! could read in the state directory are keyed digests, and no ticket.

pub mod authenticate;
pub mod cas;
pub mod cli;
pub mod clock;
pub mod config;
pub mod credential;
pub mod deadline;
pub mod decision;
pub mod http;
pub mod identity;
pub mod log;
pub mod outcome;
#[cfg(feature = "plugin")]
mod plugin;
pub mod principal;
pub mod proxies;
pub mod rules;
pub mod service;
pub mod session;
pub mod wire;
