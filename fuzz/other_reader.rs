//! A reply of CAS, as another reader of XML understands it.

/// Who is authenticated, and through which portals, in a reply that we took; nothing if
/// this reader cannot read it.
fn said(data: &[u8]) -> Option<(String, Vec<String>)> {
    let text = std::str::from_utf8(data).ok()?;
    let document = roxmltree::Document::parse(text).ok()?;
    let success = only(document.root_element(), "authenticationSuccess")?;
    let user = text_of(only(success, "user")?);
    let proxies = match only(success, "proxies") {
        Some(proxies) => proxies
            .children()
            .filter(|node| node.is_element())
            .map(text_of)
            .collect(),
        None => Vec::new(),
    };
    Some((user, proxies))
}

/// What both say must be the same, if both say something.
pub fn agree(ours: Option<(String, Vec<String>)>, data: &[u8]) {
    let Some(ours) = ours else {
        return;
    };
    if let Some(other) = said(data) {
        // White space around a name may be layout, or may be meant.
        let trimmed = |(user, proxies): (String, Vec<String>)| {
            let trim = |text: String| text.trim().to_owned();
            (
                trim(user),
                proxies.into_iter().map(trim).collect::<Vec<_>>(),
            )
        };
        assert_eq!(trimmed(ours), trimmed(other));
    }
}

type Node<'a> = roxmltree::Node<'a, 'a>;

/// The one child of this name, in the namespace of CAS.
fn only<'a>(node: Node<'a>, name: &str) -> Option<Node<'a>> {
    let is_it = |child: &Node<'_>| child.tag_name().name() == name;
    let mut found = node.children().filter(is_it);
    let child = found.next()?;
    assert!(found.next().is_none(), "several {name}, and one was taken");
    assert_eq!(
        child.tag_name().namespace(),
        Some("http://www.yale.edu/tp/cas")
    );
    Some(child)
}

/// All text below a node, as most readers have it.
fn text_of(node: Node<'_>) -> String {
    let texts = node.descendants().filter(|node| node.is_text());
    texts.filter_map(|node| node.text()).collect()
}
