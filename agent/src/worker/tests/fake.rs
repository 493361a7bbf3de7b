//! A bucket in memory, with faults, writers that come between, and a log. It refuses what S3 refuses.

#![expect(clippy::result_large_err, reason = "the seam's own error type, in a test")]
#![expect(clippy::cast_possible_truncation, reason = "bodies fit into memory")]

mod arrive;
mod contents;
mod deletes;
mod wire;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use md5::{Digest as _, Md5};
use s3sync_proto::model::{Key, Notifications, Timestamp};

use crate::copy::digest::{Crc, hex};
use crate::s3::*;
use wire::{body, error, read, told, verify};

pub(super) use arrive::ARRIVES_WITHIN;

/// How one request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Without effect.
    Before(Class),
    /// It has its effect, and the answer is an error.
    After(Class),
    /// The body ends early.
    CutBody,
    /// One byte of the body is wrong.
    WrongByte,
}

/// What a bucket is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nature {
    pub(super) md5_etags: bool,
    /// Whether conditions of reads and writes are honoured.
    pub(super) conditions: bool,
    pub(super) checksums: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) bytes: Bytes,
    pub(super) etag: String,
    pub(super) modified: Timestamp,
    pub(super) attributes: Attributes,
    pub(super) tags: Vec<(String, String)>,
    /// Sizes of its parts, when it was written in parts.
    pub(super) parts: Vec<u64>,
}

type Meddler = Box<dyn FnMut(&mut Contents, Operation, &Key) -> Option<Fault> + Send>;

pub(super) struct Fake {
    me: Weak<Fake>,
    pub(super) nature: Nature,
    contents: Mutex<Contents>,
    meddler: Mutex<Option<Meddler>>,
    /// For server-side copies.
    source: Mutex<Option<Arc<Fake>>>,
}

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(super) struct Contents {
    pub(super) objects: BTreeMap<Key, Stored>,
    pub(super) uploads: BTreeMap<String, OpenFake>,
    /// Every object there ever was.
    pub(super) history: Vec<(Key, Bytes)>,
    pub(super) requests: HashMap<Operation, u64>,
    /// Makes requests take a random time, up to this many milliseconds.
    pub(super) slow: Option<(fastrand::Rng, u64)>,
    /// Commits whose sender is gone may still arrive, within [`ARRIVES_WITHIN`].
    pub(super) late: Option<fastrand::Rng>,
    /// Commits that have left their sender and have had no effect yet.
    pub(super) under_way: Vec<Key>,
    /// Commits that had their effect after their sender was gone.
    pub(super) came_late: u64,
    /// The checksums that uploads were completed with.
    pub(super) completed_with: Vec<Option<Checksum>>,
    /// Every key that was deleted by a request.
    pub(super) deleted: Vec<Key>,
    /// When each was, by a clock that others share.
    pub(super) deleted_at: BTreeMap<Key, u64>,
    pub(super) ticks: Arc<AtomicU64>,
    /// Ignores the ETags of batches of deletes.
    pub(super) no_batch_etags: bool,
    /// Keys that listings leave out.
    pub(super) unlisted: Vec<Key>,
    /// Listings do not say what they list.
    pub(super) odd_listings: bool,
    /// Does not keep tags of uploads.
    pub(super) forgets_tags_of_uploads: bool,
    /// Does not keep website redirects.
    pub(super) forgets_redirects: bool,
    /// Does not tell how many tags an object has.
    pub(super) silent_of_tags: bool,
    clock: i64,
    serial: u64,
}

pub(super) struct OpenFake {
    pub(super) key: Key,
    request: CreateUploadRequest,
    initiated: Timestamp,
    /// Bytes and ETag.
    pub(super) parts: BTreeMap<u32, (Bytes, String)>,
}

impl Fake {
    pub(super) fn new(nature: Nature) -> Arc<Self> {
        // Two buckets never make up the same opaque ETag.
        static FAKES: AtomicU64 = AtomicU64::new(1);
        let serial = FAKES.fetch_add(1, Ordering::Relaxed) << 32;
        let contents = Contents { clock: 1_700_000_000, serial, ..Contents::default() };
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            nature,
            contents: Mutex::new(contents),
            meddler: Mutex::default(),
            source: Mutex::default(),
        })
    }

    /// Called before each request; may change the bucket and make the request fail.
    pub(super) fn meddle(
        &self,
        meddler: impl FnMut(&mut Contents, Operation, &Key) -> Option<Fault> + Send + 'static,
    ) {
        *self.meddler.lock().unwrap() = Some(Box::new(meddler));
    }

    pub(super) fn leave_alone(&self) {
        *self.meddler.lock().unwrap() = None;
    }

    pub(super) fn copies_from(&self, source: &Arc<Self>) {
        *self.source.lock().unwrap() = Some(Arc::clone(source));
    }

    pub(super) fn with<T>(&self, f: impl FnOnce(&mut Contents) -> T) -> T {
        f(&mut self.contents.lock().unwrap())
    }

    pub(super) fn store(&self, key: &str, body: impl Into<Bytes>) {
        self.with(|c| c.store(self.nature, &Key::from(key), body.into(), Attributes::default()));
    }

    pub(super) fn bodies(&self, prefix: &str) -> BTreeMap<String, Bytes> {
        let strip = |key: &Key| key.to_string().strip_prefix(prefix).map(str::to_owned);
        self.with(|c| {
            let all = c.objects.iter();
            all.filter_map(|(key, object)| Some((strip(key)?, object.bytes.clone()))).collect()
        })
    }

    pub(super) fn count(&self, operation: Operation) -> u64 {
        self.with(|c| c.requests.get(&operation).copied().unwrap_or_default())
    }

    /// Time passes.
    pub(super) async fn pass(&self) {
        // Some take much longer than the others; that is what lets one writer overtake another.
        let wait = self.with(|c| {
            c.slow.as_mut().map(|(rng, most)| {
                let stretch = if rng.u32(..8) == 0 { 20 } else { 1 };
                rng.u64(..*most) * stretch
            })
        });
        match wait {
            Some(wait) => tokio::time::sleep(Duration::from_millis(wait)).await,
            None => tokio::task::yield_now().await,
        }
    }

    pub(super) async fn begin(
        &self,
        operation: Operation,
        key: &Key,
    ) -> Result<Option<Fault>, Error> {
        self.pass().await;
        let fault = {
            let mut contents = self.contents.lock().unwrap();
            *contents.requests.entry(operation).or_default() += 1;
            let mut meddler = self.meddler.lock().unwrap();
            meddler.as_mut().and_then(|meddler| meddler(&mut contents, operation, key))
        };
        match fault {
            Some(Fault::Before(class)) => Err(error(class, operation, key)),
            other => Ok(other),
        }
    }

    fn look(&self, key: &Key, operation: Operation) -> Result<Stored, Error> {
        let head = operation == Operation::Head;
        let class = if head { Class::NotFound } else { Class::NoSuchKey };
        self.with(|c| c.objects.get(key).cloned()).ok_or_else(|| error(class, operation, key))
    }

    fn object(&self, stored: &Stored) -> Object {
        let silent_of_tags = self.with(|c| c.silent_of_tags);
        let whole = stored.parts.is_empty() && self.nature.checksums;
        let checksum = whole.then(|| Crc::of(Algorithm::Crc64Nvme, &stored.bytes).encode());
        Object {
            length: stored.bytes.len() as u64,
            etag: stored.etag.clone(),
            modified: stored.modified,
            checksums: checksum.clone().map_or_else(Vec::new, |checksum| {
                let value = checksum.value;
                vec![StoredChecksum { algorithm: "CRC64NVME", value, whole: true }]
            }),
            checksum,
            attributes: stored.attributes.clone(),
            tag_count: (!silent_of_tags).then(|| u32::try_from(stored.tags.len()).unwrap()),
            encryption: (!self.nature.md5_etags).then(|| "aws:kms".to_owned()),
            ..Object::default()
        }
    }

    fn check_read(
        &self,
        if_match: Option<&String>,
        stored: &Stored,
        key: &Key,
        operation: Operation,
    ) -> Result<(), Error> {
        let holds = !self.nature.conditions || if_match.is_none_or(|etag| *etag == stored.etag);
        if holds { Ok(()) } else { Err(error(Class::Precondition, operation, key)) }
    }

    pub(super) fn answer<T>(
        fault: Option<Fault>,
        op: Operation,
        key: &Key,
        value: T,
    ) -> Result<T, Error> {
        match fault {
            Some(Fault::After(class)) => Err(error(class, op, key)),
            _ => Ok(value),
        }
    }
}

#[async_trait]
impl ObjectStore for Fake {
    async fn list(&self, request: ListRequest) -> Result<ListPage, Error> {
        let fault = self.begin(Operation::List, &request.prefix).await?;
        let after = request.token.map(|token| Key::from(token.as_str())).or(request.start_after);
        let most = usize::from(request.max_keys).min(7.max(usize::from(request.max_keys == 1)));
        let page = self.with(|c| {
            let mut objects: Vec<_> = c
                .objects
                .iter()
                .filter(|(key, _)| key.as_bytes().starts_with(request.prefix.as_bytes()))
                .filter(|(key, _)| !c.unlisted.contains(key))
                .filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after))
                .take(most + 1)
                .map(|(key, object)| Listed {
                    key: key.clone(),
                    size: object.bytes.len() as u64,
                    etag: object.etag.clone(),
                    modified: object.modified,
                    storage_class: object.attributes.storage_class.clone().unwrap_or_default(),
                    restored: false,
                })
                .collect();
            let more = objects.len() > most;
            objects.truncate(most);
            let next = objects.last().filter(|_| more).map(|last| last.key.to_string());
            ListPage { objects, next, exact: !c.odd_listings }
        });
        Self::answer(fault, Operation::List, &request.prefix, page)
    }

    async fn head(&self, request: HeadRequest) -> Result<Object, Error> {
        let fault = self.begin(Operation::Head, &request.key).await?;
        let stored = self.look(&request.key, Operation::Head)?;
        self.check_read(request.if_match.as_ref(), &stored, &request.key, Operation::Head)?;
        let mut object = self.object(&stored);
        if request.part_number == Some(1)
            && let Some(first) = stored.parts.first()
        {
            object.length = *first;
            object.parts_count = u32::try_from(stored.parts.len()).ok();
        }
        Self::answer(fault, Operation::Head, &request.key, object)
    }

    async fn get(&self, request: GetRequest) -> Result<(Object, Body), Error> {
        let key = &request.key;
        let fault = self.begin(Operation::Get, key).await?;
        let stored = self.look(key, Operation::Get)?;
        self.check_read(request.if_match.as_ref(), &stored, key, Operation::Get)?;
        let mut object = self.object(&stored);
        let bytes = match request.range {
            Some(range) => {
                let length = stored.bytes.len();
                stored
                    .bytes
                    .slice((range.start as usize).min(length)..(range.end as usize).min(length))
            }
            None => stored.bytes,
        };
        object.length = bytes.len() as u64;
        Self::answer(fault, Operation::Get, key, (object, body(&bytes, fault, key)))
    }

    async fn get_tags(&self, key: &Key) -> Result<Vec<(String, String)>, Error> {
        let fault = self.begin(Operation::GetTags, key).await?;
        let tags = self.look(key, Operation::GetTags)?.tags;
        Self::answer(fault, Operation::GetTags, key, tags)
    }

    async fn put(&self, request: PutRequest, body: PutBody) -> Result<Written, Error> {
        let key = &request.key;
        let fault = self.begin(Operation::Put, key).await?;
        let bytes = read(body, Operation::Put, key).await?;
        let key = key.clone();
        let written = self.arrive(&key, move |fake| fake.put_arrived(request, bytes)).await?;
        Self::answer(fault, Operation::Put, &key, written)
    }

    async fn copy(&self, request: CopyRequest) -> Result<Written, Error> {
        let key = &request.key;
        let fault = self.begin(Operation::Copy, key).await?;
        let key = key.clone();
        let written = self.arrive(&key, move |fake| fake.copy_arrived(request)).await?;
        Self::answer(fault, Operation::Copy, &key, written)
    }

    async fn create_upload(&self, request: CreateUploadRequest) -> Result<String, Error> {
        let key = request.key.clone();
        let fault = self.begin(Operation::CreateUpload, &key).await?;
        let id = self.with(|c| {
            let now = crate::clock::now();
            let id = c.open_upload(&key.to_string(), now);
            c.uploads.get_mut(&id).unwrap().request = request;
            id
        });
        Self::answer(fault, Operation::CreateUpload, &key, id)
    }

    async fn upload_part(&self, request: PartRequest, body: PutBody) -> Result<Part, Error> {
        let key = &request.key;
        let fault = self.begin(Operation::UploadPart, key).await?;
        let bytes = read(body, Operation::UploadPart, key).await?;
        verify(&request.verify, &bytes, Operation::UploadPart, key)?;
        let checksum = told(&request.verify, &bytes).filter(|_| self.nature.checksums);
        let number = request.number;
        let etag = self.with(|c| {
            c.serial += 1;
            // Where they are opaque, the same bytes sent again have another one.
            let etag = match self.nature.md5_etags {
                true => hex(&Md5::digest(&bytes)),
                false => hex(&Md5::digest(c.serial.to_be_bytes())),
            };
            let open = c.uploads.get_mut(&request.upload_id)?;
            open.parts.insert(number, (bytes, etag.clone()));
            Some(etag)
        });
        let etag = etag.ok_or_else(|| error(Class::NoSuchUpload, Operation::UploadPart, key))?;
        let part = Part { number, etag, checksum };
        Self::answer(fault, Operation::UploadPart, key, part)
    }

    async fn copy_part(&self, request: CopyPartRequest) -> Result<Part, Error> {
        let source = self.source.lock().unwrap().clone().expect("told where to copy from");
        let from = source.look(&request.source_key, Operation::CopyPart)?;
        if from.etag != request.source_if_match {
            return Err(error(Class::Precondition, Operation::CopyPart, &request.key));
        }
        let range = request.range.start as usize..request.range.end as usize;
        let body = PutBody::Bytes(from.bytes.slice(range));
        let CopyPartRequest { key, upload_id, number, .. } = request;
        self.upload_part(PartRequest { key, upload_id, number, ..PartRequest::default() }, body)
            .await
    }

    async fn complete_upload(&self, request: CompleteRequest) -> Result<Written, Error> {
        let key = &request.key;
        let fault = self.begin(Operation::CompleteUpload, key).await?;
        let key = key.clone();
        let written = self.arrive(&key, move |fake| fake.complete_arrived(&request)).await?;
        Self::answer(fault, Operation::CompleteUpload, &key, written)
    }

    async fn abort_upload(&self, key: &Key, upload_id: &str) -> Result<(), Error> {
        let fault = self.begin(Operation::AbortUpload, key).await?;
        self.with(|c| c.uploads.remove(upload_id));
        Self::answer(fault, Operation::AbortUpload, key, ())
    }

    async fn notifications(&self) -> Result<Notifications, Error> {
        Ok(Notifications::default())
    }

    async fn list_parts(&self, key: &Key, upload_id: &str) -> Result<Vec<ListedPart>, Error> {
        let fault = self.begin(Operation::ListParts, key).await?;
        let parts = self.with(|c| {
            let open = c.uploads.get(upload_id).filter(|open| open.key == *key)?;
            let algorithm = open.request.checksum.filter(|_| self.nature.checksums);
            let listed = open.parts.iter().map(|(number, (bytes, etag))| ListedPart {
                part: Part {
                    number: *number,
                    etag: etag.clone(),
                    checksum: algorithm.map(|algorithm| Crc::of(algorithm, bytes).encode()),
                },
                size: bytes.len() as u64,
            });
            Some(listed.collect())
        });
        let parts = parts.ok_or_else(|| error(Class::NoSuchUpload, Operation::ListParts, key))?;
        Self::answer(fault, Operation::ListParts, key, parts)
    }

    async fn delete(&self, request: DeleteRequest) -> Result<(), Error> {
        self.remove_one(request).await
    }

    async fn delete_many(
        &self,
        requests: Vec<DeleteRequest>,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        self.remove_all(requests).await
    }

    async fn list_uploads(&self, key: &Key) -> Result<Vec<OpenUpload>, Error> {
        let fault = self.begin(Operation::ListUploads, key).await?;
        let open = self.with(|c| {
            let of_key = c.uploads.iter().filter(|(_, open)| open.key == *key);
            of_key
                .map(|(id, open)| OpenUpload { upload_id: id.clone(), initiated: open.initiated })
                .collect()
        });
        Self::answer(fault, Operation::ListUploads, key, open)
    }
}
