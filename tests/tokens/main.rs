//! Tokens: the keys of issuers, a real OpenID provider, and Cyrus' own httpd.

mod httpd;
mod issuer_keys;
mod openid_provider;
