//! `[[key]]`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Reader;
use crate::model::{DeriveDecl, KeyDecl, KeyUse};

impl Reader {
    pub(super) fn key(&mut self, value: &Value, at: &str) -> Option<(String, KeyDecl)> {
        let table = self.table(value, at, &["name", "purpose", "use", "derive"])?;
        let name = self.slug(table, at, "name");
        let purpose = self.prose(table, at, "purpose", 300);
        if !table.contains_key("use") {
            self.missing(at, "use", "write use = [\"inject\"]");
        }
        let words = self.texts(table, at, "use", false)?;
        let mut uses = BTreeSet::new();
        for (index, word) in words.iter().enumerate() {
            match word.parse::<KeyUse>() {
                Ok(word) => {
                    uses.insert(word);
                }
                Err(error) => {
                    let fix = if *word == "read" {
                        "a plugin never reads a key: say what it is for"
                    } else {
                        "write one of these"
                    };
                    self.fault(&format!("{at}/use/{index}"), "field.value", error.to_string(), fix);
                }
            }
        }
        let derive = table.get("derive").and_then(|value| self.derive(value, &format!("{at}/derive")));
        match (uses.contains(&KeyUse::Derive), table.contains_key("derive")) {
            (true, false) => self.missing(at, "derive", "write derive = { depth = 4, prefix = \"AWS4\" }"),
            (false, true) => self.fault_at_key(
                &format!("{at}/derive"),
                "key.derive-unused",
                "the key is not for deriving",
                "add \"derive\" to use, or remove it",
            ),
            _ => {}
        }
        if uses.contains(&KeyUse::Derive) && !uses.contains(&KeyUse::Sign) {
            self.fault(
                &format!("{at}/use"),
                "key.derive-alone",
                "a derived key that may not sign serves nothing",
                "add \"sign\" to use",
            );
        }
        let (name, purpose) = (name?, purpose?);
        Some((name.clone(), KeyDecl { name, purpose, uses, derive }))
    }

    fn derive(&mut self, value: &Value, at: &str) -> Option<DeriveDecl> {
        let table = self.table(value, at, &["depth", "prefix"])?;
        if !table.contains_key("depth") {
            self.missing(at, "depth", "write depth = 4");
        }
        let depth = self.number(table, at, "depth", 1, 8)?;
        let prefix = self.text(table, at, "prefix", "\"AWS4\", or \"\" for none")?;
        if prefix.len() > 64 || !prefix.bytes().all(|b| b.is_ascii_graphic()) {
            self.fault(
                &format!("{at}/prefix"),
                "key.prefix",
                "not a prefix",
                "write at most 64 visible ASCII characters",
            );
            return None;
        }
        Some(DeriveDecl { depth: u8::try_from(depth).ok()?, prefix: prefix.to_owned() })
    }
}
