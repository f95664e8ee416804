use std::sync::atomic::AtomicUsize;

use super::*;

const NOW_S: i64 = 1_700_000_000;
const NOW: i64 = NOW_S * 1000;

fn key_id(text: &str) -> KeyId {
    text.parse().unwrap()
}

fn till() -> KeyId {
    key_id("acme/till/1")
}

fn take(nonces: &Nonces, nonce: &str) -> Result<Ticket, NotTaken> {
    nonces.take(&till(), nonce, NOW_S, NOW)
}

#[test]
fn of_many_copies_one_is_taken() {
    let nonces = Nonces::load(0, Vec::new());
    let taken = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    match take(&nonces, "n") {
                        Ok(_) => _ = taken.fetch_add(1, Ordering::Relaxed),
                        Err(error) => assert_eq!(error, NotTaken::Replayed),
                    }
                }
            });
        }
    });
    assert_eq!(taken.into_inner(), 1);
}

#[test]
fn clients_and_tenants_have_nonces_of_their_own() {
    let nonces = Nonces::load(0, Vec::new());
    for id in ["acme/till/1", "acme/shop/1", "beta/till/1"] {
        assert!(nonces.take(&key_id(id), "n", NOW_S, NOW).is_ok(), "{id}");
    }
    // The version is no part of it: a request is the same whichever secret signs it.
    assert_eq!(nonces.take(&key_id("acme/till/2"), "n", NOW_S, NOW), Err(NotTaken::Replayed));
    assert_eq!(nonces.len(), 3);
}

/// Whatever was taken is in the next commit, and in the next until one ends well.
#[test]
fn what_is_taken_is_written_until_it_is_durable() {
    let nonces = Nonces::load(0, Vec::new());
    nonces.begin();
    nonces.end(Some(0));
    assert!(!nonces.is_waiting());
    let first = take(&nonces, "a").unwrap();
    assert!(nonces.is_waiting() && !nonces.is_durable(first));
    let writing = nonces.begin();
    assert_eq!(writing.add.len(), 1);
    let second = take(&nonces, "b").unwrap();
    nonces.end(None);
    assert!(!nonces.is_durable(first));
    assert_eq!(nonces.begin().add.len(), 2);
    nonces.end(Some(0));
    assert!(nonces.is_durable(first) && nonces.is_durable(second));
    let third = take(&nonces, "c").unwrap();
    assert_eq!(nonces.begin().add.len(), 1);
    assert!(!nonces.is_durable(third));
}

/// Taken during a commit, it is not durable with that commit.
#[test]
fn a_commit_makes_durable_only_what_was_taken_before_it_began() {
    let nonces = Nonces::load(0, Vec::new());
    let first = take(&nonces, "a").unwrap();
    nonces.begin();
    let second = take(&nonces, "b").unwrap();
    nonces.end(Some(0));
    assert!(nonces.is_durable(first) && !nonces.is_durable(second));
}

#[test]
fn the_next_process_knows_what_was_written() {
    let nonces = Nonces::load(0, Vec::new());
    take(&nonces, "a").unwrap();
    let rows = nonces.begin().add;
    let next = Nonces::load(0, rows);
    assert_eq!(take(&next, "a"), Err(NotTaken::Replayed));
    assert!(take(&next, "b").is_ok());
}

#[test]
fn what_is_dropped_stays_refused_whatever_the_clock_says() {
    let nonces = Nonces::load(0, Vec::new());
    take(&nonces, "a").unwrap();
    // Two windows later it is dropped.
    let later_s = NOW_S + 2 * WINDOW_S;
    nonces.take(&till(), "b", later_s, later_s * 1000).unwrap();
    assert_eq!(nonces.len(), 1);
    // The clock goes back to when it was made.
    assert_eq!(take(&nonces, "a"), Err(NotTaken::Forgotten));
    // As does the next process.
    let writing = nonces.begin();
    let floor_ms = writing.floor_ms.unwrap();
    assert!(floor_ms >= (NOW_S + WINDOW_S) * 1000 && floor_ms <= later_s * 1000);
    let next = Nonces::load(floor_ms, writing.add);
    assert_eq!(take(&next, "a"), Err(NotTaken::Forgotten));
    assert_eq!(next.take(&till(), "b", later_s, later_s * 1000), Err(NotTaken::Replayed));
}

/// No nonce goes while its request could be accepted: at each second of a day of requests.
#[test]
fn nothing_is_dropped_while_it_could_be_accepted() {
    let nonces = Nonces::load(0, Vec::new());
    for second in 0..2_000 {
        let now_s = NOW_S + second;
        for created in [now_s - WINDOW_S, now_s, now_s + WINDOW_S] {
            let nonce = format!("{created} of {now_s}");
            assert!(nonces.take(&till(), &nonce, created, now_s * 1000).is_ok(), "{second}");
            for again_s in [now_s, created + WINDOW_S] {
                let again = nonces.take(&till(), &nonce, created, again_s.min(now_s) * 1000);
                assert_eq!(again, Err(NotTaken::Replayed), "{second}");
            }
        }
    }
    assert!(nonces.len() < 3 * 1_000, "old ones go: {}", nonces.len());
}

#[test]
fn rows_are_dropped_a_few_with_each_commit() {
    let nonces = Nonces::load(0, Vec::new());
    assert!(nonces.begin().floor_ms.is_some());
    nonces.end(Some(u64::from(DROP_ROWS)));
    assert!(nonces.is_waiting(), "there may be more");
    assert!(nonces.begin().floor_ms.is_some());
    nonces.end(Some(3));
    assert!(!nonces.is_waiting());
    assert!(nonces.begin().floor_ms.is_none());
}

#[test]
fn a_tenant_has_its_share() {
    let nonces = Nonces::load(0, Vec::new());
    for at in 0..TENANT_MOST {
        assert!(nonces.take(&till(), &at.to_string(), NOW_S, NOW).is_ok());
        if at % 10_000 == 0 {
            nonces.begin();
            nonces.end(Some(0));
        }
    }
    assert_eq!(take(&nonces, "one more"), Err(NotTaken::Full { tenant: true }));
    assert!(nonces.take(&key_id("beta/till/1"), "n", NOW_S, NOW).is_ok());
    // Its own replays are told as such all the same.
    assert_eq!(take(&nonces, "0"), Err(NotTaken::Replayed));
}

/// While nothing can be written, what waits does not grow for ever.
#[test]
fn no_more_are_taken_than_can_wait() {
    let nonces = Nonces::load(0, Vec::new());
    for at in 0..WAITING_MOST {
        assert!(nonces.take(&till(), &at.to_string(), NOW_S, NOW).is_ok());
        if at == WAITING_MOST / 2 {
            nonces.begin();
            nonces.end(None);
        }
    }
    assert_eq!(take(&nonces, "one more"), Err(NotTaken::Full { tenant: false }));
    nonces.begin();
    nonces.end(Some(0));
    assert!(take(&nonces, "one more").is_ok());
}
