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

/// What operations took together.
#[derive(Clone, Copy, Default)]
struct Spent {
    ops: u64,
    cpu: Duration,
    wall: Duration,
}

impl Spent {
    /// Runs `work`, which answers how many operations it did.
    fn on(work: impl FnOnce() -> u64) -> Self {
        let (cpu_before, before) = (cpu(), Instant::now());
        let ops = work();
        Self { ops, wall: before.elapsed(), cpu: cpu().saturating_sub(cpu_before) }
    }

    fn add(&mut self, more: Self) {
        self.ops += more.ops;
        self.cpu += more.cpu;
        self.wall += more.wall;
    }

    fn each(self) -> Sample {
        #[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
        let ops = self.ops.max(1) as f64;
        Sample { cpu_us: self.cpu.as_secs_f64() * 1e6 / ops, per_second: ops / self.wall.as_secs_f64() }
    }
}

/// Runs `work`, which answers how many operations it did.
pub(crate) fn sample(work: impl FnOnce() -> u64) -> Sample {
    Spent::on(work).each()
}

/// What a row is to reach.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// CPU time an operation, at most so many times the floor's.
    Ratio(f64),
    /// Operations a second of wall time, at least.
    Rate(f64),
    /// Operations a second of wall time, at least so many times those of the row of this name.
    Scale(f64, &'static str),
}

/// A named row and how to run it for about a given time.
pub(crate) struct Row<'a> {
    pub(crate) name: &'static str,
    run: Box<dyn FnMut(Duration) -> Spent + 'a>,
    goals: Vec<Goal>,
}

impl<'a> Row<'a> {
    /// A row whose operation is called again and again until its time is over, the clock being read every `batch` calls.
    pub(crate) fn repeat(name: &'static str, batch: u64, mut op: impl FnMut() + 'a) -> Self {
        Self::driven(name, move |time| {
            let (start, mut done) = (Instant::now(), 0);
            while start.elapsed() < time {
                for _ in 0..batch {
                    op();
                }
                done += batch;
            }
            done
        })
    }

    /// A row whose operation takes what was made for it before; only the operation is measured, `batch` calls at a time.
    pub(crate) fn prepared<T>(
        name: &'static str,
        batch: usize,
        mut make: impl FnMut() -> T + 'a,
        mut op: impl FnMut(T) + 'a,
    ) -> Self {
        let run = move |time: Duration| {
            let mut spent = Spent::default();
            while spent.wall < time {
                let ready: Vec<T> = (0..batch).map(|_| make()).collect();
                spent.add(Spent::on(|| {
                    ready.into_iter().for_each(&mut op);
                    batch as u64
                }));
            }
            spent
        };
        Self { name, run: Box::new(run), goals: Vec::new() }
    }

    /// A row whose operation `threads` threads repeat side by side, each one its own that `make` makes there.
    pub(crate) fn threads<F: FnMut()>(name: &'static str, threads: usize, make: impl Fn() -> F + Sync + 'a) -> Self {
        let run = move |time: Duration| {
            let work = || {
                let (mut op, start, mut done) = (make(), Instant::now(), 0_u64);
                while start.elapsed() < time {
                    for _ in 0..16 {
                        op();
                    }
                    done += 16;
                }
                done
            };
            std::thread::scope(|scope| {
                let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
                work() + others.into_iter().map(|other| other.join().unwrap()).sum::<u64>()
            })
        };
        Self::driven(name, run)
    }

    /// A row that drives itself for the given time and answers how many operations it did.
    pub(crate) fn driven(name: &'static str, mut run: impl FnMut(Duration) -> u64 + 'a) -> Self {
        let run = Box::new(move |time| Spent::on(|| run(time)));
        Self { name, run, goals: Vec::new() }
    }

    /// Says what the row is to reach.
    pub(crate) fn goal(mut self, goal: Goal) -> Self {
        self.goals.push(goal);
        self
    }
}

/// Measures rows and prints them as a table under `title`: CPU time and wall rate of each, the CPU time as a multiple of
/// the cheapest row whose name begins with `floor`, and how each stands to its goals. `only` leaves out rows whose names
/// do not hold it.
pub(crate) fn table(
    title: &str,
    floor: &str,
    only: Option<&str>,
    mut rows: Vec<Row<'_>>,
    turns: usize,
    time: Duration,
) {
    rows.retain(|row| only.is_none_or(|only| row.name.contains(only)));
    if rows.is_empty() {
        return;
    }
    let samples = rounds(&mut rows, turns, time);
    let named = |name: &str| samples.iter().find(|(row, _)| *row == name).map_or(f64::NAN, |(_, s)| s.per_second);
    let floors = samples.iter().filter(|(name, _)| name.starts_with(floor));
    let floor = floors.map(|(_, sample)| sample.cpu_us).fold(f64::NAN, f64::min);
    println!("\n{title:46}    CPU us   x floor       per s   goal");
    for (row, (name, sample)) in rows.iter().zip(&samples) {
        let ratio = sample.cpu_us / floor;
        print!("{name:46} {:9.2} {ratio:9.2} {:11.0}", sample.cpu_us, sample.per_second);
        for goal in &row.goals {
            let (met, text) = match *goal {
                Goal::Ratio(most) => (ratio <= most, format!("at most {most} x floor")),
                Goal::Rate(least) => (sample.per_second >= least, format!("at least {least} per s")),
                Goal::Scale(least, one) => {
                    let times = sample.per_second / named(one);
                    (times >= least, format!("{times:.2} times one, at least {least}"))
                }
            };
            print!("   {text}: {}", if met { "pass" } else { "FAIL" });
        }
        println!();
    }
}

/// Prints what is one figure under `title`: a name, a value, and what it is to be at most.
pub(crate) fn figures(title: &str, only: Option<&str>, rows: &[Figure]) {
    let rows: Vec<_> = rows.iter().filter(|row| only.is_none_or(|only| row.name.contains(only))).collect();
    if rows.is_empty() {
        return;
    }
    println!("\n{title:46}       value   goal");
    for Figure { name, value, unit, most } in rows {
        print!("{name:46} {value:9.2} {unit}");
        if let Some(most) = most {
            print!("   at most {most} {unit}: {}", if value <= most { "pass" } else { "FAIL" });
        }
        println!();
    }
}

/// One figure.
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) most: Option<f64>,
}

impl Figure {
    pub(crate) fn new(name: impl Into<String>, value: f64, unit: &'static str, most: impl Into<Option<f64>>) -> Self {
        Self { name: name.into(), value, unit, most: most.into() }
    }
}

/// Measures all rows in `rounds` turns of `time` each after one turn of warm-up; the median of each row by CPU.
fn rounds(rows: &mut [Row<'_>], rounds: usize, time: Duration) -> Vec<(&'static str, Sample)> {
    let mut samples: Vec<Vec<Sample>> = rows.iter().map(|_| Vec::with_capacity(rounds)).collect();
    for round in 0..=rounds {
        for (row, samples) in rows.iter_mut().zip(&mut samples) {
            let spent = (row.run)(time);
            if round > 0 {
                samples.push(spent.each());
            }
        }
    }
    let median = |mut of: Vec<Sample>| {
        of.sort_by(|a, b| a.cpu_us.total_cmp(&b.cpu_us));
        of[of.len() / 2]
    };
    rows.iter().zip(samples).map(|(row, samples)| (row.name, median(samples))).collect()
}
