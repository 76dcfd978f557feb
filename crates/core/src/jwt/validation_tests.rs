//! Tests of each requirement, with claims that meet it and claims that do not.

use super::*;
use crate::config::KeysAt;
use crate::policy::attribute_rules::Rules;
use crate::policy::jws_algorithm::Algorithm;
use crate::trace::CheckObserver;
use serde_json::{Value, json};
use std::time::Duration;

/// The current time in seconds, in 2026.
const NOW: u64 = 1_790_000_000;

fn policy() -> IssuerConfig {
    IssuerConfig {
        name: None,
        issuer: Expected::Any,
        keys: KeysAt::Path("/keys".into()),
        audience: Expected::OneOf(vec!["mail".to_owned(), "imap".to_owned()]),
        algorithms: None,
        types: vec!["jwt".to_owned(), "at+jwt".to_owned()],
        user_claim: "sub".to_owned(),
        require: Rules::default(),
        allow_clients: false,
        max_age: None,
        leeway: Duration::from_secs(30),
        ca_file: None,
        timeout: Duration::from_secs(5),
        keys_refresh: Duration::from_secs(300),
        keys_keep: Duration::from_secs(300),
    }
}

fn good() -> Value {
    json!({"aud": "mail", "sub": "alice", "iat": NOW - 10, "exp": NOW + 600})
}

/// The valid claims with changes; null removes a claim.
fn with(changes: Value) -> Claims<'static> {
    let mut claims = good().as_object().unwrap().clone();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.remove(name),
            value => claims.insert(name.clone(), value.clone()),
        };
    }
    let text = Value::Object(claims).to_string().leak();
    Claims::new(crate::jwt::json::object(text.as_bytes()).unwrap())
}

fn validated(policy: &IssuerConfig, changes: Value) -> Result<(String, u64), Reason> {
    validate_claims(
        policy,
        &with(changes),
        WallTime::from_millis(NOW * 1_000),
        Checks::new(CheckObserver::NONE),
    )
    .map(|(user, end)| (user.as_str().to_owned(), end.as_millis() / 1_000))
    .map_err(|failure| failure.reason())
}

fn rejected(changes: Value) -> Reason {
    validated(&policy(), changes.clone()).expect_err(&changes.to_string())
}

#[test]
fn valid_token_yields_its_subject_and_expiry() {
    assert_eq!(
        validated(&policy(), json!({})),
        Ok(("alice".to_owned(), NOW + 600))
    );
}

#[test]
fn token_for_another_audience_is_refused() {
    for aud in [json!("imap"), json!(["x", "mail"])] {
        assert!(validated(&policy(), json!({"aud": aud})).is_ok());
    }
    for aud in [
        json!("Mail"),
        json!("mail imap"),
        json!([]),
        json!({"mail": 1}),
        Value::Null,
    ] {
        assert_eq!(rejected(json!({"aud": aud})), Reason::AudienceNotAllowed);
    }
    let any = IssuerConfig {
        audience: Expected::Any,
        ..policy()
    };
    assert!(validated(&any, json!({"aud": null})).is_ok());
}

#[test]
fn times_are_checked_with_the_leeway() {
    assert!(validated(&policy(), json!({"exp": NOW - 29})).is_ok());
    assert_eq!(rejected(json!({"exp": NOW - 30})), Reason::TokenExpired);
    assert!(validated(&policy(), json!({"nbf": NOW + 30})).is_ok());
    assert_eq!(rejected(json!({"nbf": NOW + 31})), Reason::TokenNotYetValid);
    assert!(validated(&policy(), json!({"iat": NOW + 30})).is_ok());
    assert_eq!(
        rejected(json!({"iat": NOW + 31})),
        Reason::TokenFromTheFuture
    );
    let decimal = json!({"iat": NOW as f64 - 0.5, "exp": NOW as f64 + 1.5});
    assert_eq!(validated(&policy(), decimal).unwrap().1, NOW + 1);
}

#[test]
fn token_without_expiry_is_refused() {
    assert_eq!(rejected(json!({"exp": null})), Reason::ClaimMissing);
    assert_eq!(rejected(json!({"iat": null})), Reason::ClaimMissing);
    let aged = IssuerConfig {
        max_age: Some(Duration::from_secs(100)),
        ..policy()
    };
    let end = |changes| validated(&aged, changes).map(|(_, end)| end);
    assert_eq!(end(json!({"exp": null})), Ok(NOW + 90));
    assert_eq!(end(json!({"exp": NOW + 5})), Ok(NOW + 5));
    assert_eq!(end(json!({"iat": NOW - 129})), Ok(NOW - 29));
    assert_eq!(end(json!({"iat": NOW - 130})), Err(Reason::TokenTooOld));
    assert_eq!(end(json!({"exp": NOW - 30})), Err(Reason::TokenExpired));
    assert_eq!(end(json!({"iat": null})), Err(Reason::ClaimMissing));
}

#[test]
fn times_that_nobody_can_mean_are_malformed() {
    for name in ["exp", "nbf", "iat"] {
        for value in [json!("1790000000"), json!(-1), json!(1e300), json!([NOW])] {
            assert_eq!(rejected(json!({ name: value })), Reason::ClaimsMalformed);
        }
    }
}

#[test]
fn id_tokens_open_nothing() {
    for name in ["nonce", "at_hash", "c_hash", "s_hash", "auth_time"] {
        assert_eq!(rejected(json!({ name: "x" })), Reason::IdToken, "{name}");
    }
    for name in ["acr", "amr"] {
        assert_eq!(rejected(json!({ name: "x" })), Reason::IdToken, "{name}");
    }
    assert_eq!(rejected(json!({"typ": "ID"})), Reason::IdToken);
    let hybrid = json!({"scope": "openid", "nonce": "x"});
    assert_eq!(rejected(hybrid), Reason::IdToken);
    // An empty claim grants nothing.
    for nothing in [json!(""), json!([]), json!({})] {
        let changes = json!({"acr": "1", "scope": nothing});
        assert_eq!(rejected(changes), Reason::IdToken);
    }
    // An access token of Keycloak.
    let bearer = json!({"typ": "Bearer", "auth_time": NOW, "scope": "openid email"});
    assert!(validated(&policy(), bearer).is_ok());
    assert!(validated(&policy(), json!({"auth_time": NOW, "scp": "imap"})).is_ok());
    // An access token of Keycloak up to 24.
    let with_nonce = json!({"typ": "Bearer", "nonce": "x", "scope": "openid"});
    assert!(validated(&policy(), with_nonce).is_ok());
    let forged = json!({"typ": "Bearer", "nonce": "x", "scope": "openid", "at_hash": "x"});
    assert_eq!(rejected(forged), Reason::IdToken);
}

#[test]
fn other_tokens_by_the_same_key_open_nothing() {
    let logout = json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}});
    assert_eq!(rejected(logout), Reason::TypeNotAllowed);
    for typ in ["Logout", "Refresh", "Offline", "DPoP"] {
        assert_eq!(rejected(json!({"typ": typ})), Reason::TypeNotAllowed);
    }
    assert_eq!(rejected(json!({"typ": ["ID"]})), Reason::TypeNotAllowed);
    assert!(validated(&policy(), json!({"typ": "JWT"})).is_ok());
    assert_eq!(rejected(json!({"cnf": {"jkt": "x"}})), Reason::TokenBound);
}

#[test]
fn token_of_a_client_is_refused() {
    for changes in [
        json!({"sub": "app", "client_id": "app"}),
        json!({"sub": "app", "azp": "app"}),
        json!({"idtyp": "app"}),
        json!({"gty": "client-credentials"}),
    ] {
        assert_eq!(rejected(changes), Reason::ClientToken);
    }
    assert!(validated(&policy(), json!({"client_id": "webmail", "azp": "webmail"})).is_ok());
    let by_name = IssuerConfig {
        user_claim: "name".to_owned(),
        ..policy()
    };
    assert_eq!(
        validated(&by_name, json!({"name": "app", "client_id": "app"})),
        Err(Reason::ClientToken)
    );
    // A service account of Keycloak, whichever claim contains the user name.
    let account =
        json!({"name": "boss", "preferred_username": "service-account-app", "azp": "App"});
    assert_eq!(validated(&by_name, account), Err(Reason::ClientToken));
    let allowed = IssuerConfig {
        allow_clients: true,
        ..policy()
    };
    assert!(validated(&allowed, json!({"sub": "app", "client_id": "app"})).is_ok());
}

#[test]
fn user_claim_must_be_a_usable_string() {
    for sub in [json!(7), json!(["alice"]), json!({}), json!(true)] {
        assert_eq!(rejected(json!({"sub": sub})), Reason::UserClaimUnusable);
    }
    assert_eq!(rejected(json!({"sub": null})), Reason::UserClaimUnusable);
    for sub in ["", "a\0b", "a b", "a\nb"] {
        assert_eq!(rejected(json!({"sub": sub})), Reason::UserUnusable);
    }
    let nested = IssuerConfig {
        user_claim: "mail.login".to_owned(),
        ..policy()
    };
    let user = validated(&nested, json!({"mail": {"login": "bob"}}));
    assert_eq!(user.unwrap().0, "bob");
}

#[test]
fn unverified_address_is_refused() {
    let by_email = IssuerConfig {
        user_claim: "email".to_owned(),
        ..policy()
    };
    let validated = |changes| validated(&by_email, changes).map(|(user, _)| user);
    let email = "alice@univ.fr";
    let verified = json!({"email": email, "email_verified": true});
    assert_eq!(validated(verified), Ok(email.to_owned()));
    assert_eq!(
        validated(json!({"email": email})),
        Err(Reason::UserClaimUnusable)
    );
    for verified in [json!(false), json!("no"), json!(0)] {
        assert_eq!(
            validated(json!({"email": email, "email_verified": verified})),
            Err(Reason::UserClaimUnusable)
        );
    }
}

#[test]
fn unverified_address_is_refused_in_any_claim() {
    let by = |claim: &str, changes: Value| {
        let by_claim = IssuerConfig {
            user_claim: claim.to_owned(),
            ..policy()
        };
        validated(&by_claim, changes).map(|(user, _)| user)
    };
    let email = "alice@univ.fr";
    let taken = Ok(email.to_owned());
    let refused = Err(Reason::UserClaimUnusable);
    for claim in [
        "email",
        "Email",
        "EMAIL",
        "e-mail",
        "e_mail",
        "emails",
        "emailAddress",
        "email_address",
        "userEmail",
        "https://univ.fr/email",
        "https://univ.fr/claims#email",
        "urn:univ:email",
        "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
    ] {
        let last = claim.rfind(['/', ':', '#']).map_or(0, |at| at + 1);
        let verified = format!("{}email_verified", &claim[..last]);
        assert_eq!(by(claim, json!({ claim: email })), refused, "{claim}");
        for no in [json!(false), json!("no"), json!(null), json!([true])] {
            let changes = json!({ claim: email, &verified: no });
            assert_eq!(by(claim, changes), refused, "{claim}");
        }
        for yes in [json!(true), json!("true")] {
            let changes = json!({ claim: email, &verified: yes });
            assert_eq!(by(claim, changes), taken, "{claim}");
        }
        // The claim repeats the verified address, or differs from it.
        for (verified, expected) in [(email, &taken), ("mallory@univ.fr", &refused)] {
            if claim != "email" && last > 0 {
                let changes = json!({ claim: email, "email": verified, "email_verified": true });
                assert_eq!(&by(claim, changes), expected, "{claim}");
            }
        }
    }
    // Only `email_verified` beside the claim matters.
    for (claim, changes, expected) in [
        (
            "profile.email",
            json!({"profile": {"email": email}}),
            &refused,
        ),
        (
            "profile.email",
            json!({"profile": {"email": email, "email_verified": true}}),
            &taken,
        ),
        (
            "profile.email",
            json!({"profile": {"email": email}, "email_verified": true}),
            &refused,
        ),
        (
            "profile.email",
            json!({"profile.email": email, "profile": {"email_verified": true}}),
            &refused,
        ),
        (
            "a.b.Email",
            json!({"a": {"b": {"Email": email, "email_verified": false}}}),
            &refused,
        ),
        (
            "login",
            json!({"login": email, "email_verified": false}),
            &taken,
        ),
        ("email.login", json!({"email": {"login": email}}), &taken),
        ("mailbox", json!({"mailbox": email}), &taken),
    ] {
        assert_eq!(&by(claim, changes.clone()), expected, "{claim} {changes}");
    }
}

#[test]
fn missing_scope_has_its_own_reason() {
    let with_rules = |text: &str| IssuerConfig {
        require: Rules::parse(text).0,
        ..policy()
    };
    let rules = with_rules("scope=imap realm_access.roles=staff|student");
    let claims =
        |scope: &str, role: &str| json!({"scope": scope, "realm_access": {"roles": [role]}});
    assert!(validated(&rules, claims("openid imap", "student")).is_ok());
    assert_eq!(
        validated(&rules, claims("openid imaps", "student")),
        Err(Reason::ScopeMissing)
    );
    assert_eq!(
        validated(&rules, claims("imap", "guest")),
        Err(Reason::RuleNotMet)
    );
    let group = with_rules("groups=mail");
    let groups = json!({"groups": ["no mail please"]});
    assert_eq!(validated(&group, groups), Err(Reason::RuleNotMet));
    assert!(validated(&group, json!({"groups": ["x y", "mail"]})).is_ok());
    let entra = with_rules("scp=IMAP.Access");
    assert_eq!(validated(&entra, json!({})), Err(Reason::ScopeMissing));
}

#[test]
fn header_type_and_algorithm_are_checked() {
    let header = |algorithm, typ: Option<&str>| Header {
        algorithm,
        kid: None,
        typ: typ.map(str::to_owned),
        foreign_key: None,
    };
    let validated = |policy: &IssuerConfig, typ| {
        let header = header(Algorithm::Rs256, typ);
        let mut checks = Checks::new(CheckObserver::NONE);
        let result = checks
            .run(check_type(policy, &header))
            .and_then(|_| checks.run(check_algorithm(policy, &header)));
        result.map(drop).map_err(|failure| failure.reason())
    };
    for typ in [
        None,
        Some("JWT"),
        Some("jwt"),
        Some("at+jwt"),
        Some("application/at+JWT"),
    ] {
        assert_eq!(validated(&policy(), typ), Ok(()), "{typ:?}");
    }
    for typ in [Some("JOSE"), Some("logout+jwt"), Some(""), Some("dpop+jwt")] {
        assert_eq!(validated(&policy(), typ), Err(Reason::TypeNotAllowed));
    }
    let narrow = IssuerConfig {
        algorithms: Some(vec![Algorithm::Es256]),
        types: vec!["at+jwt".to_owned()],
        ..policy()
    };
    assert_eq!(
        validated(&narrow, Some("at+jwt")),
        Err(Reason::AlgorithmNotAllowed)
    );
    assert_eq!(validated(&narrow, None), Err(Reason::TypeNotAllowed));
}
