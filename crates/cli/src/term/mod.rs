//! The terminal: output in colours, and the input of passwords.

pub(crate) mod console;
pub(crate) mod prompt;
