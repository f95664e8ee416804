//! Exclusive XML Canonicalization 1.0 without comments: the bytes of an element that are hashed.
//!
//! A tree that was read without a document type, comments and instructions leaves little to do: which namespaces are declared where, the
//! order of attributes, and what is escaped (exc-c14n section 3; c14n 1.0 section 2.3).

use std::collections::BTreeMap;

use roxmltree::{Node, NodeId};

use super::ns;
use crate::sso_fault::{SsoFault, refuse};

/// Bytes, at most. A declaration that stands once may be wanted at every element.
const LONGEST: usize = 1 << 20;

/// What was declared on the way to an element, by prefix; the default one has none.
type Rendered<'a> = BTreeMap<&'a str, &'a str>;

/// The bytes of an element without one of its parts. `inclusive` are prefixes whose declarations are kept whether or not
/// they are used.
///
/// # Errors
/// `sso.xml` for what becomes too long.
pub(super) fn canonical(
    element: Node<'_, '_>,
    without: Option<NodeId>,
    inclusive: &[String],
) -> Result<String, SsoFault> {
    let mut out = String::new();
    Writer { out: &mut out, without, inclusive }.element(element, &Rendered::new())?;
    Ok(out)
}

struct Writer<'w> {
    out: &'w mut String,
    without: Option<NodeId>,
    inclusive: &'w [String],
}

impl Writer<'_> {
    fn element<'a>(&mut self, element: Node<'a, '_>, above: &Rendered<'a>) -> Result<(), SsoFault> {
        let source = element.document().input_text();
        let name = qualified(&source[element.range()]);
        let mut attributes: Vec<_> = element
            .attributes()
            .map(|attribute| {
                let written = &source[attribute.range_qname()];
                (attribute.namespace().unwrap_or_default(), attribute.name(), written, attribute.value())
            })
            .collect();
        attributes.sort_unstable_by_key(|(namespace, local, ..)| (*namespace, *local));

        let mut used: Vec<&'a str> = vec![prefix(name)];
        used.extend(attributes.iter().map(|(_, _, written, _)| prefix(written)).filter(|prefix| !prefix.is_empty()));
        // Those kept anyway, by the names they have in this document.
        for kept in self.inclusive {
            let kept = if kept == "#default" { "" } else { kept };
            let found = element.namespaces().find(|found| found.name().unwrap_or_default() == kept);
            used.extend(found.map(|found| found.name().unwrap_or_default()));
        }
        used.sort_unstable();
        used.dedup();
        let (mut rendered, mut declared) = (None::<Rendered<'a>>, Vec::new());
        for prefix in used.into_iter().filter(|prefix| *prefix != "xml") {
            let uri =
                element.lookup_namespace_uri(Some(prefix).filter(|prefix| !prefix.is_empty())).unwrap_or_default();
            let known = rendered.as_ref().unwrap_or(above).get(prefix).copied();
            // That nothing is the default need be said only where something was.
            if known.unwrap_or_default() != uri {
                rendered.get_or_insert_with(|| above.clone()).insert(prefix, uri);
                declared.push((prefix, uri));
            }
        }

        self.out.push('<');
        self.out.push_str(name);
        for (prefix, uri) in declared {
            self.out.push_str(if prefix.is_empty() { " xmlns" } else { " xmlns:" });
            self.value(prefix, uri);
        }
        for (_, _, written, value) in attributes {
            self.out.push(' ');
            self.value(written, value);
        }
        self.out.push('>');
        let rendered = rendered.as_ref().unwrap_or(above);
        for child in element.children() {
            if self.out.len() > LONGEST {
                return refuse("sso.xml", "what is signed is too long");
            }
            if child.is_text() {
                self.text(child.text().unwrap_or_default());
            } else if child.is_element() && Some(child.id()) != self.without {
                self.element(child, rendered)?;
            }
        }
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
        Ok(())
    }

    /// A name and its value.
    fn value(&mut self, name: &str, value: &str) {
        self.out.push_str(name);
        self.out.push_str("=\"");
        for letter in value.chars() {
            match letter {
                '&' => self.out.push_str("&amp;"),
                '<' => self.out.push_str("&lt;"),
                '"' => self.out.push_str("&quot;"),
                '\t' => self.out.push_str("&#x9;"),
                '\n' => self.out.push_str("&#xA;"),
                '\r' => self.out.push_str("&#xD;"),
                other => self.out.push(other),
            }
        }
        self.out.push('"');
    }

    fn text(&mut self, text: &str) {
        for letter in text.chars() {
            match letter {
                '&' => self.out.push_str("&amp;"),
                '<' => self.out.push_str("&lt;"),
                '>' => self.out.push_str("&gt;"),
                '\r' => self.out.push_str("&#xD;"),
                other => self.out.push(other),
            }
        }
    }
}

/// The name that an element's text begins with, as it is written.
fn qualified(source: &str) -> &str {
    let name = source.strip_prefix('<').unwrap_or(source);
    let end = name.find(|letter: char| letter.is_ascii_whitespace() || matches!(letter, '/' | '>'));
    &name[..end.unwrap_or(name.len())]
}

fn prefix(name: &str) -> &str {
    name.split_once(':').map_or("", |(prefix, _)| prefix)
}

/// The prefixes that an element of a transform asks to be kept (exc-c14n section 3), if there are not too many.
pub(super) fn kept_prefixes(transform: Node<'_, '_>) -> Option<Vec<String>> {
    let Some(list) = transform.first_element_child() else { return Some(Vec::new()) };
    let asks = super::xml::is(list, ns::EXCLUSIVE, "InclusiveNamespaces") && list.next_sibling_element().is_none();
    let prefixes = super::xml::attribute(list, "PrefixList").filter(|_| asks)?;
    let prefixes: Vec<_> = prefixes.split_ascii_whitespace().map(str::to_owned).collect();
    (prefixes.len() <= 16).then_some(prefixes)
}
