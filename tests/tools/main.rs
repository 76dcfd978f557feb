//! The commands `check`, `explain` and `login`, the manual pages, and the installation.

mod check;
mod check_agrees_with_host;
mod check_online;
mod explain;
mod explain_agrees_with_plugin;
mod installation;
mod login;
mod login_env;
mod login_to_hostile_servers;
mod manual_pages;
