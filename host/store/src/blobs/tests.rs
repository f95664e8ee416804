use super::*;
use crate::fixture::store;

#[tokio::test]
async fn a_file_comes_back_whole_or_not_at_all() {
    let (dir, store) = store().await;
    let blobs = store.blobs();
    let digest = blobs.put(b"component").unwrap();
    assert_eq!(digest, Digest::of(b"component"));
    assert_eq!(blobs.get(&digest).unwrap(), b"component");
    let path = dir.path().join("blobs").join(digest.hex());
    for changed in [&b"componenT"[..], b"compo", b"", b"component and more"] {
        std::fs::write(&path, changed).unwrap();
        let error = blobs.get(&digest).unwrap_err();
        assert!(matches!(error, StoreError::BlobChanged(found) if found == digest), "{error}");
    }
    assert_eq!(blobs.put(b"component").unwrap(), digest);
    assert_eq!(blobs.get(&digest).unwrap(), b"component");
    blobs.remove(&digest).unwrap();
    blobs.remove(&digest).unwrap();
    assert!(matches!(blobs.get(&digest), Err(StoreError::NotFound { .. })));
    assert_eq!(std::fs::read_dir(dir.path().join("blobs")).unwrap().count(), 0, "nothing partial is left");
}

#[tokio::test]
async fn a_file_is_not_reached_through_a_link_out_of_the_directory() {
    let (dir, store) = store().await;
    let digest = Digest::of(b"outside");
    let outside = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(outside.path(), b"outside").unwrap();
    std::os::unix::fs::symlink(outside.path(), dir.path().join("blobs").join(digest.hex())).unwrap();
    assert!(store.blobs().get(&digest).is_err());
}

/// What one node registers another has when it asks, and a damaged copy is neither used nor kept.
#[tokio::test]
async fn nodes_of_a_server_share_their_files() {
    crate::fixture::on_server(async {
        let (_first_dir, first) = store().await;
        let second_dir = crate::fixture::Dir::new();
        Store::init_with(second_dir.path(), &second_dir.options()).await.unwrap();
        let second = second_dir.open().await;
        let digest = first.blobs().put(b"component").unwrap();
        second.blob_fetch(&digest).await.unwrap();
        assert!(matches!(second.blobs().get(&digest), Err(StoreError::NotFound { .. })), "nobody shared it");
        first.blob_share(&digest).await.unwrap();
        second.blob_fetch(&digest).await.unwrap();
        assert_eq!(second.blobs().get(&digest).unwrap(), b"component");

        second.blobs().remove(&digest).unwrap();
        let mut stranger = second_dir.server().unwrap().connect().await;
        sqlx::query("UPDATE blob SET bytes = 'changed'").execute(&mut stranger).await.unwrap();
        let changed = second.blob_fetch(&digest).await;
        assert!(matches!(changed, Err(StoreError::BlobChanged(found)) if found == digest), "{changed:?}");
        assert!(second.blobs().get(&digest).is_err());
        first.blob_share(&digest).await.unwrap();
        second.blob_fetch(&digest).await.unwrap();
        assert_eq!(second.blobs().get(&digest).unwrap(), b"component");
    })
    .await;
}
