//! Parses the reply of `/proxyValidate` (CAS protocol 3.0, sections 2.5.2 and 2.6.2).

#![forbid(unsafe_code)]

use super::xml;
use super::xml::{Element, ambiguous};
use crate::error::{Failure, Reason};

/// A successful reply.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Success {
    /// `cas:user`.
    pub user: String,
    /// The proxies that the ticket came through, the most recent first.
    pub(crate) proxies: Vec<String>,
    /// The attributes in the order of the reply, one entry for each value; `None` if a value is
    /// more than a text.
    attributes: Vec<(String, Option<String>)>,
}

impl Success {
    /// The values of an attribute that are texts.
    pub(crate) fn values<'s>(&'s self, name: &str) -> impl Iterator<Item = &'s str> {
        self.all(name).flatten()
    }

    /// The only value of an attribute, if it is a text.
    ///
    /// # Errors
    /// The number of values.
    pub(crate) fn only_value<'s>(&'s self, name: &str) -> Result<&'s str, usize> {
        let values: Vec<_> = self.all(name).collect();
        match values[..] {
            [Some(value)] => Ok(value),
            _ => Err(values.len()),
        }
    }

    /// All attributes.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let pairs = self.attributes.iter();
        pairs.map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    fn all<'s>(&'s self, name: &str) -> impl Iterator<Item = Option<&'s str>> {
        let of_name = self.attributes.iter().filter(move |(key, _)| key == name);
        of_name.map(|(_, value)| value.as_deref())
    }
}

/// Parses a reply.
///
/// # Errors
/// [`Reason::TicketRefused`] if the server refuses the ticket, with its code;
/// [`Reason::ReplyAmbiguous`] or [`Reason::ReplyForbidden`] if the user cannot be read
/// unambiguously; [`Reason::ReplyUnusable`] if the text is no reply of CAS, or reports an error of
/// the server.
pub(crate) fn read(body: &[u8]) -> Result<Success, Failure> {
    let document = std::str::from_utf8(body).map_err(|_| unusable("the reply is not UTF-8"))?;
    let document = document.trim_start_matches('\u{feff}');
    if document.trim().is_empty() {
        return Err(unusable("the reply is empty"));
    }
    let root = xml::parse(document)?;
    if !root.is("serviceResponse") {
        return Err(unusable("the reply is not a cas:serviceResponse"));
    }
    let success = root.at_most_one("authenticationSuccess")?;
    let failure = root.at_most_one("authenticationFailure")?;
    match (success, failure) {
        (Some(success), None) => read_success(success),
        (None, Some(failure)) => Err(read_failure(failure)),
        (Some(_), Some(_)) => Err(ambiguous(
            "the reply is a success and a failure at once".to_owned(),
        )),
        (None, None) => Err(unusable("the reply is neither a success nor a failure")),
    }
}

fn read_success(success: &Element) -> Result<Success, Failure> {
    let user = success
        .at_most_one("user")?
        .ok_or_else(|| ambiguous("the reply names no cas:user".to_owned()))?
        .text()?
        .to_owned();
    let mut proxies = Vec::new();
    if let Some(chain) = success.at_most_one("proxies")? {
        for proxy in chain.nothing_but("proxy")? {
            proxies.push(proxy.text()?.to_owned());
        }
    }
    Ok(Success {
        user,
        proxies,
        attributes: read_attributes(success)?,
    })
}

/// Reads attributes in all forms that are in use: an element for each value within `cas:attributes`
/// (Apereo, LemonLDAP::NG), and `cas:attribute` with `name` and `value`, within it or beside it.
/// django-cas-server sends both.
fn read_attributes(success: &Element) -> Result<Vec<(String, Option<String>)>, Failure> {
    let mut attributes = Vec::new();
    let block = success.at_most_one("attributes")?;
    let inside = block.into_iter().flat_map(|block| block.children.iter());
    for element in inside.chain(success.all("attribute")) {
        let (name, value) = match (element.attribute("name"), element.attribute("value")) {
            (Some(name), Some(value)) if element.is("attribute") => (name, Some(value)),
            // A value that is in another namespace, or no text, counts without being readable.
            _ => (
                element.name.as_str(),
                element.text().ok().filter(|_| element.is_cas),
            ),
        };
        let pair = (name.to_owned(), value.map(str::to_owned));
        if !attributes.contains(&pair) {
            attributes.push(pair);
        }
    }
    Ok(attributes)
}

fn read_failure(failure: &Element) -> Failure {
    let code = failure.attribute("code").unwrap_or("").trim();
    let text = failure.text().unwrap_or("");
    let detail = format!("CAS says {code}: {text}");
    match code {
        // An error of the server says nothing about the ticket.
        "INTERNAL_ERROR" => unusable(&detail),
        _ => Failure::new(Reason::TicketRefused, detail),
    }
}

fn unusable(detail: &str) -> Failure {
    Failure::new(Reason::ReplyUnusable, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(inner: &str) -> String {
        format!(
            "<cas:serviceResponse xmlns:cas=\"http://www.yale.edu/tp/cas\">{inner}</cas:serviceResponse>"
        )
    }

    fn success(inner: &str) -> String {
        response(&format!(
            "<cas:authenticationSuccess>{inner}</cas:authenticationSuccess>"
        ))
    }

    fn reason(document: &str) -> Reason {
        read(document.as_bytes()).unwrap_err().reason()
    }

    #[test]
    fn replies_of_apereo_and_lemonldap_are_parsed() {
        let reply = success(
            "\n\t<cas:user> alice </cas:user>
             <cas:attributes>
               <cas:role>mail</cas:role><cas:role>staff</cas:role>
               <cas:displayName>Alice &amp; &#x42;ob</cas:displayName>
             </cas:attributes>
             <cas:proxyGrantingTicket>PGTIOU-1</cas:proxyGrantingTicket>
             <cas:proxies>
               <cas:proxy>https://b/</cas:proxy><cas:proxy>https://a/</cas:proxy>
             </cas:proxies>\n",
        );
        let reply = read(format!("<?xml version=\"1.0\"?>\n{reply}\n").as_bytes()).unwrap();
        assert_eq!(reply.user, "alice");
        assert_eq!(reply.proxies, ["https://b/", "https://a/"]);
        let values = |name| reply.values(name).collect::<Vec<_>>();
        assert_eq!(values("role"), ["mail", "staff"]);
        assert_eq!(values("displayName"), ["Alice & Bob"]);
        assert_eq!(values("missing"), Vec::<&str>::new());
    }

    #[test]
    fn both_forms_of_django_cas_server_say_a_value_once() {
        let reply = read(
            success(
                "<cas:user>alice</cas:user>
                 <cas:attributes><cas:role>mail</cas:role></cas:attributes>
                 <cas:attribute name=\"role\" value=\"mail\"/>
                 <cas:attribute name=\"role\" value=\"staff\"/>",
            )
            .as_bytes(),
        )
        .unwrap();
        assert_eq!(reply.values("role").collect::<Vec<_>>(), ["mail", "staff"]);
        assert!(reply.proxies.is_empty());
    }

    #[test]
    fn any_prefix_or_none_will_do_if_the_namespace_is_cas() {
        let reply = "<serviceResponse xmlns='http://www.yale.edu/tp/cas'>\
            <authenticationSuccess><user><![CDATA[alice]]></user></authenticationSuccess>\
            </serviceResponse>";
        assert_eq!(read(reply.as_bytes()).unwrap().user, "alice");
        let foreign = reply.replace("yale.edu", "evil.example");
        assert_eq!(reason(&foreign), Reason::ReplyUnusable);
        let unbound = success("<cas:user>alice</cas:user>").replace("xmlns:cas", "xmlns:sac");
        assert_eq!(reason(&unbound), Reason::ReplyUnusable);
    }

    #[test]
    fn refusal_keeps_its_code() {
        let reply = response(
            "<cas:authenticationFailure code=\" INVALID_TICKET \">\n Ticket not recognized \
             </cas:authenticationFailure>",
        );
        let failure = read(reply.as_bytes()).unwrap_err();
        assert_eq!(failure.reason(), Reason::TicketRefused);
        assert_eq!(
            failure.detail(),
            "CAS says INVALID_TICKET: Ticket not recognized"
        );
    }

    #[test]
    fn internal_error_of_cas_is_an_outage() {
        let reply = response("<cas:authenticationFailure code='INTERNAL_ERROR'/>");
        assert_eq!(reason(&reply), Reason::ReplyUnusable);
    }

    #[test]
    fn ambiguous_user_is_refused() {
        for inner in [
            "<cas:user>alice</cas:user><cas:user>root</cas:user>",
            "<cas:attributes><cas:user>root</cas:user></cas:attributes>",
            "<!-- <cas:user>root</cas:user> -->",
            "<cas:user>ro<!-- -->ot</cas:user>",
            "<cas:user>ro<?pi?>ot</cas:user>",
            "<cas:user>ro<?xml version='1.0'?>ot</cas:user>",
            "<cas:user><cas:user>root</cas:user></cas:user>",
            "<cas:attribute name=\"user\" value=\"root\"/>",
            "<x:user xmlns:x='http://evil.example/'>root</x:user>",
            "<cas:user>a</cas:user><cas:proxies/><cas:proxies/>",
            "<cas:user>a</cas:user><cas:attributes/><cas:attributes/>",
        ] {
            assert_eq!(reason(&success(inner)), Reason::ReplyAmbiguous, "{inner}");
        }
        let twice = "<cas:authenticationSuccess><cas:user>a</cas:user></cas:authenticationSuccess>";
        assert_eq!(reason(&response(&twice.repeat(2))), Reason::ReplyAmbiguous);
        let both = format!("{twice}<cas:authenticationFailure code='X'/>");
        assert_eq!(reason(&response(&both)), Reason::ReplyAmbiguous);
    }

    #[test]
    fn white_space_that_is_not_layout_is_part_of_the_name() {
        for (written, read_as) in [
            ("\r\n\t alice \n", "alice"),
            ("\u{a0}alice\u{3000}", "\u{a0}alice\u{3000}"),
            (" &#160;alice ", "\u{a0}alice"),
            (" &#32;alice&#10; ", " alice\n"),
            (" <![CDATA[ alice ]]> ", " alice "),
            ("al&#105;ce ", "alice"),
        ] {
            let reply = success(&format!("<cas:user>{written}</cas:user>"));
            assert_eq!(read(reply.as_bytes()).unwrap().user, read_as, "{written}");
        }
    }

    #[test]
    fn proxy_chain_with_unknown_elements_is_malformed() {
        for proxies in [
            "<cas:proxies>https://evil.example/</cas:proxies>",
            "<cas:proxies><cas:agent>https://evil.example/</cas:agent></cas:proxies>",
            "<cas:proxies><proxy>https://evil.example/</proxy></cas:proxies>",
            "<cas:proxies><!-- https://evil.example/ --></cas:proxies>",
            "<x:proxies xmlns:x='urn:x'><x:proxy>https://evil.example/</x:proxy></x:proxies>",
        ] {
            let reply = success(&format!("<cas:user>alice</cas:user>{proxies}"));
            assert_eq!(reason(&reply), Reason::ReplyAmbiguous, "{proxies}");
        }
    }

    #[test]
    fn unreadable_attribute_value_is_not_dropped() {
        let reply = success(
            "<cas:user>x</cas:user><cas:attributes><cas:mail>alice</cas:mail>\
             <cas:mail>b<!-- -->ob</cas:mail><cas:uid>alice</cas:uid></cas:attributes>",
        );
        let reply = read(reply.as_bytes()).unwrap();
        assert_eq!(reply.only_value("mail"), Err(2));
        assert_eq!(reply.only_value("uid"), Ok("alice"));
        assert_eq!(reply.only_value("none"), Err(0));
        assert_eq!(reply.values("mail").collect::<Vec<_>>(), ["alice"]);
        let foreign = "<cas:user>x</cas:user><cas:attributes>\
             <x:role xmlns:x='urn:x'>mail</x:role><y:role>mail</y:role></cas:attributes>";
        let reply = read(success(foreign).as_bytes()).unwrap();
        assert_eq!(reply.values("role").count(), 0);
    }

    #[test]
    fn document_type_is_refused_before_it_is_parsed() {
        let reply = format!(
            "<!DOCTYPE x [<!ENTITY u \"root\">]>{}",
            success("<cas:user>&u;</cas:user>")
        );
        assert_eq!(reason(&reply), Reason::ReplyForbidden);
    }

    #[test]
    fn other_documents_are_an_outage() {
        for body in [
            "",
            "  \n",
            "no\n\n",
            "<html><body>Service unavailable</body></html>",
            "<cas:serviceResponse xmlns:cas=\"http://www.yale.edu/tp/cas\">",
            "<!DOCTYPE",
            &success("<cas:user>a & b</cas:user>"),
            &success("<cas:user>&unknown;</cas:user>"),
            &success("<cas:user>&#0;</cas:user>"),
            &response(""),
            &format!("{}x", success("<cas:user>alice</cas:user>")),
            &success("<cas:user>alice</cas:user>").repeat(2),
            &success(&"<cas:a>".repeat(40)),
        ] {
            assert_eq!(reason(body), Reason::ReplyUnusable, "{body}");
        }
        assert_eq!(
            read(b"\xff\xfe<").unwrap_err().reason(),
            Reason::ReplyUnusable
        );
    }
}
