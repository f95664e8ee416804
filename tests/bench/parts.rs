//! Parts of a guarded call that are pure computation.

use opsiq_vault::{Place, RootKey, Secret, TenantVault, Vault};

/// What the rows work on.
pub(crate) struct Parts {
    secret: Secret,
    message: Vec<u8>,
    vault: TenantVault,
    document: String,
}

impl Parts {
    pub(crate) fn new() -> Self {
        let (vault, _) = Vault::create(&RootKey::generate());
        Self {
            secret: Secret::from(vec![7; 32]),
            message: vec![42; 1024],
            vault: vault.host(),
            document: "x".repeat(254),
        }
    }

    /// One MAC over 1 KiB.
    pub(crate) fn hmac(&self) -> u8 {
        self.secret.hmac_sha256(&self.message)[0]
    }

    /// One document of 256 bytes of JSON sealed and opened.
    pub(crate) fn seal(&self) -> usize {
        let place = Place { table: "bench", row: &["1"], column: "doc", version: 1 };
        let sealed = self.vault.seal(&place, &self.document).expect("it seals");
        self.vault.open(&place, &sealed).expect("it opens").len()
    }
}
