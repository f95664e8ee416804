//! Components written by hand: a core module in text, wrapped as the toolchains wrap theirs.

use std::fmt::Write as _;
use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Where a guest's answer begins in its memory; [`Guest::ok`] answers from here.
pub(crate) const DATA: usize = 1024;

/// A guest in the making. `invoke` is the body of the exported function: parameters 0 to 3 are pointer and length of
/// action and params, and it leaves the address of its answer.
#[derive(Clone)]
pub(crate) struct Guest {
    imports: String,
    items: String,
    pages: u32,
    data: String,
    invoke: String,
    realloc: String,
}

impl Guest {
    pub(crate) fn new(invoke: &str) -> Self {
        Self {
            imports: String::new(),
            items: String::new(),
            pages: 2,
            data: "{}".to_owned(),
            invoke: invoke.to_owned(),
            realloc: String::new(),
        }
    }

    /// A guest that runs `body` and then answers its data.
    pub(crate) fn then_ok(body: &str) -> Self {
        Self::new(&format!("{body}\n(call $ok (i32.const {DATA}) (global.get $len))"))
    }

    /// An import: interface, function and the core type of it, named `$name` with `_` for `-`.
    pub(crate) fn import(mut self, interface: &str, function: &str, signature: &str) -> Self {
        let name = function.rsplit(['.', ']']).next().unwrap().replace('-', "_");
        let from = format!("\"opsiq:plugin/{interface}@0.1.0\" \"{function}\"");
        writeln!(self.imports, "(import {from} (func ${name} {signature}))").unwrap();
        self
    }

    /// More items of the module.
    pub(crate) fn item(mut self, item: &str) -> Self {
        self.items += item;
        self
    }

    /// What its allocator does first, which runs while parameters are passed.
    pub(crate) fn realloc(mut self, body: &str) -> Self {
        body.clone_into(&mut self.realloc);
        self
    }

    /// Pages of memory it starts with.
    pub(crate) fn pages(mut self, pages: u32) -> Self {
        self.pages = pages;
        self
    }

    /// What lies at [`DATA`], and is answered by `$ok` guests.
    pub(crate) fn data(mut self, data: &str) -> Self {
        data.clone_into(&mut self.data);
        self
    }

    fn text(&self) -> String {
        let escaped = escaped(&self.data);
        format!(
            r#"(module
{imports}
(memory (export "memory") {pages})
(global $len i32 (i32.const {len}))
(global $heap (mut i32) (i32.const 65536))
(data (i32.const {DATA}) "{escaped}")
(func $realloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
  (local $at i32)
  {realloc}
  (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
  (global.set $heap (i32.add (local.get $at) (local.get 3)))
  (local.get $at))
(func $ok (param i32 i32) (result i32)
  (i32.store (i32.const 16) (i32.const 0))
  (i32.store (i32.const 20) (local.get 0))
  (i32.store (i32.const 24) (local.get 1))
  (i32.const 16))
{items}
(func (export "opsiq:plugin/actions@0.1.0#invoke") (param i32 i32 i32 i32) (result i32) (local $n i32)
{invoke})
)"#,
            imports = self.imports,
            pages = self.pages,
            len = self.data.len(),
            items = self.items,
            realloc = self.realloc,
            invoke = self.invoke,
        )
    }

    /// The component.
    pub(crate) fn build(&self) -> Vec<u8> {
        let mut module = wat::parse_str(self.text()).unwrap();
        let mut resolve = Resolve::default();
        let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/0.1.0");
        let (package, _) = resolve.push_dir(wit).unwrap();
        let world = resolve.select_world(&[package], Some("connector")).unwrap();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
    }
}

/// Text as the text form of a module spells any bytes.
pub(crate) fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut spelt, byte| {
        write!(spelt, "\\{byte:02x}").unwrap();
        spelt
    })
}
