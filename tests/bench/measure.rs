//! How a row is measured: rows take turns in rounds, so that a machine whose speed drifts drifts for all of them, and
//! the median round is shown. CPU time is the process's, all threads together.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// CPU time this process has used.
fn cpu() -> Duration {
    let t = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(t.tv_sec).unwrap_or(0), u32::try_from(t.tv_nsec).unwrap_or(0))
}

/// One measured stretch: so many operations, and what they took.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    /// CPU microseconds an operation.
    pub(crate) cpu_us: f64,
    /// Operations a second of wall time.
    pub(crate) per_second: f64,
}

/// Runs `work`, which answers how many operations it did.
pub(crate) fn sample(work: impl FnOnce() -> u64) -> Sample {
    let (cpu_before, before) = (cpu(), Instant::now());
    let ops = work().max(1);
    let (wall, used) = (before.elapsed(), cpu().saturating_sub(cpu_before));
    #[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let ops = ops as f64;
    Sample { cpu_us: used.as_secs_f64() * 1e6 / ops, per_second: ops / wall.as_secs_f64() }
}

/// A named row and how to run it for about a given time.
pub(crate) struct Row<'a> {
    pub(crate) name: &'static str,
    pub(crate) run: Box<dyn FnMut(Duration) -> u64 + 'a>,
}

impl<'a> Row<'a> {
    /// A row whose operation is called again and again until its time is over, the clock being read every `batch` calls.
    pub(crate) fn repeat(name: &'static str, batch: u64, mut op: impl FnMut() + 'a) -> Self {
        let run = Box::new(move |time: Duration| {
            let (start, mut done) = (Instant::now(), 0);
            while start.elapsed() < time {
                for _ in 0..batch {
                    op();
                }
                done += batch;
            }
            done
        });
        Self { name, run }
    }

    /// A row that drives itself for the given time and answers how many operations it did.
    pub(crate) fn driven(name: &'static str, run: impl FnMut(Duration) -> u64 + 'a) -> Self {
        Self { name, run: Box::new(run) }
    }
}

/// Measures all rows in `rounds` turns of `time` each after one turn of warm-up; the median of each row by CPU.
pub(crate) fn rounds(rows: &mut [Row<'_>], rounds: usize, time: Duration) -> Vec<(&'static str, Sample)> {
    let mut samples: Vec<Vec<Sample>> = rows.iter().map(|_| Vec::with_capacity(rounds)).collect();
    for round in 0..=rounds {
        for (row, samples) in rows.iter_mut().zip(&mut samples) {
            let s = sample(|| (row.run)(time));
            if round > 0 {
                samples.push(s);
            }
        }
    }
    let median = |mut of: Vec<Sample>| {
        of.sort_by(|a, b| a.cpu_us.total_cmp(&b.cpu_us));
        of[of.len() / 2]
    };
    rows.iter().zip(samples).map(|(row, samples)| (row.name, median(samples))).collect()
}
