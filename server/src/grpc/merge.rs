//! A change of some fields, written onto what was read; read again while others change the same resource.

use s3sync_proto::model::{Invalid, Name};
use tonic::Status;

use super::update::Update;
use crate::catalogue::{Precondition, Refused};

/// A resource on the wire, whose fields can be changed one by one.
pub(super) trait Merge: Clone + Default + Send + Sync {
    /// Its etag.
    fn etag(&self) -> &String;

    /// This one with the named fields of `new`.
    ///
    /// # Errors
    /// When a path is none that can be changed.
    fn masked(self, new: Self, paths: &[String]) -> Result<Self, Invalid>;
}

/// A kind of resource that is read and written.
#[tonic::async_trait]
pub(super) trait Kind: Sync {
    /// One of them on the wire.
    type Wire: Merge;
    /// One of them as it was written.
    type Made: Send;

    /// One as it is, if there is one.
    async fn read(&self, name: &Name) -> Result<Option<Self::Wire>, Status>;

    /// Writes one where the precondition holds, or only checks it.
    async fn write(
        &self,
        name: &Name,
        one: Self::Wire,
        precondition: Precondition,
        validate_only: bool,
    ) -> Result<Result<Self::Made, Refused>, Status>;
}

/// Makes a change.
pub(super) async fn merge<K: Kind>(
    kind: &K,
    name: &Name,
    sent: K::Wire,
    update: Update,
    validate_only: bool,
) -> Result<Result<K::Made, Refused>, Status> {
    let mut tries = 0;
    loop {
        tries += 1;
        let known = if update.is_partial() { kind.read(name).await? } else { None };
        if update.is_partial() && known.is_none() && !update.allow_missing {
            // There is nothing whose other fields could stay; what is sent alone would be refused for what it leaves out.
            return Ok(Err(Refused::Missing));
        }
        let precondition = update.precondition(known.as_ref().map(Merge::etag));
        let merged = if update.is_partial() {
            known.unwrap_or_default().masked(sent.clone(), &update.paths)?
        } else {
            sent.clone()
        };
        match kind.write(name, merged, precondition, validate_only).await? {
            Err(error) if update.goes_again(&error, tries) => {}
            made => return Ok(made),
        }
    }
}
