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
