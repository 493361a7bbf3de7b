//! What a fake bucket holds, and how it gets there beside requests.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use md5::{Digest as _, Md5};
use s3sync_proto::model::{Key, Timestamp};

use super::{Contents, Fake, Nature, OpenFake, Stored};
use crate::copy::digest::hex;
use crate::s3::{Attributes, CreateUploadRequest, Written};

impl Fake {
    pub(super) fn written(&self, stored: &Stored) -> Written {
        let encryption = (!self.nature.md5_etags).then(|| "aws:kms".to_owned());
        Written { etag: stored.etag.clone(), checksum: None, encryption }
    }
}

impl Contents {
    pub(in super::super) fn store(
        &mut self,
        nature: Nature,
        key: &Key,
        bytes: Bytes,
        attributes: Attributes,
    ) -> Stored {
        self.clock += 1;
        self.serial += 1;
        let etag = match nature.md5_etags {
            true => hex(&Md5::digest(&bytes)),
            false => hex(&Md5::digest(self.serial.to_be_bytes())),
        };
        let modified = Timestamp::from_micros(self.clock * 1_000_000);
        let (tags, parts) = (Vec::new(), Vec::new());
        let mut attributes = attributes;
        if self.forgets_redirects {
            attributes.website_redirect = None;
        }
        let stored = Stored { bytes, etag, modified, attributes, tags, parts };
        self.history.push((key.clone(), stored.bytes.clone()));
        self.objects.insert(key.clone(), stored.clone());
        stored
    }

    /// Time passes for what is stored from now on.
    pub(in super::super) fn pass(&mut self, time: Duration) {
        self.clock += i64::try_from(time.as_secs()).unwrap();
    }

    pub(in super::super) fn open_upload(&mut self, key: &str, at: Timestamp) -> String {
        self.serial += 1;
        let id = format!("upload-{}", self.serial);
        let request = CreateUploadRequest::default();
        let parts = BTreeMap::new();
        let key = Key::from(key);
        self.uploads.insert(id.clone(), OpenFake { key, request, initiated: at, parts });
        id
    }
}
