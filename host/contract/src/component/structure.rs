//! How much there is in a component that a compiler pays for beyond its bytes: a few bytes can declare a million
//! functions or fifty thousand locals. Counted before anything is validated or compiled, and refused by name.

use wasmparser::{Error, FunctionBody, Operator, Parser, Payload};

use super::Problem;
use crate::ceiling::DEFAULT_COMPONENT_BYTES;
use crate::visible::visible;

/// Bytes of one function's code.
const FUNCTION_BYTES: u64 = 1 << 20;
/// Locals one function declares.
const FUNCTION_LOCALS: u64 = 16_384;
/// Blocks inside one another in one function.
const NESTING: u64 = 4_096;
/// Targets of one `br_table`.
const TABLE_TARGETS: u64 = 65_536;

/// What is counted over the whole component, with everything nested in it.
#[derive(Clone, Copy)]
enum Item {
    Modules,
    Components,
    Types,
    Functions,
    Names,
    Globals,
    Tables,
    Memories,
    DataSegments,
    ElementSegments,
    Locals,
    Targets,
}

/// Each with its code, how it is called, and for how many bytes of the allowed size there may be one: a bound grows with
/// what the operator allows. Real components, interpreters among them, stay below a quarter of each.
const BOUNDS: [(Item, &str, &str, u64); 12] = [
    (Item::Modules, "component.modules", "modules", 64 << 10),
    (Item::Components, "component.components", "nested components", 64 << 10),
    (Item::Types, "component.type-count", "types", 128),
    (Item::Functions, "component.functions", "functions", 64),
    (Item::Names, "component.names", "imports, exports and aliases", 64),
    (Item::Globals, "component.globals", "globals", 128),
    (Item::Tables, "component.tables", "tables", 64 << 10),
    (Item::Memories, "component.memories", "memories", 64 << 10),
    (Item::DataSegments, "component.data-segments", "data segments", 256),
    (Item::ElementSegments, "component.element-segments", "element segments", 256),
    (Item::Locals, "component.locals", "locals", 8),
    (Item::Targets, "component.branch-targets", "targets of br_table", 16),
];

/// Counts, and refuses what is beyond a bound for components of at most `allowed` bytes. Answers how many functions there
/// are to compile.
pub(super) fn check(component: &[u8], allowed: u64) -> Result<u64, Problem> {
    // A smaller ceiling refuses by size; what is in there has no smaller measure than usual.
    let mut count = Count { allowed: allowed.max(DEFAULT_COMPONENT_BYTES), found: [0; BOUNDS.len()] };
    count.read(component)?;
    Ok(count.found[Item::Functions as usize])
}

struct Count {
    allowed: u64,
    found: [u64; BOUNDS.len()],
}

impl Count {
    fn read(&mut self, component: &[u8]) -> Result<(), Problem> {
        for payload in Parser::new(0).parse_all(component) {
            match payload.map_err(|error| malformed(&error))? {
                Payload::ModuleSection { .. } => self.add(Item::Modules, 1_u32)?,
                Payload::ComponentSection { .. } => self.add(Item::Components, 1_u32)?,
                Payload::TypeSection(types) => self.add(Item::Types, types.count())?,
                Payload::CoreTypeSection(types) => self.add(Item::Types, types.count())?,
                Payload::ComponentTypeSection(types) => self.add(Item::Types, types.count())?,
                Payload::FunctionSection(functions) => self.add(Item::Functions, functions.count())?,
                Payload::ComponentCanonicalSection(functions) => self.add(Item::Functions, functions.count())?,
                Payload::ImportSection(imports) => self.add(Item::Names, imports.count())?,
                Payload::ExportSection(exports) => self.add(Item::Names, exports.count())?,
                Payload::ComponentImportSection(imports) => self.add(Item::Names, imports.count())?,
                Payload::ComponentExportSection(exports) => self.add(Item::Names, exports.count())?,
                Payload::ComponentAliasSection(aliases) => self.add(Item::Names, aliases.count())?,
                Payload::GlobalSection(globals) => self.add(Item::Globals, globals.count())?,
                Payload::TableSection(tables) => self.add(Item::Tables, tables.count())?,
                Payload::MemorySection(memories) => self.add(Item::Memories, memories.count())?,
                Payload::DataSection(segments) => self.add(Item::DataSegments, segments.count())?,
                Payload::ElementSection(segments) => self.add(Item::ElementSegments, segments.count())?,
                Payload::CodeSectionEntry(body) => self.function(&body)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn add(&mut self, item: Item, more: impl Into<u64>) -> Result<(), Problem> {
        let found = &mut self.found[item as usize];
        *found = found.saturating_add(more.into());
        let (_, code, what, each) = BOUNDS[item as usize];
        let most = self.allowed / each;
        if *found <= most {
            return Ok(());
        }
        Err(Problem::new(
            code,
            format!("the component has more than {most} {what}"),
            "make it smaller; the bound grows with component under [ceiling] in opsiq.toml, by the operator",
        ))
    }

    fn function(&mut self, body: &FunctionBody<'_>) -> Result<(), Problem> {
        let range = body.range();
        within("component.function-size", "bytes of code", (range.end - range.start) as u64, FUNCTION_BYTES)?;
        let mut locals = 0_u64;
        for local in body.get_locals_reader().map_err(|error| malformed(&error))? {
            locals = locals.saturating_add(local.map_err(|error| malformed(&error))?.0.into());
            within("component.function-locals", "locals", locals, FUNCTION_LOCALS)?;
        }
        self.add(Item::Locals, locals)?;
        let mut nesting = 0_u64;
        for operator in body.get_operators_reader().map_err(|error| malformed(&error))? {
            match operator.map_err(|error| malformed(&error))? {
                Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } | Operator::TryTable { .. } => {
                    nesting += 1;
                    within("component.nesting", "blocks inside one another", nesting, NESTING)?;
                }
                Operator::End => nesting = nesting.saturating_sub(1),
                Operator::BrTable { targets } => {
                    let targets = u64::from(targets.len());
                    within("component.branch-table", "targets in one br_table", targets, TABLE_TARGETS)?;
                    self.add(Item::Targets, targets)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// A bound of one function, which no ceiling moves.
fn within(code: &'static str, what: &str, found: u64, most: u64) -> Result<(), Problem> {
    if found <= most {
        return Ok(());
    }
    Err(Problem::new(code, format!("a function has more than {most} {what}"), "split the function"))
}

fn malformed(error: &Error) -> Problem {
    Problem::new("component.malformed", visible(&error.to_string(), 200).text, "build the component again")
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{
        BlockType, CodeSection, Component, Function, FunctionSection, Instruction, Module, ModuleSection, TypeSection,
        ValType,
    };

    use super::*;

    /// A component of one module whose functions are all `function`.
    fn of(count: u32, function: &Function) -> Vec<u8> {
        let (mut types, mut functions, mut code) = (TypeSection::new(), FunctionSection::new(), CodeSection::new());
        types.ty().function([], []);
        for _ in 0..count {
            functions.function(0);
            code.function(function);
        }
        let mut module = Module::new();
        module.section(&types).section(&functions).section(&code);
        let mut component = Component::new();
        component.section(&ModuleSection(&module));
        component.finish()
    }

    fn function(locals: u32, body: &[Instruction<'_>]) -> Function {
        let mut function = Function::new((locals > 0).then_some((locals, ValType::I64)));
        for instruction in body {
            function.instruction(instruction);
        }
        function.instruction(&Instruction::End);
        function
    }

    fn nested(depth: usize) -> Function {
        let blocks = vec![Instruction::Block(BlockType::Empty); depth];
        function(0, &[blocks, vec![Instruction::End; depth]].concat())
    }

    fn table(targets: usize) -> Function {
        let targets = vec![0; targets].into();
        function(0, &[Instruction::I32Const(0), Instruction::BrTable(targets, 0)])
    }

    fn code(component: &[u8], allowed: u64) -> &'static str {
        check(component, allowed).map_or_else(|problem| problem.code, |_| "fits")
    }

    #[test]
    fn each_bound_has_its_place_in_the_table() {
        for (at, (item, ..)) in BOUNDS.iter().enumerate() {
            assert_eq!(*item as usize, at);
        }
    }

    #[test]
    fn functions_are_counted_and_a_higher_ceiling_allows_more() {
        let nothing = function(0, &[]);
        assert_eq!(check(&of(1000, &nothing), 0).unwrap(), 1000);
        let many = of(300_000, &nothing);
        assert_eq!(code(&many, DEFAULT_COMPONENT_BYTES), "component.functions");
        assert_eq!(code(&many, 24 << 20), "fits");
        let locals = of(2000, &function(2000, &[]));
        assert_eq!(code(&locals, DEFAULT_COMPONENT_BYTES), "component.locals");
        assert_eq!(code(&locals, 32 << 20), "fits");
        let targets = of(30, &table(60_000));
        assert_eq!(code(&targets, DEFAULT_COMPONENT_BYTES), "component.branch-targets");
        assert_eq!(code(&targets, 32 << 20), "fits");
    }

    #[test]
    fn one_function_has_bounds_of_its_own() {
        let most = |over: Function, under: Function, wanted: &str| {
            assert_eq!(code(&of(1, &over), u64::MAX), wanted);
            assert_eq!(code(&of(1, &under), 0), "fits");
        };
        most(function(16_385, &[]), function(16_384, &[]), "component.function-locals");
        most(nested(4_097), nested(4_096), "component.nesting");
        most(table(65_537), table(65_536), "component.branch-table");
        let code = |bytes| function(0, &vec![Instruction::Nop; bytes]);
        most(code(1 << 20), code((1 << 20) - 2), "component.function-size");
    }
}
