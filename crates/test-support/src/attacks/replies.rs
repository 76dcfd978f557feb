//! CAS replies that could be read as naming another user.

use crate::libsasl2::site::PROXY;

/// All replies, each with the reason code in the log and the check that fails.
pub fn all() -> Vec<(String, &'static str, &'static str)> {
    let long = format!("<cas:user>{}</cas:user>", "a".repeat(81));
    let doctype = format!("<!DOCTYPE x>{}", reply("<cas:user>alice</cas:user>"));
    let ambiguous = [
        "<cas:user>alice</cas:user><cas:user>root</cas:user>",
        "<!--<cas:user>root</cas:user>-->",
        "<cas:user>ro<!---->ot</cas:user>",
        "<cas:attributes><cas:user>root</cas:user></cas:attributes>",
        "<cas:attribute name=\"user\" value=\"root\"/>",
    ]
    .map(|inner| (reply(inner), "reply_ambiguous", "reply"));
    let unusable = [
        "<cas:user>ro\0ot</cas:user>",
        "<cas:user>ro&#10;ot</cas:user>",
        "<cas:user>ro\u{1b}ot</cas:user>",
        "<cas:user></cas:user>",
    ]
    .map(|inner| (reply(inner), "user_unusable", "principal"));
    let others = [
        (doctype, "reply_forbidden", "reply"),
        (reply(&long), "user_unusable", "mail user"),
    ];
    [&ambiguous[..], &unusable, &others].concat()
}

fn reply(inner: &str) -> String {
    format!(
        "<cas:serviceResponse xmlns:cas=\"http://www.yale.edu/tp/cas\">\
         <cas:authenticationSuccess>{inner}<cas:proxies><cas:proxy>{PROXY}</cas:proxy>\
         </cas:proxies></cas:authenticationSuccess></cas:serviceResponse>"
    )
}
