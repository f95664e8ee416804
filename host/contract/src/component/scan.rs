//! The bare facts of some bytes: imports, exports, contract sections, tools.

use wasmparser::{ComponentExternalKind, ComponentTypeRef, Encoding, KnownCustom, Parser, Payload};

use super::{CONTRACT_SECTION, Kind};
use crate::visible::visible;

/// Components and modules inside one another, at most.
const MAX_NESTING: usize = 64;
/// Imports and exports listed, at most; a component with more is refused.
const MAX_ITEMS: usize = 1_000;
/// Tools listed, at most.
const MAX_TOOLS: usize = 16;
/// Characters of a name shown, at most.
const MAX_NAME: usize = 200;

/// An import or export.
pub(super) struct Item {
    /// As it stands, for comparing.
    pub(super) name: String,
    /// Whether it is an interface rather than a bare function, type or the like.
    pub(super) interface: bool,
}

impl Item {
    /// The name for showing.
    pub(super) fn shown(&self) -> String {
        visible(&self.name, MAX_NAME).text
    }
}

pub(super) struct Scan<'a> {
    pub(super) kind: Kind,
    pub(super) imports: Vec<Item>,
    pub(super) exports: Vec<Item>,
    pub(super) contracts: Vec<&'a [u8]>,
    pub(super) tools: Vec<String>,
    /// Why the rest could not be read.
    pub(super) error: Option<String>,
}

impl Default for Scan<'_> {
    fn default() -> Self {
        Self {
            kind: Kind::Other,
            imports: Vec::new(),
            exports: Vec::new(),
            contracts: Vec::new(),
            tools: Vec::new(),
            error: None,
        }
    }
}

impl<'a> Scan<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        let mut scan = Self::default();
        if bytes.starts_with(b"\0asm")
            && let Err(error) = scan.read(bytes)
        {
            scan.error = Some(error);
        }
        scan
    }

    fn read(&mut self, bytes: &'a [u8]) -> Result<(), String> {
        let text = |error: wasmparser::Error| visible(&error.to_string(), MAX_NAME).text;
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload.map_err(text)?;
            match payload {
                Payload::Version { encoding, .. } if depth == 0 => {
                    self.kind = if encoding == Encoding::Component { Kind::Component } else { Kind::CoreModule };
                }
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                    depth += 1;
                    if depth > MAX_NESTING {
                        return Err(format!("components nested more than {MAX_NESTING} deep"));
                    }
                }
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(section) if depth == 0 => {
                    for import in section {
                        let import = import.map_err(text)?;
                        let interface = matches!(import.ty, ComponentTypeRef::Instance(_));
                        add(&mut self.imports, import.name.name.to_owned(), interface)?;
                    }
                }
                Payload::ComponentExportSection(section) if depth == 0 => {
                    for export in section {
                        let export = export.map_err(text)?;
                        let interface = export.kind == ComponentExternalKind::Instance;
                        add(&mut self.exports, export.name.name.to_owned(), interface)?;
                    }
                }
                Payload::ImportSection(section) if depth == 0 => {
                    for import in section.into_imports() {
                        let import = import.map_err(text)?;
                        add(&mut self.imports, format!("{}#{}", import.module, import.name), false)?;
                    }
                }
                Payload::CustomSection(section) => {
                    if depth == 0 && section.name() == CONTRACT_SECTION {
                        self.contracts.push(section.data());
                    }
                    if let KnownCustom::Producers(producers) = section.as_known() {
                        self.producers(producers);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What made it. Only advice depends on this, so what cannot be read is passed over.
    fn producers(&mut self, section: wasmparser::ProducersSectionReader<'_>) {
        for field in section.into_iter().map_while(Result::ok) {
            for value in field.values.into_iter().map_while(Result::ok) {
                let tool = format!("{} {}", value.name, value.version);
                let tool = visible(tool.trim(), 64).text;
                if self.tools.len() < MAX_TOOLS && !self.tools.contains(&tool) {
                    self.tools.push(tool);
                }
            }
        }
    }
}

fn add(items: &mut Vec<Item>, name: String, interface: bool) -> Result<(), String> {
    if items.len() >= MAX_ITEMS {
        return Err(format!("more than {MAX_ITEMS} imports or exports"));
    }
    items.push(Item { name, interface });
    Ok(())
}
