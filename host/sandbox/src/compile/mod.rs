//! Compiling. A compiler works on what somebody else wrote, for as long and with as much memory as that makes it; so the
//! host starts a child of its own binary for each component, which holds no secret, opens nothing, has a bounded amount
//! of everything, and can only answer on a pipe.
//!
//! What fails closed: a child that cannot be started, confined, or that has other settings of the engine than this
//! process is a refusal; there is no way around it in this process.

mod child;
mod confine;
mod parent;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

use wasmtime::Engine;

use crate::compiled::engine_hash;
use crate::engine;
use crate::plugin::LoadError;

pub use child::compile_child;

/// The word on the command line by which a binary is asked to be the child: it then hands over to [`compile_child`]
/// before it does anything else.
pub const COMPILE_CHILD: &str = "compile-child";

/// This process's own binary, also when its file was replaced since it was started.
const THIS_BINARY: &str = "/proc/self/exe";

/// Where components are compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compiler {
    /// In a confined child, which is this program started with [`COMPILE_CHILD`].
    Child(PathBuf),
    /// In this process, bounded in time alone, and a compilation that is abandoned goes on. For tests and measures whose
    /// program cannot be started as the child.
    InProcess,
}

impl Default for Compiler {
    /// A child of this process's own binary.
    fn default() -> Self {
        Self::Child(PathBuf::from(THIS_BINARY))
    }
}

/// One component to compile.
pub(crate) struct Job {
    pub(crate) component: Vec<u8>,
    /// Whether its code counts fuel.
    pub(crate) fuel: bool,
    /// Of the engine that will run it.
    pub(crate) engine: [u8; 32],
    /// Time it may take.
    pub(crate) time: Duration,
    /// Bytes of memory it may take.
    pub(crate) memory: u64,
}

impl Compiler {
    /// The machine code of a component, which nobody vouches for yet.
    pub(crate) async fn compile(&self, job: Job) -> Result<Vec<u8>, LoadError> {
        match self {
            Self::Child(program) => parent::compile(program, job).await,
            Self::InProcess => {
                let most = job.time;
                let work = tokio::task::spawn_blocking(move || code(&job));
                match tokio::time::timeout(most, work).await {
                    Ok(Ok(code)) => code.map_err(LoadError::Compile),
                    Ok(Err(panicked)) => Err(LoadError::Compile(format!("the compiler failed: {panicked}"))),
                    Err(_) => Err(LoadError::TooSlow(most.as_millis())),
                }
            }
        }
    }
}

/// Compiles, wherever this is.
fn code(job: &Job) -> Result<Vec<u8>, String> {
    let shown = |error: wasmtime::Error| format!("{error:#}");
    let engine = Engine::new(&engine::code_settings(job.fuel)).map_err(shown)?;
    if engine_hash(&engine) != job.engine {
        return Err("the engine that compiles has other settings than the one that runs".to_owned());
    }
    engine.precompile_component(&job.component).map_err(shown)
}
