//! Tests of the options of one issuer and of several.

use super::*;
use crate::config::Config;
use crate::config::tests::{ConfigArgs, faults};

type Options = Vec<(&'static str, &'static str)>;

const KEYCLOAK: [(&str, &str); 3] = [
    ("jwt_keys", "discovery"),
    ("jwt_issuer", "https://sso.univ.fr/realms/univ/"),
    ("jwt_audience", "mail"),
];

fn with(changes: &[(&'static str, &'static str)]) -> Options {
    let mut given = KEYCLOAK.to_vec();
    given.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    given.extend(changes);
    given
}

fn jwt(changes: &[(&'static str, &'static str)]) -> JwtConfig {
    let config = Config::read(&ConfigArgs(with(changes))).unwrap();
    config.jwt.unwrap()
}

#[test]
fn three_options_are_sufficient() {
    let jwt = jwt(&[]);
    let issuer = &jwt.issuers[0];
    let KeysAt::Discovery {
        document,
        issuer: name,
    } = &issuer.keys
    else {
        panic!("{:?}", issuer.keys);
    };
    assert_eq!(
        document.as_str(),
        "https://sso.univ.fr/realms/univ/.well-known/openid-configuration"
    );
    assert_eq!(name, "https://sso.univ.fr/realms/univ/");
    assert_eq!(issuer.types, ["jwt", "at+jwt"]);
    assert_eq!(issuer.user_claim, "sub");
    assert_eq!(issuer.max_age, None);
    assert_eq!(issuer.leeway, Duration::from_secs(30));
    assert!(!issuer.allow_clients);
}

#[test]
fn required_options_have_no_default() {
    assert_eq!(
        faults(&[("jwt_keys", "/keys")]),
        ["jwt_issuer", "jwt_audience"]
    );
    assert!(faults(&with(&[("jwt_audience", "*")])).is_empty());
    let any = [("jwt_issuer", "*"), ("jwt_keys", "/keys")];
    assert!(faults(&with(&any)).is_empty());
}

#[test]
fn faults_name_their_option() {
    for (option, value) in [
        ("jwt_keys", "keys"),
        ("jwt_keys", "http://sso.univ.fr/jwks"),
        ("jwt_keys", "ftp://sso.univ.fr/jwks"),
        ("jwt_keys", "Discovery"),
        ("jwt_issuer", "https://a.fr https://b.fr"),
        ("jwt_audience", "mail *"),
        ("jwt_algorithms", "RS256 none"),
        ("jwt_algorithms", "rs256"),
        ("jwt_algorithms", "HS256 HS512"),
        ("jwt_require", "scope"),
        ("jwt_max_age", "1h"),
        ("jwt_leeway", "301"),
        ("jwt_timeout", "0"),
        ("jwt_keys_refresh", "0"),
        ("jwt_allow_clients", "perhaps"),
        ("jwt_ca_file", "ca.pem"),
    ] {
        let faults = faults(&with(&[(option, value)]));
        assert!(faults.contains(&option.to_owned()), "{option}: {value}");
    }
    // Discovery needs an issuer that is an https URL.
    for issuer in ["*", "univ", "http://sso.univ.fr", "https://sso.univ.fr/?a"] {
        assert_eq!(faults(&with(&[("jwt_issuer", issuer)])), ["jwt_keys"]);
    }
}

#[test]
fn issuers_have_only_options_of_their_own() {
    let two = vec![
        ("jwt_issuers", "univ portal"),
        ("jwt_univ_issuer", "https://sso.univ.fr"),
        ("jwt_univ_keys", "discovery"),
        ("jwt_univ_audience", "mail imap"),
        ("jwt_portal_issuer", "*"),
        ("jwt_portal_keys", "/etc/keys"),
        ("jwt_portal_audience", "*"),
        ("jwt_portal_max_age", "60"),
    ];
    let config = Config::read(&ConfigArgs(two.clone())).unwrap().jwt.unwrap();
    assert_eq!(config.issuers[0].name.as_deref(), Some("univ"));
    assert_eq!(config.issuers[1].max_age, Some(Duration::from_secs(60)));

    let mut given = two.clone();
    given.push(("jwt_keys", "/etc/keys"));
    assert_eq!(faults(&given), ["jwt_keys"]);
    let mut given = two.clone();
    given.retain(|(name, _)| *name != "jwt_portal_keys");
    assert_eq!(faults(&given), ["jwt_portal_keys"]);
    let mut given = two;
    given[4].1 = "https://sso.univ.fr";
    assert_eq!(faults(&given), ["jwt_portal_issuer"]);
    for names in ["univ univ", "Univ", "a_b", "a-b"] {
        let mut given = given.clone();
        given[0].1 = names;
        given[4].1 = "*";
        assert!(
            faults(&given).contains(&"jwt_issuers".to_owned()),
            "{names}"
        );
    }
}

#[test]
fn each_option_changes_the_policy() {
    let usual = jwt(&[]).policy();
    for change in [
        ("jwt_issuer", "https://sso.univ.fr/realms/other"),
        ("jwt_keys", "/etc/keys"),
        ("jwt_audience", "imap"),
        ("jwt_algorithms", "RS256"),
        ("jwt_types", "at+jwt"),
        ("jwt_user_claim", "email"),
        ("jwt_require", "scope=imap"),
        ("jwt_max_age", "60"),
        ("jwt_allow_clients", "yes"),
    ] {
        assert_ne!(usual, jwt(&[change]).policy(), "{change:?}");
    }
    assert_eq!(usual, jwt(&[]).policy());
}

#[test]
fn media_types_are_normalized() {
    assert_eq!(media_type("AT+JWT"), "at+jwt");
    assert_eq!(media_type("application/at+jwt"), "at+jwt");
    assert_eq!(media_type("application/a/b"), "application/a/b");
}
