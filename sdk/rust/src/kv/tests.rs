use super::*;
use crate::Failure;
use crate::testing::Host;

#[test]
fn values_come_back_with_their_version() {
    let host = Host::new().stored("cursor", &"c1");
    host.run(|| {
        let kv = Kv::new();
        assert_eq!(kv.get::<String>("cursor").unwrap(), Some(Entry { value: "c1".into(), version: 1 }));
        assert_eq!(kv.set("cursor", &"c2").unwrap(), 2);
        assert_eq!(kv.get::<String>("cursor").unwrap().unwrap().value, "c2");
        assert_eq!(kv.get::<String>("other").unwrap(), None);
        assert!(matches!(kv.get::<u32>("cursor"), Err(Failure::Internal(_))));
    });
}

#[test]
fn a_write_on_an_old_version_is_a_conflict() {
    Host::new().run(|| {
        let kv = Kv::new();
        assert_eq!(kv.set_if("lock", &1, 0).unwrap(), 1);
        assert!(matches!(kv.set_if("lock", &2, 0), Err(Failure::Conflict(m)) if m.contains("version 1")));
        assert!(matches!(kv.delete_if("lock", 2), Err(Failure::Conflict(_))));
        kv.delete_if("lock", 1).unwrap();
        kv.delete("lock").unwrap();
        assert_eq!(kv.get::<u32>("lock").unwrap(), None);
    });
}

#[test]
fn listing_goes_on_past_the_first_page() {
    Host::new().run(|| {
        let kv = Kv::new();
        for n in 0..250 {
            kv.set(&format!("seen/{n:03}"), &n).unwrap();
        }
        kv.set("other", &0).unwrap();
        let keys = kv.keys("seen/").unwrap();
        assert_eq!((keys.len(), keys[0].as_str(), keys[249].as_str()), (250, "seen/000", "seen/249"));
    });
}
