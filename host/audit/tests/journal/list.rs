use opsiq_audit::{Draft, Filter, Kind, Log, Op, Shown, field};

use crate::host::{Host, acme, admin, authorized, invocation, outcome, text};

async fn lists_page_backwards_and_filter() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(dir.path()).await;
    let (_store, journal) = host.open(dir.path()).await;
    let log = acme();
    for number in 0..300 {
        let action = if number % 100 == 7 { "rare" } else { "usual" };
        let kind = if number % 2 == 0 { Kind::Admin } else { Kind::Read };
        let draft = Draft::new(kind).field(field::ACTION, action).field(field::DETAIL, number.to_string());
        journal.record(&log, vec![draft]).await.unwrap();
    }
    let list = async |filter: Filter| {
        let page = journal.list(&log, &filter).await.unwrap();
        (page.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), page.next)
    };
    let all = Filter { limit: 3, ..Filter::default() };
    assert_eq!(list(all.clone()).await, (vec![299, 298, 297], Some(297)));
    assert_eq!(list(Filter { before: Some(297), ..all.clone() }).await, (vec![296, 295, 294], Some(294)));
    assert_eq!(list(Filter { before: Some(2), ..all.clone() }).await, (vec![1, 0], None));
    assert_eq!(list(Filter { before: Some(0), ..all.clone() }).await, (vec![], None));
    assert_eq!(list(Filter { before: Some(u64::MAX), ..all.clone() }).await.0, [299, 298, 297]);
    assert_eq!(list(Filter { kind: Some(Kind::Admin), ..all.clone() }).await.0, [298, 296, 294]);
    let rare = Filter { action: Some("rare".to_owned()), limit: 10, ..Filter::default() };
    assert_eq!(list(rare).await, (vec![207, 107, 7], None));
    let empty = journal.list(&Log::Host, &all).await.unwrap();
    assert_eq!((empty.entries.len(), empty.next), (0, None));
}

async fn one_invocation_is_found_and_hidden_values_are_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(dir.path()).await;
    let (_store, journal) = host.open(dir.path()).await;
    let log = acme();
    for number in 0..3 {
        let draft = Draft::new(Kind::Intent)
            .field(field::PARAMS, "{\"card\":\"[secret]\"}")
            .hidden("params.full", "{\"card\":\"4111\"}");
        assert!(!format!("{draft:?}").contains("4111"));
        let call = authorized("keep", invocation(number));
        let (_permit, open, ()) = journal.intent(&call, draft, Op::none()).await.unwrap();
        journal.record(&log, vec![admin("between")]).await.unwrap();
        journal.outcome(open, vec![outcome()], Op::none()).await.unwrap();
    }
    let filter = Filter { invocation: Some(invocation(1)), limit: 10, ..Filter::default() };
    let page = journal.list(&log, &filter).await.unwrap();
    assert_eq!(page.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [5, 3]);
    assert_eq!(page.next, None);
    assert_eq!(page.entries[1].fields["params.full"], Shown::Hidden);
    assert_eq!(text(&page.entries[1], field::PARAMS), "{\"card\":\"[secret]\"}");
    assert!(!serde_json::to_string(&page).unwrap().contains("4111"));
    let page = journal.list(&log, &Filter { limit: 1, ..filter.clone() }).await.unwrap();
    assert_eq!((page.entries[0].seq, page.next), (5, Some(5)));
    let page = journal.list(&log, &Filter { limit: 1, before: page.next, ..filter }).await.unwrap();
    assert_eq!((page.entries[0].seq, page.next), (3, None));
}

crate::engines::on_both_engines! {
    lists_page_backwards_and_filter,
    one_invocation_is_found_and_hidden_values_are_not_shown,
}
