//! The examples for tokens in `cyrus-conf-examples/`, used with only the host names and paths
//! changed: each accepts access tokens as its issuer writes them, and rejects other tokens of that
//! issuer.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

use serde_json::{Value, json};
use test_support::authority::Authority;
use test_support::examples;
use test_support::faulty_cas::FaultyCas;
use test_support::key_server::KeyServer;
use test_support::libsasl2::token_site::named;
use test_support::libsasl2::{Answer, Driver, Kit, code};
use test_support::mint::{SigningKey, now};
use test_support::scratch::Scratch;

/// The callback of the webmail in the CAS example.
const PROXY: &str = "https://webmail.univ.example/callback";

struct Site {
    issuer: KeyServer,
    cas: FaultyCas,
    /// The issuer's key.
    rsa: SigningKey,
    /// The application's key, and the portal's.
    application_key: SigningKey,
    ca: String,
    kit: Kit,
    scratch: Scratch,
}

impl Site {
    fn new(name: &str) -> Self {
        let scratch = Scratch::new(name);
        let authority = Authority::new();
        let issuer = KeyServer::start(&authority);
        let rsa = SigningKey::rsa();
        issuer.set_keys(&[named(&rsa, "r1")]);
        let application_key = SigningKey::p256();
        scratch.create_dir("jwt-keys");
        scratch.write("jwt-keys/application.pem", application_key.pem());
        scratch.write("portal.pem", application_key.pem());
        Self {
            ca: authority.write_ca(&scratch).display().to_string(),
            cas: FaultyCas::start(&authority),
            kit: Kit::new(&scratch),
            issuer,
            rsa,
            application_key,
            scratch,
        }
    }

    /// A driver configured by an example in which the issuer is called `iss`.
    fn driver(&self, example: &str, iss: &str) -> Driver {
        let local_issuer = self.issuer_for(iss);
        let mut document = self.issuer.discovery();
        document["issuer"] = json!(local_issuer);
        self.issuer.set_discovery(document);
        let keycloaks = "https://sso.univ.example/realms/univ/protocol/openid-connect/certs";
        let mut options: Vec<(String, String)> = examples::lines(example)
            .into_iter()
            .filter_map(|(key, value)| Some((key.strip_prefix("sasl_")?.to_owned(), value)))
            .filter(|(key, _)| key != "mech_list" && key != "sso_state_dir")
            .map(|(key, value)| {
                let value = value
                    .replace(keycloaks, &self.issuer.jwks_uri())
                    .replace(iss, &local_issuer)
                    .replace("https://cas.univ.example/cas", &self.cas.url())
                    .replace("/etc/cyrus", &self.scratch.join("").display().to_string());
                (key, value)
            })
            .collect();
        let state = self.scratch.join("state").display().to_string();
        options.push(("sso_state_dir".to_owned(), state));
        for name in ["jwt_ca_file", "jwt_univ_ca_file", "caspt_ca_file"] {
            let is_used =
                name != "jwt_ca_file" || options.iter().all(|(key, _)| key != "jwt_issuers");
            if is_used {
                options.push((name.to_owned(), self.ca.clone()));
            }
        }
        let options: Vec<(&str, &str)> = options
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        self.kit.driver(&self.scratch, &options)
    }

    /// The URL in the test that replaces the issuer of an example.
    fn issuer_for(&self, iss: &str) -> String {
        let path = iss.splitn(4, '/').nth(3).map(|path| format!("/{path}"));
        format!("{}{}", self.issuer.issuer(), path.unwrap_or_default())
    }

    /// A token signed by the issuer.
    fn token(&self, typ: &str, claims: &Value) -> String {
        let header = json!({"alg": "RS256", "typ": typ, "kid": "r1"});
        self.rsa.token(&header.to_string(), &claims.to_string())
    }

    /// A token signed by the application's or portal's key.
    fn own_token(&self, claims: &Value) -> String {
        let header = r#"{"alg":"ES256","typ":"JWT"}"#;
        self.application_key.token(header, &claims.to_string())
    }
}

#[track_caller]
fn assert_accepted(answer: &Answer, user: &str) {
    assert_eq!(answer.code(), code::OK, "{answer:?}");
    assert_eq!(answer.authid(), user, "{answer:?}");
}

fn with(claims: &Value, changes: Value) -> Value {
    let mut claims = claims.clone();
    for (name, value) in changes.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    claims
}

/// The claims of an access token of Keycloak.
fn keycloaks(iss: &str) -> Value {
    json!({
        "exp": now() + 300, "iat": now(), "auth_time": now() - 60,
        "jti": "onrtac:2a6d1a2e", "iss": iss, "aud": ["imap.univ.example", "account"],
        "sub": "7a0c1b9a-6f0e-4a44-9b6e-0d3c0f6c2d11", "typ": "Bearer", "azp": "webmail",
        "sid": "5b1c", "acr": "1", "allowed-origins": ["https://webmail.univ.example"],
        "realm_access": {"roles": ["offline_access", "mail", "default-roles-univ"]},
        "resource_access": {"account": {"roles": ["view-profile"]}},
        "scope": "openid email profile imap", "email_verified": true,
        "preferred_username": "alice", "email": "alice@univ.example",
    })
}

const KEYCLOAK: &str = "https://sso.univ.example/realms/univ";

#[test]
fn keycloak_example_accepts_access_tokens_and_rejects_id_tokens() {
    let site = Site::new("keycloak");
    let mut driver = site.driver("keycloak.conf", KEYCLOAK);
    let good = keycloaks(&site.issuer_for(KEYCLOAK));
    assert_accepted(&driver.token(&site.token("JWT", &good)), "alice");
    let mut reason = |claims: &Value| driver.token(&site.token("JWT", claims)).reason();
    let mut id_token = with(&good, json!({"typ": "ID", "at_hash": "x", "nonce": "y"}));
    assert_eq!(reason(&id_token), "id_token");
    id_token["aud"] = json!("webmail");
    assert_eq!(reason(&id_token), "audience_not_allowed");
    let guest = with(&good, json!({"realm_access": {"roles": ["guest"]}}));
    assert_eq!(reason(&guest), "rule_not_met");
    let narrow = with(&good, json!({"scope": "openid email"}));
    assert_eq!(reason(&narrow), "scope_missing");
}

#[test]
fn lemonldap_example_accepts_access_tokens_of_an_issuer_that_ends_with_a_slash() {
    const LEMONLDAP: &str = "https://auth.univ.example/";
    let site = Site::new("lemonldap");
    let mut driver = site.driver("lemonldap-ng.conf", LEMONLDAP);
    let good = json!({
        "iss": site.issuer_for(LEMONLDAP), "exp": now() + 3600, "iat": now(),
        "aud": ["webmail", "imap.univ.example"], "client_id": "webmail", "jti": "5b1c",
        "scope": "openid profile email imap", "sub": "alice", "sid": "abcd",
    });
    assert_accepted(&driver.token(&site.token("at+JWT", &good)), "alice");
    // A token that is not marked as an access token might be an ID token.
    let answer = driver.token(&site.token("JWT", &good));
    assert_eq!(answer.reason(), "type_not_allowed");
}

#[test]
fn entra_example_accepts_version_2_tokens_of_people_only() {
    const ENTRA: &str =
        "https://login.microsoftonline.com/00000000-0000-0000-0000-000000000000/v2.0";
    let site = Site::new("entra");
    let mut driver = site.driver("entra-id.conf", ENTRA);
    let good = json!({
        "aud": "11111111-1111-1111-1111-111111111111", "iss": site.issuer_for(ENTRA),
        "iat": now(), "nbf": now(), "exp": now() + 4000, "aio": "AVQAq/8T", "azp": "2222",
        "azpacr": "1", "name": "Alice", "oid": "3333", "preferred_username": "alice@univ.example",
        "rh": "0.AS", "scp": "IMAP.Access", "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ",
        "tid": "00000000-0000-0000-0000-000000000000", "uti": "fqiBqXLPj0eQa82S", "ver": "2.0",
    });
    assert_accepted(&driver.token(&site.token("JWT", &good)), "alice");
    let mut app = with(
        &good,
        json!({"idtyp": "app", "roles": ["IMAP.AccessAsApp"]}),
    );
    app.as_object_mut().expect("an object").remove("scp");
    assert_eq!(
        driver.token(&site.token("JWT", &app)).reason(),
        "client_token"
    );
}

#[test]
fn application_key_example_accepts_tokens_that_the_application_signs() {
    let site = Site::new("application");
    let mut driver = site.driver("application-key.conf", "https://none.example");
    let all = json!({"sub": "alice", "iat": now(), "exp": now() + 60, "role": "mail"});
    assert_accepted(&driver.token(&site.own_token(&all)), "alice");
    let bare = json!({"sub": "alice", "iat": now()});
    assert_accepted(&driver.token(&site.own_token(&bare)), "alice");
    let old = json!({"sub": "alice", "iat": now() - 3_700});
    assert_eq!(
        driver.token(&site.own_token(&old)).reason(),
        "token_too_old"
    );
}

#[test]
fn two_issuers_example_checks_each_token_by_the_rules_of_its_issuer() {
    let site = Site::new("two");
    let mut driver = site.driver("two-issuers.conf", KEYCLOAK);
    let univ = keycloaks(&site.issuer_for(KEYCLOAK));
    assert_accepted(&driver.token(&site.token("JWT", &univ)), "alice");
    let portal = json!({
        "iss": "https://portal.univ.example", "aud": "imap.univ.example",
        "sub": "bob", "iat": now(),
    });
    assert_accepted(&driver.token(&site.own_token(&portal)), "bob");
    // Neither issuer's key is accepted for the other one.
    let forged = driver.token(&site.own_token(&univ));
    assert_eq!(forged.code(), code::BADAUTH, "{forged:?}");
    let forged = driver.token(&site.token("JWT", &portal));
    assert_eq!(forged.code(), code::BADAUTH, "{forged:?}");
}

#[test]
fn cas_and_jwt_example_accepts_both_for_the_same_mailboxes() {
    let site = Site::new("both");
    let mut driver = site.driver("cas-and-jwt.conf", KEYCLOAK);
    let token = keycloaks(&site.issuer_for(KEYCLOAK));
    let token = with(&token, json!({"preferred_username": "alice@univ.example"}));
    assert_accepted(&driver.token(&site.token("JWT", &token)), "alice");
    site.cas.arm("PT-1-alice", "alice", &[PROXY]);
    assert_accepted(&driver.ticket("PT-1-alice"), "alice");
    assert_accepted(&driver.ticket("PT-1-alice"), "alice");
    assert_eq!(site.cas.requests().len(), 1);
}
