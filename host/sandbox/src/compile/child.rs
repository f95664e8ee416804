//! The child's side: confine this process, compile what comes in, answer, end.

use std::io::{self, Read as _};
use std::process::ExitCode;

use super::{Job, code, confine, wire};
use crate::compile::wire::Verdict;

/// Why there is no code, and what to say of it.
type No = (Verdict, String);

/// Is the child: reads one job from standard input, answers on standard output, and says how it ended. To be called
/// first thing in a process that was started with [`COMPILE_CHILD`](super::COMPILE_CHILD), while it has one thread and no
/// file of its own open: everything but the three standard streams is closed.
pub fn compile_child() -> ExitCode {
    let mut engine = [0; 32];
    let (verdict, body) = match work(&mut engine) {
        Ok(code) => (Verdict::Compiled, code),
        Err((verdict, why)) => (verdict, why.into_bytes()),
    };
    match wire::write_answer(&mut io::stdout(), &engine, verdict, &body) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever asked is gone.
        Err(_) => ExitCode::FAILURE,
    }
}

fn work(engine: &mut [u8; 32]) -> Result<Vec<u8>, No> {
    let open = |what: &str, error: io::Error| (Verdict::Open, format!("{what}: {error}"));
    confine::alone().map_err(|error| open("it could not be set apart", error))?;
    let mut stdin = io::stdin().lock();
    let mut job = wire::read_job_head(&mut stdin).map_err(|error| open("no job came", error))?;
    confine::limit(&job).map_err(|error| open("its limits could not be set", error))?;
    // Bounded by its memory; the one who sends it has asked for its size before.
    stdin.read_to_end(&mut job.component).map_err(|error| (Verdict::Memory, error.to_string()))?;
    confine::shut().map_err(|error| open("it could not be confined", error))?;
    let code = compiled(&job)?;
    *engine = job.engine;
    Ok(code)
}

fn compiled(job: &Job) -> Result<Vec<u8>, No> {
    code(job).map_err(|why| {
        // The system's own word for it, wherever in the engine it came up.
        let memory = why.contains(&io::Error::from_raw_os_error(libc::ENOMEM).to_string());
        (if memory { Verdict::Memory } else { Verdict::Invalid }, why)
    })
}
