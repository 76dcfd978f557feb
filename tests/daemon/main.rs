//! The daemon `sasl-sso serve`: clients that can only send a password, robustness, systemd.

mod many_passwords;
mod password_clients;
mod passwords;
mod php_webmails;
mod robustness;
mod sandbox;
mod systemd_units;
