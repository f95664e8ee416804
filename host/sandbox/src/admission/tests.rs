//! The doors around the scheduler: who waits, who gives up, and what is given back.

use super::*;

async fn enter(admission: &Arc<Admission>, tenant: &str, installation: usize) -> Result<Place, Full> {
    let (tenant, installation) =
        (tenant.parse().unwrap(), format!("00000000-0000-4000-8000-{installation:012}").parse().unwrap());
    let who = Who { tenant: &tenant, installation: &installation, name: "shop", family: "acme/shop" };
    admission.enter(who, Class::Small, 1).await
}

#[tokio::test]
async fn who_waits_gets_in_and_who_waited_too_long_does_not() {
    let text = "[fairness.host]\nqueue-wait = \"500ms\"\n[fairness.each-tenant]\nconcurrency = 1\n";
    let admission = Arc::new(Admission::new(&Fairness::parse_toml(text).unwrap(), [8, 8]));
    let held = enter(&admission, "acme", 1).await.unwrap();
    let (waited, ()) = tokio::join!(enter(&admission, "acme", 2), async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        drop(held);
    });
    let held = waited.unwrap();
    let full = enter(&admission, "acme", 1).await.unwrap_err();
    assert_eq!(full.name, "limit.tenant.queue-wait");
    let other = enter(&admission, "other", 3).await;
    assert!(other.is_ok(), "another tenant is not kept waiting");
    // A caller that goes away leaves the queue.
    let gone = tokio::time::timeout(Duration::from_millis(5), enter(&admission, "acme", 2)).await;
    assert!(gone.is_err());
    drop(held);
    assert!(enter(&admission, "acme", 1).await.is_ok());
}

#[tokio::test]
async fn turns_are_handed_on_and_given_back() {
    let admission = Arc::new(Admission::new(&Fairness::parse_toml("[fairness]\ncomputing = 1\n").unwrap(), [8, 8]));
    let seat = async |tenant, installation| enter(&admission, tenant, installation).await.unwrap().seat();
    let (mut first, mut second, mut third) = (seat("acme", 1).await, seat("other", 2).await, seat("acme", 1).await);
    let cx = Context::from_waker(Waker::noop());
    assert!(first.poll_turn(&cx).is_ready());
    assert!(second.poll_turn(&cx).is_ready(), "it is not ahead of the other");
    assert!(third.poll_turn(&cx).is_pending());
    first.pause(4_000_000, &cx);
    assert!(first.poll_turn(&cx).is_pending() && third.poll_turn(&cx).is_pending(), "it used more than the other");
    drop(second);
    assert!(third.poll_turn(&cx).is_ready(), "a turn comes back with its seat, and goes to who asked first");
    assert!(first.poll_turn(&cx).is_pending());
    drop(first);
    third.finish(1);
    let mut fourth = seat("acme", 1).await;
    assert!(fourth.poll_turn(&cx).is_pending(), "it is not over yet");
    drop(third);
    assert!(fourth.poll_turn(&cx).is_ready(), "a turn that is finished ends with its place");
}
