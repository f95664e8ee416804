//! What else is made durable with the next commit, whoever asks for that commit: rows of others that need no `fsync` of
//! their own, and must be on disk before something that is.

use futures::future::{self, BoxFuture, FutureExt as _};
use opsiq_store::{StoreError, WriteTx};

/// Writes along with every commit. There is one commit at a time.
pub trait Rider: Send + Sync {
    /// Writes what waits, in the transaction that is about to be committed. What a caller left here before it asked for
    /// anything is in the commit of what it asked for, or in an earlier one.
    ///
    /// # Errors
    /// Those of the store: the whole commit then fails.
    fn write<'t>(&'t self, tx: &'t mut WriteTx<'_>) -> BoxFuture<'t, Result<(), StoreError>>;

    /// Told, before anybody is answered, whether that transaction is durable. If it is not, it may still be: what was
    /// written is to be written again.
    fn ended(&self, durable: bool);
}

/// Nothing rides along.
impl Rider for () {
    fn write<'t>(&'t self, _: &'t mut WriteTx<'_>) -> BoxFuture<'t, Result<(), StoreError>> {
        future::ready(Ok(())).boxed()
    }

    fn ended(&self, _: bool) {}
}
