//! Writes arbitrary core modules to standard output, each preceded by its length as four little-endian bytes.
//!
//! `opsiq-smith SEED FROM COUNT EXPORTS IMPORTS`: COUNT modules from number FROM on; the module of a seed and a number is always the same. EXPORTS is a module
//! whose exports each one has, IMPORTS one whose imports it may have. A length of 0 stands for a number of which no module
//! could be made.

use std::io::{self, Write};
use std::process::ExitCode;

use arbitrary::Unstructured;
use wasm_smith::{Config, Module};

/// Bytes that decide about a module. More make it larger.
const BYTES: usize = 4096;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        // Who reads has enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("opsiq-smith: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [seed, from, count, exports, imports] = args.as_slice() else {
        return Err(io::Error::other("usage: opsiq-smith SEED FROM COUNT EXPORTS IMPORTS"));
    };
    let number = |text: &String| text.parse::<u64>().map_err(|_| io::Error::other(format!("{text} is no number")));
    let (seed, from, count) = (number(seed)?, number(from)?, number(count)?);
    let (exports, imports) = (std::fs::read(exports)?, std::fs::read(imports)?);
    let mut out = io::stdout().lock();
    for nth in from..from + count {
        let module = module(seed, nth, &exports, &imports).unwrap_or_default();
        let length = u32::try_from(module.len()).map_err(io::Error::other)?;
        out.write_all(&length.to_le_bytes())?;
        out.write_all(&module)?;
    }
    out.flush()
}

fn module(seed: u64, nth: u64, exports: &[u8], imports: &[u8]) -> Option<Vec<u8>> {
    let bytes = random(seed, nth);
    let mut bytes = Unstructured::new(&bytes);
    Some(Module::new(config(nth, exports, imports), &mut bytes).ok()?.to_bytes())
}

/// What the host runs, with calls of every import; every fourth module also uses what it does not run.
fn config(nth: u64, exports: &[u8], imports: &[u8]) -> Config {
    let all = nth % 4 == 3;
    Config {
        exports: Some(exports.to_vec()),
        available_imports: Some(imports.to_vec()),
        allow_start_export: true,
        max_memories: 4,
        max_tables: 4,
        max_instructions: 1000,
        memory64_enabled: all,
        threads_enabled: all,
        exceptions_enabled: all,
        gc_enabled: all,
        reference_types_enabled: all,
        tail_call_enabled: all,
        relaxed_simd_enabled: all,
        wide_arithmetic_enabled: all,
        custom_page_sizes_enabled: all,
        extended_const_enabled: all,
        ..Config::default()
    }
}

/// Bytes of a seed and a number (SplitMix64).
fn random(seed: u64, nth: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ nth.wrapping_mul(0xd1b5_4a32_d192_ed03);
    let mut bytes = Vec::with_capacity(BYTES);
    while bytes.len() < BYTES {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes
}
