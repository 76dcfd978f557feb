//! The rows of the table: a configuration, the diagnostic it must yield, and a similar
//! configuration without diagnostics. HERE stands for the directory of the referenced files.

const CAS: &str = "sasl_caspt_url: https://cas.univ.example/cas\n";
const PROXIES: &str = "sasl_caspt_proxies: https://webmail.univ.example/*\n";
const JWT: &str = "sasl_jwt_issuer: https://sso.univ.example\nsasl_jwt_keys: discovery\n";
const AUDIENCE: &str = "sasl_jwt_audience: imap.univ.example\n";

/// A configuration, the diagnostic it must yield, and a similar configuration without diagnostics.
pub struct Row {
    pub severity: &'static str,
    pub option: &'static str,
    pub words: &'static str,
    pub conf: String,
    pub right: String,
}

fn row(
    [severity, option, words]: [&'static str; 3],
    conf: impl Into<String>,
    right: impl Into<String>,
) -> Row {
    Row {
        severity,
        option,
        words,
        conf: conf.into(),
        right: right.into(),
    }
}

/// A CAS configuration with these additional lines.
pub fn cas(lines: &str) -> String {
    format!("{CAS}{PROXIES}{lines}")
}

/// A configuration with one issuer and these additional lines.
fn jwt(lines: &str) -> String {
    format!("{JWT}{AUDIENCE}{lines}")
}

/// A CAS configuration with this server URL.
fn cas_at(url: &str) -> String {
    format!("sasl_caspt_url: {url}\n{PROXIES}")
}

/// A configuration of one issuer with these values.
fn issuer(issuer: &str, keys: &str, audience: &str) -> String {
    format!("sasl_jwt_issuer: {issuer}\nsasl_jwt_keys: {keys}\nsasl_jwt_audience: {audience}\n")
}

fn tokens() -> Vec<Row> {
    let published = "https://sso.univ.example/jwks";
    let sso = "https://sso.univ.example";
    let any_issuer = ["warning", "sasl_jwt_issuer", "tokens of every issuer"];
    let any_audience = ["warning", "sasl_jwt_audience", "any application"];
    let without_tls = ["warning", "sasl_jwt_keys", "take port 8080"];
    let email = ["warning", "sasl_jwt_user_claim", "opens another's mailbox"];
    let several = |audience: &str| {
        format!(
            "sasl_jwt_issuers: a b\nsasl_jwt_a_issuer: {sso}\nsasl_jwt_a_keys: discovery\n\
             sasl_jwt_a_audience: x\nsasl_jwt_b_issuer: https://b.example\n\
             sasl_jwt_b_keys: {published}\nsasl_jwt_b_audience: {audience}\n"
        )
    };
    vec![
        row(
            any_issuer,
            issuer("*", published, "x"),
            issuer("*", "HERE/good.pem", "x"),
        ),
        row(
            any_audience,
            issuer(sso, published, "*"),
            issuer(sso, "HERE/good.pem", "*"),
        ),
        row(
            any_audience,
            issuer(sso, "discovery", "*"),
            issuer(sso, "discovery", "x"),
        ),
        row(
            ["warning", "sasl_jwt_b_audience", "any application"],
            several("*"),
            several("x"),
        ),
        row(
            without_tls,
            issuer("http://localhost:8080", "discovery", "x"),
            issuer("http://localhost", "discovery", "x"),
        ),
        row(
            without_tls,
            issuer(sso, "http://[::1]:8080/jwks", "x"),
            issuer(sso, "https://[::1]:8080/jwks", "x"),
        ),
        row(
            email,
            jwt("sasl_jwt_user_claim: email\n"),
            jwt("sasl_jwt_user_claim: login\n"),
        ),
        row(
            email,
            jwt("sasl_jwt_user_claim: profile.email\nsasl_jwt_require: email_verified=true\n"),
            jwt("sasl_jwt_user_claim: profile.email\n\
                 sasl_jwt_require: profile.email_verified=true\n"),
        ),
        row(
            [
                "warning",
                "sasl_jwt_b_user_claim",
                "opens another's mailbox",
            ],
            several("x") + "sasl_jwt_b_user_claim: email\n",
            several("x")
                + "sasl_jwt_b_user_claim: email\nsasl_jwt_b_require: email_verified=true\n",
        ),
        row(
            ["warning", "sasl_jwt_keys", "ROCA"],
            issuer(sso, "HERE/roca.pem", "x"),
            issuer(sso, "HERE/rsa.pem", "x"),
        ),
        row(
            ["warning", "sasl_jwt_keys", "ROCA"],
            issuer(sso, "HERE/roca.json", "x"),
            issuer(sso, "HERE/rsa.pem", "x"),
        ),
    ]
}

fn tickets() -> Vec<Row> {
    let refused = ["fault", "sasl_caspt_proxies", "every ticket is refused"];
    let direct = ["warning", "sasl_caspt_allow_direct", "every user of CAS"];
    let clear = ["warning", "sasl_caspt_proxies", "is without TLS"];
    let local = ["warning", "sasl_caspt_url", "take port 8080"];
    let endpoint = ["warning", "sasl_caspt_url", "address of an endpoint"];
    let mut rows = vec![
        row(refused, CAS, cas("")),
        row(
            refused,
            format!("{CAS}sasl_caspt_allow_direct: no\n"),
            format!("{CAS}sasl_caspt_allow_direct: yes\nsasl_caspt_require: role=mail\n"),
        ),
        row(
            direct,
            cas("sasl_caspt_allow_direct: yes\n"),
            cas("sasl_caspt_allow_direct: yes\nsasl_caspt_require: role=mail\n"),
        ),
        row(
            clear,
            format!("{CAS}sasl_caspt_proxies: https://a.example/* HTTP://b.example/cb\n"),
            format!("{CAS}sasl_caspt_proxies: https://a.example/* https://b.example/cb\n"),
        ),
        row(
            local,
            cas_at("http://localhost:8080/cas"),
            cas_at("http://localhost:80/cas"),
        ),
        row(
            local,
            cas_at("http://127.0.0.1:8080/cas"),
            cas_at("https://127.0.0.1:8080/cas"),
        ),
        row(
            local,
            cas_at("https://cas.univ.example/cas http://[::1]:8080/"),
            cas_at("https://cas.univ.example/cas http://[::1]/"),
        ),
    ];
    for end in [
        "login",
        "logout",
        "validate",
        "serviceValidate",
        "proxyValidate",
        "samlValidate",
        "proxy",
        "p3/serviceValidate",
        "p3/proxyValidate",
        "p3/proxyvalidate/",
        "p3",
    ] {
        let url = format!("https://cas.univ.example/cas/{end}");
        rows.push(row(
            endpoint,
            cas_at(&url),
            cas_at("https://cas.univ.example/login/cas"),
        ));
    }
    rows
}

fn names() -> Vec<Row> {
    let several = [
        "warning",
        "sasl_sso_strip_domain",
        "one and the same mailbox",
    ];
    let other = [
        "warning",
        "sasl_sso_strip_domain",
        "come out as users of univ.example",
    ];
    let internal = [
        "warning",
        "sasl_sso_strip_domain",
        "come out as users of internal",
    ];
    let address = ["warning", "virtdomains", "such logins are refused"];
    let home = "defaultdomain: univ.example\n";
    vec![
        row(
            several,
            cas("sasl_sso_strip_domain: univ.example guests.example\n"),
            cas("sasl_sso_strip_domain: univ.example UNIV.example\n"),
        ),
        row(
            other,
            cas(&format!("{home}sasl_sso_strip_domain: guests.example\n")),
            cas(&format!("{home}sasl_sso_strip_domain: Univ.Example\n")),
        ),
        row(
            other,
            cas(&format!(
                "{home}virtdomains: userid\nsasl_sso_strip_domain: guests.example\n"
            )),
            cas(&format!(
                "{home}virtdomains: userid\nsasl_sso_strip_domain: univ.example\n"
            )),
        ),
        row(
            internal,
            cas("virtdomains: userid\nsasl_sso_strip_domain: univ.example\n"),
            cas("virtdomains: off\nsasl_sso_strip_domain: univ.example\n"),
        ),
        row(
            other,
            cas(
                "virtdomains: on\nsasl_sso_realm: univ.example\nsasl_sso_strip_domain: b.example\n",
            ),
            cas("virtdomains: on\nsasl_sso_realm: univ.example\n\
                 sasl_sso_strip_domain: univ.example\n"),
        ),
        row(
            other,
            "caspt_url: https://cas.univ.example/cas\ncaspt_proxies: https://a.example/*\n\
             sso_realm: univ.example\nsso_strip_domain: b.example\n"
                .replace("caspt", "sasl_caspt")
                .replace("sso_", "sasl_sso_"),
            cas("sasl_sso_strip_domain: b.example\n"),
        ),
        row(
            address,
            cas("virtdomains: on\n"),
            cas("virtdomains: on\nsasl_sso_realm: univ.example\n"),
        ),
        row(
            address,
            cas("virtdomains: yes\n"),
            cas("virtdomains: userid\n"),
        ),
        row(
            ["warning", "imap_virtdomains", "such logins are refused"],
            cas("virtdomains: off\nimap_virtdomains: on\nimap_sasl_caspt_timeout: 4\n"),
            cas("virtdomains: off\nimap_virtdomains: off\nimap_sasl_caspt_timeout: 4\n"),
        ),
    ]
}

fn passwords() -> Vec<Row> {
    let silent = "nobody answers at ";
    let asks = |lines: &str| cas(&format!("sasl_pwcheck_method: saslauthd\n{lines}"));
    vec![
        row(
            ["warning", "sasl_saslauthd_path", silent],
            asks("sasl_saslauthd_path: HERE/missing\n"),
            asks("sasl_saslauthd_path: HERE/mux\n"),
        ),
        // The socket file exists, but no process listens on it.
        row(
            ["warning", "sasl_saslauthd_path", silent],
            asks("sasl_saslauthd_path: HERE/dead\n"),
            cas("sasl_saslauthd_path: HERE/dead\n"),
        ),
        row(
            ["warning", "sasl_pwcheck_method", silent],
            "sasl_pwcheck_method: auxprop saslauthd\n",
            "sasl_pwcheck_method: auxprop\n",
        ),
        row(
            ["warning", "saslauthd_path", silent],
            "pwcheck_method: saslauthd\nsaslauthd_path: HERE/missing\nmech_list: PLAIN\n",
            "pwcheck_method: saslauthd\nsaslauthd_path: HERE/mux\nmech_list: PLAIN\n",
        ),
        row(
            ["warning", "sasl_saslauthd_path", "everybody may write "],
            asks("sasl_saslauthd_path: HERE/open/mux\n"),
            asks("sasl_saslauthd_path: HERE/mux\n"),
        ),
    ]
}

fn values() -> Vec<Row> {
    let quotes = "has quotes";
    let comma = "has a comma";
    vec![
        row(
            ["warning", "sasl_caspt_url", quotes],
            cas_at("\"https://cas.univ.example/cas\""),
            cas(""),
        ),
        row(
            ["warning", "sasl_jwt_audience", quotes],
            format!("{JWT}sasl_jwt_audience: 'imap.univ.example'\n"),
            jwt(""),
        ),
        row(
            ["warning", "sasl_jwt_audience", quotes],
            format!("{JWT}sasl_jwt_audience: other \"imap.univ.example\"\n"),
            jwt("sasl_jwt_require: name=\"staff\"\n"),
        ),
        row(
            ["warning", "servername", quotes],
            cas("servername: \"mail.univ.example\"\n"),
            cas("servername: mail.univ.example\n"),
        ),
        row(
            ["fault", "sasl_mech_list", comma],
            cas("sasl_mech_list: PLAIN,CASPT\n"),
            cas("sasl_mech_list: PLAIN CASPT\n"),
        ),
        row(
            ["fault", "sasl_mech_list", comma],
            cas("sasl_mech_list: PLAIN, CASPT\n"),
            cas("sasl_mech_list: PLAIN\tCASPT\n"),
        ),
        row(
            ["warning", "sasl_caspt_url", comma],
            cas_at("https://a.univ.example/cas,https://b.univ.example/cas"),
            cas_at("https://a.univ.example/cas https://b.univ.example/cas"),
        ),
        row(
            ["warning", "sasl_caspt_proxies", comma],
            format!("{CAS}sasl_caspt_proxies: https://a.example/cb,https://b.example/cb\n"),
            format!("{CAS}sasl_caspt_proxies: https://a.example/cb https://b.example/cb\n"),
        ),
        row(
            ["warning", "sasl_caspt_proxies", comma],
            format!("{CAS}sasl_caspt_proxies: https://a.example/cb, https://b.example/cb\n"),
            format!("{CAS}sasl_caspt_proxies: https://a.example/cb?x=1,2\n"),
        ),
        row(
            ["warning", "sasl_jwt_audience", comma],
            format!("{JWT}sasl_jwt_audience: imap, smtp\n"),
            format!("{JWT}sasl_jwt_audience: imap smtp\n"),
        ),
        row(
            ["warning", "sasl_sso_strip_domain", comma],
            cas("sasl_sso_strip_domain: a.example,b.example\n"),
            cas("sasl_sso_strip_domain: a.example\n"),
        ),
    ]
}

fn offers() -> Vec<Row> {
    let lacks = |words| ["fault", "sasl_mech_list", words];
    vec![
        row(
            lacks("lacks CASPT, which is configured"),
            cas("sasl_mech_list: PLAIN\n"),
            cas("sasl_mech_list: PLAIN CASPT\n"),
        ),
        row(
            lacks("lacks OAUTHBEARER and XOAUTH2"),
            jwt("sasl_mech_list: PLAIN\n"),
            jwt("sasl_mech_list: PLAIN XOAUTH2\n"),
        ),
        row(
            lacks("lacks PLAIN"),
            cas("sasl_sso_plain: yes\nsasl_mech_list: CASPT\n"),
            cas("sasl_sso_plain: yes\nsasl_mech_list: PLAIN\n"),
        ),
        row(
            lacks("lacks CASPT"),
            cas("sasl_mech_list: \"PLAIN CASPT\"\n"),
            cas("sasl_mech_list: plain caspt\n"),
        ),
        // A stock saslauthd accepts no tickets.
        row(
            lacks("lacks CASPT"),
            cas("sasl_mech_list: PLAIN\nsasl_pwcheck_method: saslauthd\n\
                 sasl_saslauthd_path: HERE/saslauthd/mux\n"),
            cas("sasl_mech_list: PLAIN\nsasl_pwcheck_method: saslauthd\n\
                 sasl_saslauthd_path: HERE/mux\n"),
        ),
        row(
            ["fault", "mech_list", "lacks OAUTHBEARER and XOAUTH2"],
            "mech_list: PLAIN LOGIN\njwt_issuer: https://a.example\njwt_keys: discovery\n\
             jwt_audience: x\n",
            "mech_list: PLAIN XOAUTH2\njwt_issuer: https://a.example\njwt_keys: discovery\n\
             jwt_audience: x\n",
        ),
        // Only one service of several is affected.
        row(
            ["warning", "sasl_mech_list", "lacks CASPT"],
            cas("sasl_mech_list: PLAIN\nimap_sasl_mech_list: PLAIN CASPT\n\
                 imap_sasl_caspt_timeout: 4\n"),
            cas("sasl_mech_list: PLAIN CASPT\nimap_sasl_mech_list: PLAIN\n\
                 imap_sasl_caspt_timeout: 4\n"),
        ),
    ]
}

/// All rows.
pub fn all() -> Vec<Row> {
    let groups = [
        tokens(),
        tickets(),
        names(),
        passwords(),
        values(),
        offers(),
    ];
    groups.into_iter().flatten().collect()
}
