//! The terminal: coloured output, and input without echo.

pub(crate) mod console;
pub(crate) mod prompt;
