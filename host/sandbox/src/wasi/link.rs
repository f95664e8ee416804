//! What is linked: interface by interface, as `opsiq_contract`'s judge of foreign components lists them.

use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker};
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::{cli, filesystem, random};

use crate::state::State;

/// The linker of both worlds. Sockets are not in it, whatever a contract says.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    let l = &mut linker;
    // wasi:io, wasi:clocks, the three standard streams, wasi:http
    wasmtime_wasi_http::p2::add_to_linker_async(l)?;
    cli::environment::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::exit::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_input::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_output::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_stdin::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_stdout::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_stderr::add_to_linker::<State, WasiCli>(l, State::cli)?;
    filesystem::preopens::add_to_linker::<State, WasiFilesystem>(l, State::filesystem)?;
    filesystem::types::add_to_linker::<State, WasiFilesystem>(l, State::filesystem)?;
    random::insecure::add_to_linker::<State, HasSelf<State>>(l, |state| state)?;
    random::insecure_seed::add_to_linker::<State, HasSelf<State>>(l, |state| state)?;
    // The host's randomness takes the place of the crate's own.
    l.allow_shadowing(true);
    random::random::add_to_linker::<State, HasSelf<State>>(l, |state| state)?;
    l.allow_shadowing(false);
    Ok(linker)
}

impl random::random::Host for State {
    fn get_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        self.enter(0)?;
        self.draw(length)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.enter(0)?;
        self.draw_u64()
    }
}

impl random::insecure::Host for State {
    fn get_insecure_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        self.enter(0)?;
        self.draw(length)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.enter(0)?;
        self.draw_u64()
    }
}

impl random::insecure_seed::Host for State {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        self.enter(0)?;
        Ok((self.draw_u64()?, self.draw_u64()?))
    }
}
