//! Which addresses may come. What a rule says of which network is in clear, since it is asked about at every request; why and by
//! whom is sealed by the vault of whoever placed it.

use std::collections::BTreeMap;

use opsiq_contract::TenantId;
use opsiq_vault::Sealed;

use crate::column::{id, unsigned};
use crate::db::{Kind, query, query_as, query_scalar};
use crate::many::{LazyMany, Many};
use crate::{Store, StoreError, WriteTx};

const WHAT: &str = "address rule";
const LIST: &str = "address list";

/// One rule.
#[derive(Debug, Clone)]
pub struct AddressRuleRow<D> {
    /// Whose: a tenant's, or the operator's.
    pub tenant: Option<TenantId>,
    /// Which network, as it is shown.
    pub network: String,
    /// What is said of it.
    pub verdict: String,
    /// When it was placed.
    pub created_ms: i64,
    /// Why and by whom. Place: table `address_rule`, row `[network]`, column `doc`, version `created_ms`.
    pub doc: Sealed<D>,
}

type Columns = (String, String, String, i64, Vec<u8>);

/// The owner as a column.
fn owner(tenant: Option<&TenantId>) -> String {
    tenant.map_or_else(String::new, TenantId::to_string)
}

impl<D> AddressRuleRow<D> {
    fn of((tenant, network, verdict, created_ms, doc): Columns) -> Result<Self, StoreError> {
        let tenant = if tenant.is_empty() { None } else { Some(id(WHAT, &tenant)?) };
        Ok(Self { tenant, network, verdict, created_ms, doc: Sealed::from_stored(doc) })
    }
}

impl Store {
    /// How often the rules of each owner changed; the empty text is the host. Who is not there has none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn address_lists(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let lists: Vec<(String, i64)> = query_as("SELECT tenant, revision FROM address_list")
            .fetch_all(self.reader())
            .await
            .map_err(|error| StoreError::of(LIST, &error))?;
        lists.into_iter().map(|(owner, revision)| Ok((owner, unsigned(LIST, revision)?))).collect()
    }

    /// The rules of an owner, as network and verdict.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn address_verdicts(&self, tenant: Option<&TenantId>) -> Result<Vec<(String, String)>, StoreError> {
        query_as("SELECT network, verdict FROM address_rule WHERE tenant = $1")
            .bind(owner(tenant))
            .fetch_all(self.reader())
            .await
            .map_err(|error| StoreError::of(WHAT, &error))
    }

    /// At most `most` rules of an owner whose networks' texts come after `after`, in the order of those.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn address_rules<D>(
        &self,
        tenant: Option<&TenantId>,
        after: &str,
        most: u32,
    ) -> Result<Vec<AddressRuleRow<D>>, StoreError> {
        query_as(
            "SELECT tenant, network, verdict, created_ms, doc FROM address_rule \
             WHERE tenant = $1 AND network > $2 ORDER BY network LIMIT $3",
        )
        .bind(owner(tenant))
        .bind(after.to_owned())
        .bind(i64::from(most))
        .fetch_all(self.reader())
        .await
        .map_err(|error| StoreError::of(WHAT, &error))?
        .into_iter()
        .map(AddressRuleRow::of)
        .collect()
    }
}

impl WriteTx<'_> {
    /// Places rules, or places them anew.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn address_rules_put<D>(&mut self, rows: &[AddressRuleRow<D>]) -> Result<(), StoreError> {
        static PUT: LazyMany = LazyMany::new(|| {
            let insert = "INSERT INTO address_rule (tenant, network, verdict, created_ms, doc) SELECT * FROM (";
            let kinds = &[Kind::Text, Kind::Text, Kind::Text, Kind::Number, Kind::Bytes];
            let update = ") AS placed WHERE column1 IS NOT NULL ON CONFLICT (tenant, network) DO UPDATE SET \
                          verdict = excluded.verdict, created_ms = excluded.created_ms, doc = excluded.doc";
            Many::new(insert, kinds, update)
        });
        self.run_many(WHAT, &PUT, rows.iter(), |row, values| {
            values.add(owner(row.tenant.as_ref()))?;
            values.add(row.network.clone())?;
            values.add(row.verdict.clone())?;
            values.add(row.created_ms)?;
            values.add(row.doc.as_bytes().to_vec())
        })
        .await
        .map(drop)
    }

    /// Removes rules of an owner; answers how many there were.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn address_rules_remove(
        &mut self,
        tenant: Option<&TenantId>,
        networks: &[String],
    ) -> Result<u64, StoreError> {
        let mut removed = 0;
        for network in networks {
            let query = query("DELETE FROM address_rule WHERE tenant = $1 AND network = $2");
            removed += self.run(WHAT, query.bind(owner(tenant)).bind(network.clone())).await?;
        }
        Ok(removed)
    }

    /// Removes all rules of a tenant, whose networks are in clear and would outlive its keys.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn address_rules_clear(&mut self, tenant: &TenantId) -> Result<(), StoreError> {
        let query = query("DELETE FROM address_rule WHERE tenant = $1").bind(tenant.to_string());
        self.run(WHAT, query).await?;
        self.address_list_moved(Some(tenant)).await.map(drop)
    }

    /// Notes that an owner's rules changed, in the transaction that changes them; answers the new revision.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn address_list_moved(&mut self, tenant: Option<&TenantId>) -> Result<u64, StoreError> {
        let query = query(
            "INSERT INTO address_list (tenant, revision) VALUES ($1, 1) \
             ON CONFLICT (tenant) DO UPDATE SET revision = address_list.revision + 1",
        );
        self.run_one(LIST, query.bind(owner(tenant))).await?;
        let found = query_scalar::<i64>("SELECT revision FROM address_list WHERE tenant = $1")
            .bind(owner(tenant))
            .fetch_one(self.connection().await?)
            .await;
        unsigned(LIST, self.noting(found.map_err(|error| StoreError::of(LIST, &error)))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, Doc, id, sealed};

    fn row(tenant: Option<&str>, network: &str, verdict: &str) -> AddressRuleRow<Doc> {
        let (tenant, network, verdict) = (tenant.map(id), network.to_owned(), verdict.to_owned());
        AddressRuleRow { tenant, network, verdict, created_ms: 3, doc: sealed(b"why") }
    }

    async fn each_owner_has_rules_of_its_own_and_the_last_word_counts() {
        let (_dir, store, _) = fixture::shop().await;
        let acme = id("acme");
        let mut tx = store.begin().await.unwrap();
        let network = |at: u32| format!("192.0.{}.{}/32", at / 256, at % 256);
        let many: Vec<_> = (0..300).map(|at| row(Some("acme"), &network(at), "block")).collect();
        tx.address_rules_put(&many).await.unwrap();
        tx.address_rules_put(&[row(None, "10.0.0.0/8", "block")]).await.unwrap();
        tx.address_rules_put(&[row(None, "10.0.0.0/8", "allow")]).await.unwrap();
        assert_eq!(tx.address_list_moved(Some(&acme)).await.unwrap(), 1);
        assert_eq!(tx.address_list_moved(Some(&acme)).await.unwrap(), 2);
        tx.commit().await.unwrap();
        let host = store.address_verdicts(None).await.unwrap();
        assert_eq!(host, [("10.0.0.0/8".to_owned(), "allow".to_owned())]);
        assert_eq!(store.address_verdicts(Some(&acme)).await.unwrap().len(), 300);
        assert_eq!(store.address_lists().await.unwrap(), BTreeMap::from([("acme".to_owned(), 2)]));
        let page = store.address_rules::<Doc>(Some(&acme), "192.0.1.", 10).await.unwrap();
        assert_eq!((page.len(), page[0].network.as_str()), (10, "192.0.1.0/32"));
        let mut tx = store.begin().await.unwrap();
        let gone = ["10.0.0.0/8".to_owned(), "11.0.0.0/8".to_owned()];
        assert_eq!(tx.address_rules_remove(Some(&acme), &gone).await.unwrap(), 0);
        assert_eq!(tx.address_rules_remove(None, &gone).await.unwrap(), 1);
        tx.commit().await.unwrap();
        assert!(store.address_verdicts(None).await.unwrap().is_empty());
        let mut tx = store.begin().await.unwrap();
        tx.address_rules_clear(&acme).await.unwrap();
        tx.commit().await.unwrap();
        assert!(store.address_verdicts(Some(&acme)).await.unwrap().is_empty());
        assert_eq!(store.address_lists().await.unwrap()["acme"], 3);
    }

    crate::fixture::on_both_engines! {
        each_owner_has_rules_of_its_own_and_the_last_word_counts
    }
}
