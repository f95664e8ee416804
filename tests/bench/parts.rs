//! Parts of a guarded call that are pure computation.

use opsiq_shield::{AddressList, ClientIp, Verdict};
use opsiq_vault::{KeyName, LeakGuard, Place, RootKey, Secret, TenantVault, Vault};

/// What the rows work on.
pub(crate) struct Parts {
    secret: Secret,
    message: Vec<u8>,
    vault: TenantVault,
    document: String,
    one_key: LeakGuard,
    many_keys: LeakGuard,
    result: String,
    large: String,
    addresses: AddressList,
    clients: Vec<ClientIp>,
    next: std::cell::Cell<usize>,
}

/// A guard over so many keys.
fn guard(keys: usize) -> LeakGuard {
    let installation = "00000000-0000-4000-8000-000000000001".parse().expect("an id");
    let name = KeyName { installation, key: "key".to_owned() };
    let secrets: Vec<_> = (0..keys).map(|n| Secret::from(format!("sk_live_{n:06}-value").into_bytes())).collect();
    LeakGuard::new(secrets.iter().map(|secret| (name.clone(), secret)))
}

/// Addresses all over, the same every time.
fn scattered(count: u32) -> impl Iterator<Item = u32> {
    (1..=count).map(|number| number.wrapping_mul(0x9e37_79b9))
}

/// So many rules about networks of 16 to 32 bits, one in eight an allowance.
fn addresses(rules: u32) -> AddressList {
    let everything = (opsiq_shield::network("0.0.0.0/0").expect("a network"), Verdict::Allow);
    let rule = |(number, bits): (u32, u32)| {
        let (length, verdict) =
            (16 + number % 17, if number.is_multiple_of(8) { Verdict::Allow } else { Verdict::Block });
        let first = std::net::Ipv4Addr::from(bits >> (32 - length) << (32 - length));
        (opsiq_shield::network(&format!("{first}/{length}")).expect("a network"), verdict)
    };
    std::iter::once(everything).chain((0..).zip(scattered(rules)).map(rule)).collect()
}

impl Parts {
    pub(crate) fn new() -> Self {
        let (vault, _) = Vault::create(&RootKey::generate());
        Self {
            secret: Secret::from(vec![7; 32]),
            message: vec![42; 1024],
            vault: vault.host(),
            document: "x".repeat(254),
            one_key: guard(1),
            many_keys: guard(50),
            result: r#"{"id":"ord-1001","rows":[{"amount":1250,"at":"2026-11-24T10:00:00Z"}]}"#.repeat(3)[..200]
                .to_owned(),
            large: r#"{"id":"ord-1001","rows":[{"amount":1250,"note":"a \"line\"\n"}]}"#.repeat(16 << 10),
            addresses: addresses(100_000),
            clients: scattered(4096).map(|bits| std::net::IpAddr::V4(bits.into()).into()).collect(),
            next: std::cell::Cell::default(),
        }
    }

    /// One MAC over 1 KiB.
    pub(crate) fn hmac(&self) -> u8 {
        self.secret.hmac_sha256(&self.message)[0]
    }

    /// One address looked up among a hundred thousand rules.
    pub(crate) fn lookup(&self) -> bool {
        let next = (self.next.get() + 1) % self.clients.len();
        self.next.set(next);
        self.addresses.decide(self.clients[next]).permits()
    }

    /// An answer of 200 bytes looked through for one key.
    pub(crate) fn one_key(&self) -> bool {
        self.one_key.find(self.result.as_bytes(), |_| false).is_some()
    }

    /// The same for fifty keys.
    pub(crate) fn many_keys(&self) -> bool {
        self.many_keys.find(self.result.as_bytes(), |_| false).is_some()
    }

    /// A text of 1 MiB, with escapes, looked through for fifty keys.
    pub(crate) fn large(&self) -> bool {
        self.many_keys.find(self.large.as_bytes(), |_| false).is_some()
    }

    /// One document of 256 bytes of JSON sealed and opened.
    pub(crate) fn seal(&self) -> usize {
        let place = Place { table: "bench", row: &["1"], column: "doc", version: 1 };
        let sealed = self.vault.seal(&place, &self.document).expect("it seals");
        self.vault.open(&place, &sealed).expect("it opens").len()
    }
}
