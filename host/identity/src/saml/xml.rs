//! Reading XML from strangers: one parser, bounds before it runs, and nothing in it that two readers could read unlike each other.

use roxmltree::{Document, Error, Node, ParsingOptions};

use crate::sso_fault::{SsoFault, refuse};

const RULE: &str = "sso.xml";
/// Nesting, at most. Bounds what is walked by calls.
const DEPTH: usize = 40;
/// Nodes of a tree, at most.
const NODES: u32 = 20_000;
/// Declarations of namespaces, and attributes, at most: a parser compares each with those before it.
const DECLARED: usize = 2_000;
const ATTRIBUTES: usize = 10_000;

/// What a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What a browser brings. Comments and instructions have no business there, and readers cut texts at them.
    Response,
    /// What an owner shows or the provider publishes: people write comments there.
    Metadata,
}

impl Kind {
    /// Bytes, at most.
    const fn longest(self) -> usize {
        match self {
            Self::Response => 192 << 10,
            Self::Metadata => 512 << 10,
        }
    }
}

/// The tree of a document.
///
/// # Errors
/// `sso.xml`.
pub(super) fn parse(text: &str, kind: Kind) -> Result<Document<'_>, SsoFault> {
    if text.len() > kind.longest() {
        return refuse(RULE, "the document is too long");
    }
    if text.matches("xmlns").count() > DECLARED || text.matches('=').count() > ATTRIBUTES {
        return refuse(RULE, "the document declares too many namespaces or attributes");
    }
    let options = ParsingOptions { allow_dtd: false, nodes_limit: NODES, ..ParsingOptions::default() };
    let document = match Document::parse_with_options(text, options) {
        Ok(document) => document,
        Err(Error::DtdDetected) => return refuse(RULE, "the document declares a type, and with it entities: none may"),
        Err(Error::NodesLimitReached) => return refuse(RULE, "the document has too many parts"),
        Err(_) => return refuse(RULE, "the document is not well-formed XML"),
    };
    // As the tree is in the order of the document, how deep one stands follows from its parent alone.
    let (mut path, mut strange) = (Vec::new(), false);
    for node in document.descendants() {
        while path.last().is_some_and(|last| Some(*last) != node.parent().map(|parent| parent.id())) {
            path.pop();
        }
        path.push(node.id());
        if path.len() > DEPTH {
            return refuse(RULE, "the document is nested too deep");
        }
        strange |= node.is_comment() || node.is_pi();
    }
    if strange && kind == Kind::Response {
        return refuse(RULE, "the document has a comment or an instruction in it");
    }
    Ok(document)
}

/// Whether it is that element.
pub(super) fn is(node: Node<'_, '_>, namespace: &str, name: &str) -> bool {
    node.is_element() && node.tag_name().namespace() == Some(namespace) && node.tag_name().name() == name
}

/// The elements of that name right inside.
pub(super) fn children<'a, 'i>(
    node: Node<'a, 'i>,
    namespace: &'a str,
    name: &'a str,
) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(move |child| is(*child, namespace, name))
}

/// The one element of that name right inside, if there is exactly one.
pub(super) fn only<'a, 'i>(node: Node<'a, 'i>, namespace: &'a str, name: &'a str) -> Option<Node<'a, 'i>> {
    let mut found = children(node, namespace, name);
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// The whole text of an element that holds nothing but text.
pub(super) fn text(node: Node<'_, '_>) -> Option<String> {
    node.children().map(|child| if child.is_text() { child.text() } else { None }).collect()
}

/// An attribute that is in no namespace.
pub(super) fn attribute<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    let mut found = node.attributes().filter(|found| found.namespace().is_none() && found.name() == name);
    found.next().map(|found| found.value())
}

/// A text so that it can stand in a document, in an attribute as well.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            other => out.push(other),
        }
    }
    out
}
