//! The Debian packages: their contents, and their life cycle in a Debian system.

mod contents;
mod lifecycle;
