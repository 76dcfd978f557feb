//! Tickets: outages of CAS, the rate limit, and that each ticket is validated once.

mod outages;
mod single_validation;
