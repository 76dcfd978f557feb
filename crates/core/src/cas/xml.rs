//! Parses the XML of a reply into a small tree: namespace-aware, without DTD, of limited depth.
//!
//! Where two XML parsers could see different things (a comment inside a text, a processing
//! instruction, an entity), this one rejects the reply or marks the element.

#![forbid(unsafe_code)]

use std::ops::Range;

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::{NsReader, XmlVersion};

use crate::error::{Failure, Reason};

/// The namespace of all CAS replies (CAS protocol 3.0, appendix A).
const CAS: &str = "http://www.yale.edu/tp/cas";

/// White space of XML (XML 1.0, section 2.3). Other white space of Unicode is part of a name.
const WHITE_SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// The maximum depth of elements. A CAS reply has four levels.
const MAX_DEPTH: usize = 16;

/// An element.
#[derive(Debug, Default)]
pub(crate) struct Element {
    /// The name without its prefix.
    pub(crate) name: String,
    /// Whether it is in CAS's namespace.
    pub(crate) is_cas: bool,
    pub(crate) attributes: Vec<(String, String)>,
    text: String,
    /// The range of the text that the server wrote as references or CDATA. White space in it is
    /// significant.
    significant: Option<Range<usize>>,
    /// Whether something other than text is inside or beside the text.
    is_broken: bool,
    pub(crate) children: Vec<Element>,
}

impl Element {
    pub(crate) fn is(&self, name: &str) -> bool {
        self.is_cas && self.name == name
    }

    /// The children with this name in CAS's namespace.
    pub(crate) fn all<'e>(&'e self, name: &str) -> impl Iterator<Item = &'e Element> {
        self.children.iter().filter(move |child| child.is(name))
    }

    /// The only child with this name, if there is one.
    ///
    /// # Errors
    /// [`Reason::ReplyAmbiguous`] if there are several, or one with this name in another namespace.
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

    /// The children, all of which must have this name.
    ///
    /// # Errors
    /// [`Reason::ReplyAmbiguous`] if the element contains anything else.
    pub(crate) fn nothing_but(&self, name: &str) -> Result<&[Element], Failure> {
        let pure = self.text.trim_matches(WHITE_SPACE).is_empty()
            && self.children.iter().all(|child| child.is(name));
        if self.is_broken || !pure {
            let what = format!("cas:{} has more in it than cas:{name}", self.name);
            return Err(ambiguous(what));
        }
        Ok(&self.children)
    }

    /// The text without insignificant white space around it.
    ///
    /// # Errors
    /// [`Reason::ReplyAmbiguous`] if the element contains anything but text.
    pub(crate) fn text(&self) -> Result<&str, Failure> {
        if self.is_broken || !self.children.is_empty() {
            return Err(ambiguous(format!(
                "cas:{} has more in it than text",
                self.name
            )));
        }
        let text = &self.text;
        let mut begin = text.len() - text.trim_start_matches(WHITE_SPACE).len();
        let mut end = begin + text[begin..].trim_end_matches(WHITE_SPACE).len();
        if let Some(significant) = &self.significant {
            begin = begin.min(significant.start);
            end = end.max(significant.end);
        }
        Ok(&text[begin..end])
    }

    /// Adds text in which white space is significant.
    fn push_significant(&mut self, text: &str) {
        let begin = self
            .significant
            .take()
            .map_or(self.text.len(), |significant| significant.start);
        self.text.push_str(text);
        self.significant = Some(begin..self.text.len());
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Parses a document, and returns its root element.
///
/// # Errors
/// [`Reason::ReplyForbidden`] for a DTD, [`Reason::ReplyUnusable`] for XML that is not well-formed.
pub(crate) fn parse(document: &str) -> Result<Element, Failure> {
    let mut reader = NsReader::from_str(document);
    let config = reader.config_mut();
    config.expand_empty_elements = true;
    config.check_comments = true;
    // The bottom of the stack is the document, whose child is the root.
    let mut open = vec![Element::default()];
    loop {
        let (namespace, event) = reader.read_resolved_event().map_err(malformed)?;
        let is_cas = matches!(namespace, ResolveResult::Bound(uri) if uri.as_ref() == CAS);
        let Some(inner) = open.last_mut() else {
            return Err(malformed("more ends than starts"));
        };
        match event {
            Event::Start(start) => {
                if open.len() > MAX_DEPTH {
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
            Event::CData(text) => inner.push_significant(&text.xml10_content()),
            Event::GeneralRef(reference) => {
                match reference.resolve_char_ref().map_err(malformed)? {
                    Some(character) => inner.push_significant(character.encode_utf8(&mut [0; 4])),
                    None => inner.push_significant(
                        resolve_predefined_entity(&reference)
                            .ok_or_else(|| malformed("an entity that XML does not define"))?,
                    ),
                }
            }
            // Outside the root they are harmless.
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
    if !document.text.trim_matches(WHITE_SPACE).is_empty() {
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
