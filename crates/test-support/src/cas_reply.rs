//! The XML of a CAS server's replies.

/// Returns a `cas:authenticationSuccess` reply. The most recent proxy comes first in `proxies`.
pub fn success(user: &str, proxies: &[&str], attributes: &[(&str, &str)]) -> String {
    let attributes: String = attributes
        .iter()
        .map(|(name, value)| format!("<cas:{name}>{}</cas:{name}>", escape(value)))
        .collect();
    let attributes = match attributes.as_str() {
        "" => String::new(),
        inner => format!("<cas:attributes>{inner}</cas:attributes>"),
    };
    let proxies: String = proxies
        .iter()
        .map(|proxy| format!("<cas:proxy>{}</cas:proxy>", escape(proxy)))
        .collect();
    let proxies = match proxies.as_str() {
        "" => String::new(),
        inner => format!("<cas:proxies>{inner}</cas:proxies>"),
    };
    envelope(&format!(
        "<cas:authenticationSuccess><cas:user>{}</cas:user>{attributes}{proxies}\
         </cas:authenticationSuccess>",
        escape(user)
    ))
}

/// Returns whether a reply reports a successful validation.
pub fn is_success(reply: &str) -> bool {
    reply.contains("<cas:authenticationSuccess>")
}

/// Returns a `cas:authenticationFailure` reply.
pub fn failure(code: &str, text: &str) -> String {
    envelope(&format!(
        "<cas:authenticationFailure code=\"{}\">{}</cas:authenticationFailure>",
        escape(code),
        escape(text)
    ))
}

fn envelope(inner: &str) -> String {
    format!(
        "<cas:serviceResponse xmlns:cas=\"http://www.yale.edu/tp/cas\">{inner}\
         </cas:serviceResponse>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
