//! What the administrator allows: users, attributes, portals, services and algorithms.

pub mod attribute_rules;
pub mod cas_proxies;
pub mod cas_service;
pub mod host_names;
pub mod jws_algorithm;
pub mod user_mapping;
