use super::*;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A certificate of an authority for `name`, good for these days around now, and its key.
fn issue(name: &str, before: i64, after: i64) -> (String, String) {
    let today = jiff::tz::TimeZone::UTC.to_datetime(jiff::Timestamp::now()).date();
    let day = |days: i64| {
        let date = today.saturating_add(jiff::Span::new().days(days));
        rcgen::date_time_ymd(i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.distinguished_name.push(rcgen::DnType::CommonName, "an authority");
    let issuer = rcgen::Issuer::new(authority, rcgen::KeyPair::generate().unwrap());
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    (params.not_before, params.not_after) = (day(-before), day(after));
    let key = rcgen::KeyPair::generate().unwrap();
    (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
}

#[test]
fn what_is_issued_is_used_and_kept_and_what_does_not_fit_replaces_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let dir = Dir::open_ambient_dir(temp.path(), cap_std::ambient_authority()).unwrap();
    let leaf = |certificates: &Certificates| certificates.read().key.cert[0].to_vec();
    let certificates = Certificates::issued(&dir, &names(&["a.example"])).unwrap();
    assert!(certificates.due(), "one of its own making is not enough");
    let (chain, key) = issue("a.example", 10, 80);
    certificates.take(&chain, &key).unwrap();
    let first = leaf(&certificates);
    assert!(!certificates.due());
    for (chain, other) in [
        issue("b.example", 10, 80),
        issue("a.example", 80, -10),
        (issue("a.example", 10, 80).0, key.clone()),
        ("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".to_owned(), key.clone()),
    ] {
        certificates.take(&chain, &other).unwrap_err();
        assert_eq!(leaf(&certificates), first);
        assert_eq!(leaf(&Certificates::issued(&dir, &names(&["a.example"])).unwrap()), first, "nor on the disk");
    }
    assert!(Certificates::issued(&dir, &names(&["b.example"])).unwrap().due(), "it is for others");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(temp.path().join(ISSUED)).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_new_one_is_due_before_the_last_third() {
    let temp = tempfile::tempdir().unwrap();
    let dir = Dir::open_ambient_dir(temp.path(), cap_std::ambient_authority()).unwrap();
    let certificates = Certificates::issued(&dir, &names(&["a.example"])).unwrap();
    // Two fifths of 100 days are 40, and a third is 33.
    for (before, after, due, warned) in [(55, 45, false, false), (64, 36, true, false), (70, 30, true, true)] {
        let (chain, key) = issue("a.example", before, after);
        certificates.take(&chain, &key).unwrap();
        assert_eq!((certificates.due(), certificates.ends_soon()), (due, warned), "{after} of 100 days");
    }
}
