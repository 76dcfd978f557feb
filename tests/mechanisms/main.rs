//! The SASL mechanisms: the built plugin in the real libsasl2, imapd and smtpd, with real clients.

mod auxprop_outage;
mod imapd;
mod mail_clients;
mod many_logins;
mod plain;
mod plain_beside_libplain;
mod plugin;
mod postfix;
mod timing;
mod token_attacks;
mod tokens;
mod zeroizing;
