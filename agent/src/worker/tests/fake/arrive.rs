//! Commits as they arrive: each is on its way for a while, and what has left its sender may arrive when the sender is gone.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use s3sync_proto::model::Key;

use super::Fake;
use super::wire::{error, told, verify};
use crate::copy::digest::{Crc, multipart_etag};
use crate::s3::{Class, CompleteRequest, CopyRequest, Error, Operation, PutRequest, Written};

/// What has left an agent arrives within this, or never: as long as lies between the end of the write window, after which no
/// commit begins, and the expiry of the session.
pub(in super::super) const ARRIVES_WITHIN: Duration = Duration::from_secs(25);

/// A commit that has left its sender.
struct UnderWay<F: FnOnce(&Fake) -> T + Send + 'static, T> {
    fake: Arc<Fake>,
    key: Key,
    effect: Option<F>,
}

impl<F: FnOnce(&Fake) -> T + Send + 'static, T> UnderWay<F, T> {
    fn new(fake: Arc<Fake>, key: Key, effect: F) -> Self {
        fake.with(|c| c.under_way.push(key.clone()));
        Self { fake, key, effect: Some(effect) }
    }

    fn arrived(mut self) -> T {
        let effect = self.effect.take().expect("it arrives once");
        effect(&self.fake)
    }
}

impl<F: FnOnce(&Fake) -> T + Send + 'static, T> Drop for UnderWay<F, T> {
    /// Nobody waits for the answer any more. Half of these requests are lost; the others arrive, some time.
    fn drop(&mut self) {
        let effect = self.effect.take();
        let late = self.fake.with(|c| {
            let at = c.under_way.iter().position(|key| *key == self.key).expect("it is there");
            c.under_way.swap_remove(at);
            let rng = c.late.as_mut()?;
            let millis = u64::try_from(ARRIVES_WITHIN.as_millis()).unwrap();
            rng.bool().then(|| Duration::from_millis(rng.u64(..millis)))
        });
        let (Some(effect), Some(late)) = (effect, late) else { return };
        let fake = Arc::clone(&self.fake);
        tokio::spawn(async move {
            tokio::time::sleep(late).await;
            fake.with(|c| c.came_late += 1);
            effect(&fake);
        });
    }
}

impl Fake {
    /// Requests take their time, and commits whose sender is gone may still arrive, within [`ARRIVES_WITHIN`].
    pub(in super::super) fn far_away(&self, rng: &mut fastrand::Rng) {
        self.with(|c| {
            c.slow = Some((rng.fork(), 50));
            c.late = Some(rng.fork());
        });
    }

    /// A commit is on its way, and then has its effect; also when whoever sent it is gone before.
    pub(super) async fn arrive<T>(
        &self,
        key: &Key,
        effect: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> T {
        let me = self.me.upgrade().expect("it is asked");
        let under_way = UnderWay::new(me, key.clone(), effect);
        if self.with(|c| c.slow.is_some()) {
            self.pass().await;
        }
        under_way.arrived()
    }

    pub(super) fn put_arrived(&self, request: PutRequest, bytes: Bytes) -> Result<Written, Error> {
        let key = &request.key;
        verify(&request.verify, &bytes, Operation::Put, key)?;
        self.check(&request.condition, key, Operation::Put)?;
        let checksum = told(&request.verify, &bytes).filter(|_| self.nature.checksums);
        let stored = self.with(|c| {
            let mut stored = c.store(self.nature, key, bytes, request.attributes);
            stored.tags = request.tags;
            c.objects.insert(key.clone(), stored.clone());
            stored
        });
        Ok(Written { checksum, ..self.written(&stored) })
    }

    pub(super) fn copy_arrived(&self, request: CopyRequest) -> Result<Written, Error> {
        let key = &request.key;
        let onto_itself = request.source_key == request.key;
        let from = if onto_itself {
            self.look(&request.source_key, Operation::Copy)?
        } else {
            let source = self.source.lock().unwrap().clone().expect("told where to copy from");
            source.look(&request.source_key, Operation::Copy)?
        };
        if from.etag != request.source_if_match {
            return Err(error(Class::Precondition, Operation::Copy, key));
        }
        self.check(&request.condition, key, Operation::Copy)?;
        // As S3 does: the redirect is the one thing that is not copied.
        let kept = super::Attributes { website_redirect: None, ..from.attributes };
        let attributes = request.replace.unwrap_or(kept);
        let stored = self.with(|c| {
            let mut stored = c.store(self.nature, key, from.bytes, attributes);
            stored.tags = request.replace_tags.unwrap_or(from.tags);
            c.objects.insert(key.clone(), stored.clone());
            stored
        });
        Ok(self.written(&stored))
    }

    pub(super) fn complete_arrived(&self, request: &CompleteRequest) -> Result<Written, Error> {
        let key: &Key = &request.key;
        if !self.with(|c| c.uploads.contains_key(&request.upload_id)) {
            return Err(error(Class::NoSuchUpload, Operation::CompleteUpload, key));
        }
        self.check(&request.condition, key, Operation::CompleteUpload)?;
        let as_named = self.with(|c| {
            let parts = &c.uploads[&request.upload_id].parts;
            request.parts.iter().all(|one| parts[&one.number].1 == one.etag)
        });
        if !as_named {
            // `InvalidPart`.
            return Err(error(Class::NoSuchUpload, Operation::CompleteUpload, key));
        }
        let stored = self.with(|c| {
            c.completed_with.push(request.checksum.clone());
            let open = c.uploads.remove(&request.upload_id).unwrap();
            let numbers: Vec<_> = request.parts.iter().map(|part| part.number).collect();
            assert_eq!(numbers, open.parts.keys().copied().collect::<Vec<_>>());
            let parts: Vec<u64> = open.parts.values().map(|(b, _)| b.len() as u64).collect();
            let bytes: Vec<u8> = open.parts.values().flat_map(|(b, _)| b.to_vec()).collect();
            assert_eq!(bytes.len() as u64, request.size);
            if let Some(sent) = &request.checksum {
                assert_eq!(Crc::of(sent.algorithm, &bytes).encode(), *sent);
            }
            let etags: Vec<_> = open.parts.values().map(|(_, etag)| etag.as_str()).collect();
            let etag = multipart_etag(etags.into_iter()).unwrap();
            let mut stored = c.store(self.nature, key, bytes.into(), open.request.attributes);
            if self.nature.md5_etags {
                stored.etag = etag;
            }
            (stored.tags, stored.parts) = (open.request.tags, parts);
            if c.forgets_tags_of_uploads {
                stored.tags.clear();
            }
            c.objects.insert(key.clone(), stored.clone());
            stored
        });
        Ok(self.written(&stored))
    }
}
