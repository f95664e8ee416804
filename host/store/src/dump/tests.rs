use opsiq_contract::Digest;
use opsiq_vault::{RootKey, Vault};
use tokio::sync::mpsc;

use super::*;
use crate::fixture::{self, Doc, id, sealed};
use crate::{HoldRow, RetentionRow, Store, StoreError, StoreOptions};

/// All records of a store, as text, in no order that matters.
async fn records(store: &Store) -> Vec<String> {
    let (to, from) = mpsc::channel(2);
    let mut stream = DumpStream::new(from);
    let read = async {
        let (mut all, mut table) = (Vec::new(), String::new());
        while let Some(record) = stream.next().await.unwrap() {
            match record {
                DumpRecord::Table { name, .. } => table = name,
                DumpRecord::Row(row) => all.push(format!("{table} {row:?}")),
                other => all.push(format!("{other:?}")),
            }
        }
        all.sort();
        all
    };
    let files = [("opsiq.toml", b"# mine".to_vec())];
    let progress = DumpProgress::default();
    let (counts, all) = tokio::join!(store.dump(&files, to, &progress), read);
    assert_eq!(counts.unwrap().rows, progress.so_far().0);
    all
}

/// The pieces of a dump.
async fn pieces(store: &Store) -> Vec<Vec<u8>> {
    let (to, mut from) = mpsc::channel(2);
    let progress = DumpProgress::default();
    let read = async {
        let mut all = Vec::new();
        while let Some(piece) = from.recv().await {
            all.push(piece);
        }
        all
    };
    tokio::join!(store.dump(&[], to, &progress), read).1
}

/// A stream of these bytes, in pieces of that size.
fn stream(bytes: &[u8], size: usize) -> DumpStream {
    let (to, from) = mpsc::channel(bytes.len() / size + 1);
    for piece in bytes.chunks(size) {
        to.try_send(piece.to_vec()).unwrap();
    }
    DumpStream::new(from)
}

/// A store with something of every kind of value, more than a piece of it, and a plugin's file.
async fn full() -> (fixture::Dir, Store, Digest) {
    let (dir, store) = fixture::with_user().await;
    let (vault, check) = Vault::create(&RootKey::generate());
    store.root_check_insert(&check, 7).await.unwrap();
    store.tenant_key_insert(&id("acme"), &vault.new_tenant_key(&id("acme")), 8).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    let row = RetentionRow { log: String::new(), months: 13, content_from: 0, until: 0 };
    tx.retention_put(&row).await.unwrap();
    for at in 0..200_u32 {
        let doc = sealed::<Doc>(&vec![u8::try_from(at % 251).unwrap(); 4000]);
        tx.hold_insert(&HoldRow { log: "acme".to_owned(), id: format!("é{at}"), created_ms: -1, doc }).await.unwrap();
    }
    tx.mark_rows(&vault.host()).await.unwrap();
    tx.commit().await.unwrap();
    let digest = store.blobs().put(b"component").unwrap();
    store.blob_share(&digest).await.unwrap();
    (dir, store, digest)
}

async fn what_is_restored_is_what_was_there() {
    let (_dir, store, digest) = full().await;
    let all = records(&store).await;
    let bytes = pieces(&store).await.concat();
    assert!(bytes.len() > 2 * PIECE, "{}", bytes.len());
    fixture::on_others(async {
        let dir = fixture::Dir::new();
        let path = dir.path().join("new");
        let progress = DumpProgress::default();
        let restored = Store::restore(&path, &dir.options(), stream(&bytes, 1000), &progress).await.unwrap();
        assert_eq!(restored.counts.blobs, 1);
        assert_eq!(restored.store.blobs().get(&digest).unwrap(), b"component");
        // Until the check is there nobody opens it, and a restore begins anew.
        assert!(restored.store.root_check().await.unwrap().is_none());
        restored.store.close().await;
        let restored = Store::restore(&path, &dir.options(), stream(&bytes, 100_000), &progress).await.unwrap();
        let (check, created_ms) = restored.check;
        restored.store.root_check_insert(&check, created_ms).await.unwrap();
        let again: Vec<_> = records(&restored.store).await;
        assert_eq!(again, all);
        restored.store.close().await;
        let taken = Store::restore(&path, &dir.options(), stream(&bytes, 100_000), &progress).await;
        assert!(matches!(taken, Err(StoreError::AlreadyInitialised(_))));
    })
    .await;
    // Whichever engine it was, the other takes it.
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions::default();
    let restored =
        Store::restore(&dir.path().join("new"), &options, stream(&bytes, 999), &DumpProgress::default()).await.unwrap();
    let (check, created_ms) = restored.check;
    restored.store.root_check_insert(&check, created_ms).await.unwrap();
    assert_eq!(records(&restored.store).await, all);
}

async fn a_dump_is_of_one_moment() {
    let (_dir, store, _) = full().await;
    let before = records(&store).await.len();
    let (to, mut from) = mpsc::channel(1);
    let progress = DumpProgress::default();
    let dumping = store.dump(&[], to, &progress);
    let writing = async {
        let first = from.recv().await.unwrap();
        // It has begun, and waits: what is written now is not in it.
        let mut tx = store.begin().await.unwrap();
        for at in 0..50 {
            let row =
                HoldRow { log: "zeta".to_owned(), id: at.to_string(), created_ms: 1, doc: sealed::<Doc>(b"late") };
            tx.hold_insert(&row).await.unwrap();
        }
        tx.commit().await.unwrap();
        let mut bytes = first;
        while let Some(piece) = from.recv().await {
            bytes.extend(piece);
        }
        bytes
    };
    let (counts, bytes) = tokio::join!(dumping, writing);
    assert!(!bytes.windows(4).any(|window| window == b"late"));
    assert_eq!(usize::try_from(counts.unwrap().rows).unwrap() + 2 + 1, before, "with a file, a blob and the end");
}

#[tokio::test]
async fn a_stream_that_is_cut_off_or_of_another_version_is_refused() {
    let (_dir, store, _) = full().await;
    let bytes = pieces(&store).await.concat();
    let restore = async |bytes: &[u8]| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new");
        Store::restore(&path, &StoreOptions::default(), stream(bytes, 4096), &DumpProgress::default()).await.err()
    };
    for end in [0, 1, 9, 100, bytes.len() / 2, bytes.len() - 1] {
        let error = restore(&bytes[..end]).await;
        assert!(matches!(error, Some(StoreError::Damaged { .. })), "{end}: {error:?}");
    }
    assert!(matches!(restore(&[&bytes[..], b"x"].concat()).await, Some(StoreError::Damaged { .. })));
    let place = |name: &[u8]| bytes.windows(name.len()).position(|window| window == name).unwrap();
    for name in [&b"session_seen"[..], b"name_index"] {
        let mut other = bytes.clone();
        other[place(name)] = b'x';
        assert!(matches!(restore(&other).await, Some(StoreError::Version(_))));
    }
    // A length that no memory holds is not believed.
    let mut long = vec![FILE];
    long.extend_from_slice(&u64::MAX.to_be_bytes());
    assert!(matches!(restore(&long).await, Some(StoreError::Damaged { .. })));
}

fixture::on_both_engines! {
    what_is_restored_is_what_was_there,
    a_dump_is_of_one_moment,
}
