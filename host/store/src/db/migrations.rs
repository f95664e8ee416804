//! What changes the tables from version to version, kept in the binary.
//!
//! Listed by name rather than by a macro of the database library, which would have that library built a second time for the
//! compiler.

use std::borrow::Cow;
use std::sync::LazyLock;

use sqlx::SqlStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// The name of a file without `.sql`, `<version>_<description>`, and its text.
type File = (&'static str, &'static str);

macro_rules! files {
    ($folder:literal: $($name:literal)+) => {
        &[$(($name, include_str!(concat!("../../migrations/", $folder, "/", $name, ".sql")))),+]
    };
}

const SQLITE_DATA: &[File] = files!("sqlite/data":
    "0001_first" "0002_subjects" "0003_quarantine" "0005_identity" "0006_passkeys" "0010_signing" "0020_sso" "0025_shield" "0030_retention");
const SQLITE_KEYS: &[File] = files!("sqlite/keys": "0001_first" "0002_subjects");
const POSTGRES_DATA: &[File] = files!("postgres/data":
    "0001_first" "0005_identity" "0006_passkeys" "0010_signing" "0020_sso" "0025_shield" "0030_retention" "0035_nodes");
const POSTGRES_KEYS: &[File] = files!("postgres/keys": "0001_first");

/// Of the two databases of an engine.
pub(super) struct Migrations {
    pub(super) data: LazyLock<Migrator>,
    pub(super) keys: LazyLock<Migrator>,
}

pub(super) static SQLITE: Migrations =
    Migrations { data: LazyLock::new(|| migrator(SQLITE_DATA)), keys: LazyLock::new(|| migrator(SQLITE_KEYS)) };
pub(super) static POSTGRES: Migrations =
    Migrations { data: LazyLock::new(|| migrator(POSTGRES_DATA)), keys: LazyLock::new(|| migrator(POSTGRES_KEYS)) };

fn migrator(files: &[File]) -> Migrator {
    let migration = |&(name, text): &File| {
        let (version, description) = name.split_once('_').expect("a version and a description");
        Migration::new(
            version.parse().expect("a version is a number"),
            Cow::Owned(description.replace('_', " ")),
            MigrationType::Simple,
            SqlStr::from_static(text),
            false,
        )
    };
    Migrator::with_migrations(files.iter().map(migration).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_listed_in_the_order_of_its_version() {
        for (folder, listed) in [
            ("sqlite/data", SQLITE_DATA),
            ("sqlite/keys", SQLITE_KEYS),
            ("postgres/data", POSTGRES_DATA),
            ("postgres/keys", POSTGRES_KEYS),
        ] {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(folder);
            let mut found: Vec<_> = std::fs::read_dir(path)
                .expect("a folder")
                .map(|file| file.expect("a file").file_name().into_string().expect("a name"))
                .collect();
            found.sort();
            let names: Vec<_> = listed.iter().map(|(name, _)| format!("{name}.sql")).collect();
            assert_eq!(names, found, "{folder}");
            let versions: Vec<_> = migrator(listed).iter().map(|migration| migration.version).collect();
            assert!(versions.is_sorted_by(|one, next| one < next), "{folder}: {versions:?}");
        }
    }
}
