//! A reply's XML as a small tree: namespace-aware, no DTD, bounded.
//!
//! Where XML lets two readers see two different things (a comment in the
//! middle of a text, a PI, an entity), this one refuses or says so.

#![forbid(unsafe_code)]

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::{NsReader, XmlVersion};

use crate::outcome::{Failure, Reason};

/// The namespace of all CAS replies (CAS protocol 3.0, appendix A).
const CAS: &str = "http://www.yale.edu/tp/cas";

/// How deep elements may be nested; a CAS reply has four levels.
const DEEPEST: usize = 16;

/// One element.
#[derive(Debug, Default)]
pub(super) struct Element {
    /// The local name, or `None` if the element is not in CAS's namespace.
    name: Option<String>,
    pub(super) attributes: Vec<(String, String)>,
    text: String,
    /// Whether something that is not text stands in or beside the text.
    is_broken: bool,
    pub(super) children: Vec<Element>,
}

impl Element {
    pub(super) fn is(&self, name: &str) -> bool {
        self.name() == Some(name)
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The children of this name in CAS's namespace.
    pub(super) fn all<'e>(&'e self, name: &str) -> impl Iterator<Item = &'e Element> {
        self.children.iter().filter(move |child| child.is(name))
    }

    /// The one child of this name, or none.
    ///
    /// # Errors
    /// [`Reason::ReplyAmbiguous`] if there are several.
    pub(super) fn at_most_one(&self, name: &str) -> Result<Option<&Element>, Failure> {
        let mut found = self.all(name);
        let first = found.next();
        match found.next() {
            None => Ok(first),
            Some(_) => Err(ambiguous(format!("the reply has several cas:{name}"))),
        }
    }

    /// The text without white space around it.
    ///
    /// # Errors
    /// [`Reason::ReplyAmbiguous`] if anything but text is in the element.
    pub(super) fn text(&self) -> Result<&str, Failure> {
        if self.is_broken || !self.children.is_empty() {
            let name = self.name().unwrap_or("element");
            return Err(ambiguous(format!("cas:{name} has more in it than text")));
        }
        Ok(self.text.trim())
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Parses a document to its root element.
///
/// # Errors
/// [`Reason::ReplyForbidden`] for a DTD, [`Reason::ReplyUnusable`] for what is
/// not well-formed.
pub(super) fn parse(document: &str) -> Result<Element, Failure> {
    let mut reader = NsReader::from_str(document);
    let config = reader.config_mut();
    config.expand_empty_elements = true;
    config.check_comments = true;
    // The bottom of the stack is the document, of which the root is a child.
    let mut open = vec![Element::default()];
    loop {
        let (namespace, event) = reader.read_resolved_event().map_err(malformed)?;
        let is_cas = matches!(namespace, ResolveResult::Bound(uri) if uri.as_ref() == CAS);
        let Some(inner) = open.last_mut() else {
            return Err(malformed("more ends than starts"));
        };
        match event {
            Event::Start(start) => {
                if open.len() > DEEPEST {
                    return Err(malformed("nested too deeply"));
                }
                open.push(element(&start, is_cas)?);
            }
            Event::End(_) => {
                let done = open.pop();
                let (Some(done), Some(outer)) = (done, open.last_mut()) else {
                    return Err(malformed("more ends than starts"));
                };
                outer.children.push(done);
            }
            Event::Text(text) => inner.text.push_str(&text.xml10_content()),
            Event::CData(text) => inner.text.push_str(&text.xml10_content()),
            Event::GeneralRef(reference) => {
                match reference.resolve_char_ref().map_err(malformed)? {
                    Some(character) => inner.text.push(character),
                    None => inner.text.push_str(
                        resolve_predefined_entity(&reference)
                            .ok_or_else(|| malformed("an entity that XML does not define"))?,
                    ),
                }
            }
            Event::Comment(_) | Event::PI(_) => inner.is_broken = true,
            Event::Decl(_) => {}
            Event::DocType(_) => {
                return Err(Failure::new(
                    Reason::ReplyForbidden,
                    "the reply has a document type definition",
                ));
            }
            Event::Empty(_) => return Err(malformed("an empty element was not expanded")),
            Event::Eof => break,
        }
    }
    let (Some(document), true) = (open.pop(), open.is_empty()) else {
        return Err(malformed("it ends in the middle"));
    };
    if !document.text.trim().is_empty() {
        return Err(malformed("text outside of the root element"));
    }
    let mut roots = document.children.into_iter();
    match (roots.next(), roots.next()) {
        (Some(root), None) => Ok(root),
        _ => Err(malformed("not exactly one root element")),
    }
}

fn element(start: &BytesStart<'_>, is_cas: bool) -> Result<Element, Failure> {
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(malformed)?;
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(malformed)?;
        attributes.push((attribute.key.as_ref().to_owned(), value.into_owned()));
    }
    Ok(Element {
        name: is_cas.then(|| start.local_name().as_ref().to_owned()),
        attributes,
        ..Element::default()
    })
}

pub(super) fn ambiguous(detail: String) -> Failure {
    Failure::new(Reason::ReplyAmbiguous, detail)
}

fn malformed(why: impl std::fmt::Display) -> Failure {
    Failure::new(
        Reason::ReplyUnusable,
        format!("the reply is not well-formed XML: {why}"),
    )
}
