//! A reply's XML as a small tree: namespace-aware, no DTD, bounded.
//!
//! Where XML lets two readers see two different things (a comment in the
//! middle of a text, a PI, an entity), this one refuses or says so.

#![forbid(unsafe_code)]

use std::ops::Range;

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::{NsReader, XmlVersion};

use crate::error::{Failure, Reason};

/// The namespace of all CAS replies (CAS protocol 3.0, appendix A).
const CAS: &str = "http://www.yale.edu/tp/cas";

/// What XML calls white space (XML 1.0, section 2.3). What else Unicode does is
/// part of a name.
const LAYOUT: [char; 4] = [' ', '\t', '\r', '\n'];

/// How deep elements may be nested; a CAS reply has four levels.
const DEEPEST: usize = 16;

/// One element.
#[derive(Debug, Default)]
pub(crate) struct Element {
    /// The name without its prefix.
    pub(crate) name: String,
    /// Whether it is in CAS's namespace.
    pub(crate) is_cas: bool,
    pub(crate) attributes: Vec<(String, String)>,
    text: String,
    /// Where in the text the server wrote characters in a way that only makes
    /// sense if they count (references, CDATA): white space there is no layout.
    meant: Option<Range<usize>>,
    /// Whether something that is not text stands in or beside the text.
    is_broken: bool,
    pub(crate) children: Vec<Element>,
}

impl Element {
    pub(crate) fn is(&self, name: &str) -> bool {
        self.is_cas && self.name == name
    }

    /// The children of this name in CAS's namespace.
    pub(crate) fn all<'e>(&'e self, name: &str) -> impl Iterator<Item = &'e Element> {
        self.children.iter().filter(move |child| child.is(name))
    }

    /// The one child of this name, or none.
    ///
    /// # Errors
    /// [`Reason::ReplyAmbiguous`] if there are several, or one of this name in
    /// another namespace.
    pub(crate) fn at_most_one(&self, name: &str) -> Result<Option<&Element>, Failure> {
        let mut found = self.children.iter().filter(|child| child.name == name);
        let first = found.next();
        if found.next().is_some() {
            return Err(ambiguous(format!("the reply has several cas:{name}")));
        }
        if first.is_some_and(|child| !child.is_cas) {
            return Err(ambiguous(format!("{name} is in another namespace")));
        }
        Ok(first)
    }

    /// The children, all of which must be of this name.
    ///
    /// # Errors
    /// [`Reason::ReplyAmbiguous`] if anything else is in the element.
    pub(crate) fn nothing_but(&self, name: &str) -> Result<&[Element], Failure> {
        let pure = self.text.trim_matches(LAYOUT).is_empty()
            && self.children.iter().all(|child| child.is(name));
        if self.is_broken || !pure {
            let what = format!("cas:{} has more in it than cas:{name}", self.name);
            return Err(ambiguous(what));
        }
        Ok(&self.children)
    }

    /// The text without the white space around it that is layout.
    ///
    /// # Errors
    /// [`Reason::ReplyAmbiguous`] if anything but text is in the element.
    pub(crate) fn text(&self) -> Result<&str, Failure> {
        if self.is_broken || !self.children.is_empty() {
            return Err(ambiguous(format!(
                "cas:{} has more in it than text",
                self.name
            )));
        }
        let text = &self.text;
        let mut begin = text.len() - text.trim_start_matches(LAYOUT).len();
        let mut end = begin + text[begin..].trim_end_matches(LAYOUT).len();
        if let Some(meant) = &self.meant {
            begin = begin.min(meant.start);
            end = end.max(meant.end);
        }
        Ok(&text[begin..end])
    }

    /// Adds text that was written as something that counts.
    fn push_meant(&mut self, text: &str) {
        let begin = self
            .meant
            .take()
            .map_or(self.text.len(), |meant| meant.start);
        self.text.push_str(text);
        self.meant = Some(begin..self.text.len());
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Parses a document to its root element.
///
/// # Errors
/// [`Reason::ReplyForbidden`] for a DTD, [`Reason::ReplyUnusable`] for what is
/// not well-formed.
pub(crate) fn parse(document: &str) -> Result<Element, Failure> {
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
            Event::CData(text) => inner.push_meant(&text.xml10_content()),
            Event::GeneralRef(reference) => {
                match reference.resolve_char_ref().map_err(malformed)? {
                    Some(character) => inner.push_meant(character.encode_utf8(&mut [0; 4])),
                    None => inner.push_meant(
                        resolve_predefined_entity(&reference)
                            .ok_or_else(|| malformed("an entity that XML does not define"))?,
                    ),
                }
            }
            // In the document itself, beside the root, they are in nobody's way.
            Event::Comment(_) | Event::PI(_) | Event::Decl(_) => inner.is_broken = true,
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
    if !document.text.trim_matches(LAYOUT).is_empty() {
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
        name: start.local_name().as_ref().to_owned(),
        is_cas,
        attributes,
        ..Element::default()
    })
}

pub(crate) fn ambiguous(detail: String) -> Failure {
    Failure::new(Reason::ReplyAmbiguous, detail)
}

fn malformed(why: impl std::fmt::Display) -> Failure {
    Failure::new(
        Reason::ReplyUnusable,
        format!("the reply is not well-formed XML: {why}"),
    )
}
