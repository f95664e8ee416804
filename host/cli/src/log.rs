//! What the rooms below say while they work, for whoever looks into a problem.

use tracing_subscriber::EnvFilter;

use crate::output::Output;

/// Which messages to show, in the form of `tracing`'s filters, such as `debug` or `opsiq_egress=trace`.
const FILTER: &str = "OPSIQ_LOG";

/// The engine's crates for WASI trace what components pass them, which is tenants' content: whatever is asked for, only their
/// warnings are shown.
const CONTENT: &str = "wasmtime_wasi=warn";

/// Sends messages to standard error: warnings and errors, or what `OPSIQ_LOG` asks for. With `-o json` only what it asks for.
pub(crate) fn start(out: &Output) {
    let asked = std::env::var(FILTER).ok().filter(|filter| !filter.is_empty());
    let unasked = if out.is_json() { "off" } else { "warn" };
    let asked = asked.as_deref().unwrap_or(unasked);
    let mut filter = EnvFilter::new(asked);
    if asked != "off"
        && let Ok(bound) = CONTENT.parse()
    {
        filter = filter.add_directive(bound);
    }
    // There is no other subscriber in this process, so this cannot fail.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).try_init();
}
