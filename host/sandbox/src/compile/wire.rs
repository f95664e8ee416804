//! What host and child say to each other: one job in, one answer out, each over a pipe and to its end.

use std::io::{self, Read, Write};
use std::time::Duration;

use super::Job;

/// First bytes both ways; the last one is the version of this form.
const MAGIC: &[u8; 8] = b"opsiqcj\x01";
const HASH: usize = 32;
const JOB_HEAD: usize = MAGIC.len() + HASH + 1 + 8 + 8;
const ANSWER_HEAD: usize = MAGIC.len() + HASH + 1;
/// Bytes of what is said beside code.
const TEXT_MAX: usize = 2048;

/// What came of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Code follows.
    Compiled,
    /// The component is at fault; why follows.
    Invalid,
    /// There was not enough memory.
    Memory,
    /// The child could not confine itself; why follows.
    Open,
}

impl Verdict {
    const ALL: [Self; 4] = [Self::Compiled, Self::Invalid, Self::Memory, Self::Open];

    fn byte(self) -> u8 {
        self as u8
    }
}

/// One answer.
pub(super) struct Answer {
    /// Of the engine that compiled; zeros when it came to none.
    pub(super) engine: [u8; HASH],
    pub(super) verdict: Verdict,
    pub(super) body: Vec<u8>,
}

pub(super) fn write_job(to: &mut impl Write, job: &Job) -> io::Result<()> {
    let mut head = Vec::with_capacity(JOB_HEAD);
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&job.engine);
    head.push(u8::from(job.fuel));
    head.extend_from_slice(&job.memory.to_be_bytes());
    head.extend_from_slice(&u64::try_from(job.time.as_millis()).unwrap_or(u64::MAX).to_be_bytes());
    to.write_all(&head)?;
    to.write_all(&job.component)
}

/// What precedes the component, without it: its bytes are to be read once the limits are in force.
pub(super) fn read_job_head(from: &mut impl Read) -> io::Result<Job> {
    let mut head = [0; JOB_HEAD];
    from.read_exact(&mut head)?;
    let mut rest = head.as_slice();
    if take(&mut rest) != *MAGIC {
        return Err(io::Error::other("this is no job"));
    }
    let (engine, [fuel], memory, time) = (take(&mut rest), take(&mut rest), take(&mut rest), take(&mut rest));
    Ok(Job {
        component: Vec::new(),
        fuel: fuel != 0,
        engine,
        time: Duration::from_millis(u64::from_be_bytes(time)),
        memory: u64::from_be_bytes(memory),
    })
}

pub(super) fn write_answer(to: &mut impl Write, engine: &[u8; HASH], verdict: Verdict, body: &[u8]) -> io::Result<()> {
    let body = if verdict == Verdict::Compiled { body } else { &body[..body.len().min(TEXT_MAX)] };
    let mut head = Vec::with_capacity(ANSWER_HEAD);
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(engine);
    head.push(verdict.byte());
    to.write_all(&head)?;
    to.write_all(body)?;
    to.flush()
}

/// The answer in `bytes`, if there is one.
pub(super) fn read_answer(mut bytes: Vec<u8>) -> Option<Answer> {
    let mut head = bytes.get(..ANSWER_HEAD)?;
    if take(&mut head) != *MAGIC {
        return None;
    }
    let (engine, [verdict]) = (take(&mut head), take(&mut head));
    let verdict = Verdict::ALL.into_iter().find(|known| known.byte() == verdict)?;
    bytes.drain(..ANSWER_HEAD);
    Some(Answer { engine, verdict, body: bytes })
}

/// The first bytes of a head whose length was checked.
fn take<const N: usize>(from: &mut &[u8]) -> [u8; N] {
    let mut taken = [0; N];
    // The heads are exactly as long as what is taken from them; zeros would be no magic and no verdict of worth.
    let _ = from.read_exact(&mut taken);
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let job = Job {
            component: b"component".to_vec(),
            fuel: true,
            engine: [7; HASH],
            time: Duration::from_millis(1234),
            memory: 1 << 40,
        };
        let mut pipe = Vec::new();
        write_job(&mut pipe, &job).unwrap();
        let mut rest = pipe.as_slice();
        let read = read_job_head(&mut rest).unwrap();
        assert_eq!((read.fuel, read.engine, read.time, read.memory), (true, [7; HASH], job.time, job.memory));
        assert_eq!(rest, b"component");
        for verdict in Verdict::ALL {
            let mut pipe = Vec::new();
            write_answer(&mut pipe, &[9; HASH], verdict, b"body").unwrap();
            let answer = read_answer(pipe).unwrap();
            assert_eq!(
                (answer.engine, answer.verdict, answer.body.as_slice()),
                ([9; HASH], verdict, b"body".as_slice())
            );
        }
    }

    #[test]
    fn anything_else_is_no_answer() {
        let mut good = Vec::new();
        write_answer(&mut good, &[9; HASH], Verdict::Compiled, b"code").unwrap();
        for cut in 0..ANSWER_HEAD {
            assert!(read_answer(good[..cut].to_vec()).is_none(), "{cut}");
        }
        for (at, byte) in [(0, b'x'), (7, 2), (ANSWER_HEAD - 1, 4)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert!(read_answer(bad).is_none(), "{at}");
        }
        assert!(read_job_head(&mut good.as_slice()).is_err());
    }
}
