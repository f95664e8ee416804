//! `make bench`: what the guards cost, as ratios within one run. Absolute times depend on the machine and are shown
//! only to make the ratios readable.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used)]

mod measure;
mod raw;

use std::time::Duration;

use measure::{Row, rounds};
use raw::{Raw, Setting};

fn main() {
    let guest = std::fs::read(std::env::args().nth(1).expect("a component")).unwrap();
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (action, params) = (&"greet".to_owned(), &r#"{"name":"Ada"}"#.to_owned());
    let pooled = Raw::new(&guest, Setting::Pooled, false).unwrap();
    let defaults = Raw::new(&guest, Setting::PoolDefaults, false).unwrap();
    let on_demand = Raw::new(&guest, Setting::OnDemand, false).unwrap();
    let mut rows = [
        Row::repeat("raw, pooled and tuned, sync", 100, || {
            pooled.fresh(action, params).unwrap();
        }),
        Row::repeat("raw, pooled and tuned, async", 100, || {
            rt.block_on(pooled.fresh_async(action, params)).unwrap();
        }),
        Row::repeat("raw, pool defaults", 100, || {
            defaults.fresh(action, params).unwrap();
        }),
        Row::repeat("raw, on demand", 100, || {
            on_demand.fresh(action, params).unwrap();
        }),
    ];
    for (name, s) in rounds(&mut rows, 5, Duration::from_millis(300)) {
        println!("{name:40} {:8.2} us CPU {:10.0}/s", s.cpu_us, s.per_second);
    }
}
