//! Components made to exhaust whoever compiles them: the `hello` guest, which is sound, with one more module in it.

use std::fs;

use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, Function, FunctionSection, GlobalSection, GlobalType, Instruction, Module,
    TypeSection, ValType,
};

use crate::opsiq::guest;
use crate::rewritten::{leb, with_contract};

/// `hello`, in a version of its own, with a module appended, which is instantiated: one that is not would not be compiled.
pub(crate) fn with(module: &[u8]) -> Vec<u8> {
    let hello = fs::read(guest("hello")).unwrap();
    let mut component = with_contract(&hello, |contract| contract["plugin"]["version"] = "9.9.9".into());
    let (mut depth, mut modules) = (0, 0);
    for payload in wasmparser::Parser::new(0).parse_all(&component) {
        match payload.unwrap() {
            wasmparser::Payload::ModuleSection { .. } => {
                modules += usize::from(depth == 0);
                depth += 1;
            }
            wasmparser::Payload::ComponentSection { .. } => depth += 1,
            wasmparser::Payload::End(_) => depth -= 1,
            _ => {}
        }
    }
    section(&mut component, 1, module);
    // One core instance: of that module, with no arguments.
    section(&mut component, 2, &[&[1, 0], leb(modules).as_slice(), &[0]].concat());
    component
}

fn section(component: &mut Vec<u8>, id: u8, content: &[u8]) {
    component.push(id);
    component.extend_from_slice(&leb(content.len()));
    component.extend_from_slice(content);
}

/// A module of `count` functions of no parameters, all alike, and a global they may set.
fn module(count: u32, function: &Function) -> Vec<u8> {
    let (mut types, mut functions, mut code) = (TypeSection::new(), FunctionSection::new(), CodeSection::new());
    types.ty().function([], []);
    for _ in 0..count {
        functions.function(0);
        code.function(function);
    }
    let mut globals = GlobalSection::new();
    let global = GlobalType { val_type: ValType::I64, mutable: true, shared: false };
    globals.global(global, &ConstExpr::i64_const(0));
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&globals).section(&code);
    module.finish()
}

fn function(locals: u32, body: &[Instruction<'_>]) -> Function {
    let mut function = Function::new((locals > 0).then_some((locals, ValType::I64)));
    for instruction in body {
        function.instruction(instruction);
    }
    function.instruction(&Instruction::End);
    function
}

pub(crate) fn functions(count: u32) -> Vec<u8> {
    module(count, &function(0, &[]))
}

pub(crate) fn branch_table(targets: usize) -> Vec<u8> {
    let targets = vec![0; targets].into();
    module(1, &function(0, &[Instruction::I32Const(0), Instruction::BrTable(targets, 0)]))
}

pub(crate) fn nested(depth: usize) -> Vec<u8> {
    let blocks = vec![Instruction::Block(BlockType::Empty); depth];
    module(1, &function(0, &[blocks, vec![Instruction::End; depth]].concat()))
}

pub(crate) fn locals(functions: u32, locals: u32) -> Vec<u8> {
    module(functions, &function(locals, &[]))
}

/// Within every bound, and yet: each function changes all its locals in loops inside one another, and after each loop
/// every local has one more place it may come from.
pub(crate) fn tangle(functions: u32, locals: u32, loops: usize) -> Vec<u8> {
    let mut body = vec![Instruction::Loop(BlockType::Empty); loops];
    for at in 0..loops {
        let local = u32::try_from(at).unwrap() % locals;
        body.extend([Instruction::LocalGet(local), Instruction::LocalGet((local + 1) % locals)]);
        body.extend([Instruction::I64Add, Instruction::LocalTee(local)]);
        body.extend([Instruction::I64Eqz, Instruction::BrIf(0), Instruction::End]);
    }
    module(functions, &function(locals, &body))
}

/// As many ordinary functions as fit into about `bytes`.
pub(crate) fn plain(bytes: usize) -> Vec<u8> {
    // What nobody sees, or can be known beforehand, would not be compiled.
    let mut body = Vec::new();
    for at in 0..16 {
        body.extend([Instruction::GlobalGet(0), Instruction::I64Const(i64::from(at)), Instruction::I64Add]);
        body.push(Instruction::LocalSet(at));
    }
    for at in 0..400 {
        body.extend([Instruction::LocalGet(at % 16), Instruction::I64Const(i64::from(at) * 7919)]);
        body.extend([Instruction::I64Mul, Instruction::LocalGet((at * 5) % 16), Instruction::I64Xor]);
        body.push(Instruction::LocalSet((at * 3) % 16));
    }
    for at in 0..16 {
        body.extend([Instruction::LocalGet(at), Instruction::GlobalGet(0), Instruction::I64Xor]);
        body.push(Instruction::GlobalSet(0));
    }
    let one = function(16, &body);
    let each = one.byte_len();
    module(u32::try_from(bytes / each).unwrap(), &one)
}
