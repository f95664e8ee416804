//! An action as a run of a program: parameters on its standard input, the result on its standard output.

use opsiq_contract::CallTemplate;
use serde_json::Value;
use wasmtime::Store;
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p2::bindings::CommandPre;

use super::Ended;
use super::proxy::result;
use crate::bindings::opsiq::plugin::types::Failure;
use crate::fault::During;
use crate::state::State;

/// Runs the program once.
pub(super) async fn call(
    pre: &CommandPre<State>,
    store: &mut Store<State>,
    args: &[CallTemplate],
    config: &Value,
    params: &str,
) -> Ended {
    let given = serde_json::from_str(params).unwrap_or_default();
    // The first argument is the program's name, as everywhere.
    let program = store.data().authorized.plugin().id.clone();
    let filled = args.iter().map(|arg| arg.fill(&given, config, str::to_owned));
    let arguments = [program].into_iter().chain(filled).collect();
    store.data_mut().arm_program(arguments, params.to_owned());
    let command = pre.instantiate_async(&mut *store).await.map_err(|error| (error, During::Instantiation))?;
    let ended = match command.wasi_cli_run().call_run(&mut *store).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(())) => Err("the program ended with a failure".to_owned()),
        Err(error) => match error.downcast_ref::<I32Exit>() {
            Some(I32Exit(0)) => Ok(()),
            Some(I32Exit(status)) => Err(format!("the program ended with status {status}")),
            None => return Err((error, During::Call)),
        },
    };
    let said = store.data().foreign.as_ref().map(|foreign| foreign.console.take_result()).unwrap_or_default();
    Ok(match ended {
        Ok(()) => result(said),
        Err(message) => Err(Failure::Internal(message)),
    })
}
