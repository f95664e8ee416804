//! Parts of a guarded call that are pure computation.

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
}

/// A guard over so many keys.
fn guard(keys: usize) -> LeakGuard {
    let installation = "00000000-0000-4000-8000-000000000001".parse().expect("an id");
    let name = KeyName { installation, key: "key".to_owned() };
    let secrets: Vec<_> = (0..keys).map(|n| Secret::from(format!("sk_live_{n:06}-value").into_bytes())).collect();
    LeakGuard::new(secrets.iter().map(|secret| (name.clone(), secret)))
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
        }
    }

    /// One MAC over 1 KiB.
    pub(crate) fn hmac(&self) -> u8 {
        self.secret.hmac_sha256(&self.message)[0]
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
