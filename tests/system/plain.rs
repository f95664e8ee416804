//! A plain Wasmtime engine with its own defaults: what an attack can do where nobody guards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use wasmtime::component::{Component, Linker, Val};
use wasmtime::{Config, Engine, Store, Trap};

/// A component, ready to run.
pub(crate) struct Plain {
    engine: Engine,
    component: Component,
}

impl Plain {
    pub(crate) fn new(component: &[u8]) -> Self {
        // An epoch ends the test, not the guest: nothing else is set.
        let engine = Engine::new(Config::new().epoch_interruption(true)).unwrap();
        let component = Component::new(&engine, component).unwrap();
        Self { engine, component }
    }

    /// Runs one action: its answer, or nothing when it was still running after `time`; and how long it took.
    pub(crate) fn run(&self, action: &str, params: &str, time: Duration) -> (Option<String>, Duration) {
        let mut linker = Linker::<()>::new(&self.engine);
        let (context, clock, log) =
            ("opsiq:plugin/context@0.1.0", "opsiq:plugin/clock@0.1.0", "opsiq:plugin/log@0.1.0");
        let mut config = linker.instance(context).unwrap();
        config.func_wrap("config", |_, (): ()| Ok(("{}".to_owned(),))).unwrap();
        linker.instance(clock).unwrap().func_wrap("now-ms", |_, (): ()| Ok((1_u64,))).unwrap();
        linker.instance(log).unwrap().func_new("write", |_, _, _: &[Val], _| Ok(())).unwrap();
        linker.define_unknown_imports_as_traps(&self.component).unwrap();
        let mut store = Store::new(&self.engine, ());
        store.set_epoch_deadline(1);
        let over = Arc::new(AtomicBool::new(false));
        let (engine, seen) = (self.engine.clone(), over.clone());
        let began = Instant::now();
        let watch = std::thread::spawn(move || {
            while began.elapsed() < time && !seen.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            engine.increment_epoch();
        });
        let mut run = || -> wasmtime::Result<[Val; 1]> {
            let instance = linker.instantiate(&mut store, &self.component)?;
            let actions = instance.get_export_index(&mut store, None, "opsiq:plugin/actions@0.1.0");
            let invoke = instance.get_export_index(&mut store, actions.as_ref(), "invoke").unwrap();
            let invoke = instance.get_func(&mut store, invoke).unwrap();
            let mut results = [Val::Bool(false)];
            invoke.call(&mut store, &[Val::String(action.into()), Val::String(params.into())], &mut results)?;
            Ok(results)
        };
        let ended = run();
        let took = began.elapsed();
        over.store(true, Ordering::SeqCst);
        watch.join().unwrap();
        match ended {
            Ok([Val::Result(Ok(Some(text)))]) => match *text {
                Val::String(text) => (Some(text), took),
                other => panic!("{other:?}"),
            },
            Ok(other) => panic!("{other:?}"),
            Err(error) => {
                assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Interrupt), "{error:?}");
                (None, took)
            }
        }
    }
}
