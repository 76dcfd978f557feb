//! The documentation, the examples and the demonstration, executed.

mod demo;
mod pages;
mod password_examples;
mod token_examples;
