//! What everything that works on one assignment shares.

use std::sync::Arc;

use s3sync_proto::model::{
    Assignment, BucketFacts, CompareMode, Destination, EndpointSpec, EtagKind, Location, Matcher,
    RequestSide, WaitReason,
};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::Sides;
use super::engine::{Engine, Pair};
use super::side::Side;
use crate::compare::Kinds;
use crate::copy::choose;
use crate::limits::Permit;
use crate::limits::throttle::Access;
use crate::meter::Meter;
use crate::s3::{Error, ObjectStore, Operation};
use crate::work::{Desk, Lost};

/// Shared by everything that works on one assignment.
pub(crate) struct Context {
    pub(crate) source: Side,
    pub(crate) destination: Side,
    pub(crate) options: Destination,
    pub(crate) compare: CompareMode,
    pub(crate) filter: Matcher,
    pub(crate) max_object: u64,
    /// Agents have died of this work.
    pub(crate) careful: bool,
    pub(crate) desk: Arc<dyn Desk>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) meter: Arc<Meter>,
    /// Ends what is in flight: uploads are aborted, keys stay unsettled.
    pub(crate) give_up: CancellationToken,
    /// Whether the two sides are such that S3 may be asked to copy by itself.
    one_place: bool,
    pair: Pair,
}

impl Context {
    pub(crate) fn new(
        assignment: &Assignment,
        filter: Matcher,
        sides: Sides,
        desk: Arc<dyn Desk>,
        engine: Arc<Engine>,
    ) -> Self {
        let meter = Arc::new(Meter::of_run(engine.tally(&assignment.run)));
        let throttle = engine.throttle(&assignment.run);
        let side = |which: RequestSide,
                    store: Arc<dyn ObjectStore>,
                    location: &Location,
                    spec: &EndpointSpec,
                    facts: &BucketFacts| Side {
            which,
            store,
            bucket: location.bucket.clone(),
            prefix: location.prefix.clone().into(),
            limiter: Access::new(
                engine.limiter(&location.endpoint),
                throttle.clone(),
                Arc::clone(&meter),
            ),
            known: engine.known(facts),
            fixed_etags: spec.etags,
            meter: Arc::clone(&meter),
            round_trip: engine.round_trip(&location.endpoint),
        };
        let Assignment { source, destination, source_endpoint, destination_endpoint, .. } =
            assignment;
        Self {
            source: side(
                RequestSide::Source,
                sides.source,
                source,
                source_endpoint,
                &assignment.source_facts,
            ),
            destination: side(
                RequestSide::Destination,
                sides.destination,
                &destination.location,
                destination_endpoint,
                &assignment.destination_facts,
            ),
            options: destination.clone(),
            compare: assignment.compare,
            careful: assignment.careful,
            filter,
            max_object: destination_endpoint.max_object_size.unwrap_or(choose::MAX_OBJECT),
            desk,
            meter,
            give_up: CancellationToken::new(),
            one_place: sides.server_side,
            pair: [source, &destination.location]
                .map(|place| (place.endpoint.clone(), place.bucket.clone())),
            engine,
        }
    }

    /// Whether the way of comparing never asks for a stamp; then none is written.
    pub(crate) fn compare_ignores_stamps(&self) -> bool {
        matches!(self.compare, CompareMode::Size | CompareMode::Etag)
    }

    /// Waits for a permit of the destination at a time when a commit may begin. No permit is held while that is not
    /// so: parts go on while the server is away.
    pub(crate) async fn commit_permit(&self) -> Result<Permit, Lost> {
        loop {
            self.meter.wait(WaitReason::Lease, self.desk.may_commit()).await?;
            let permit = self.destination.limiter.acquire().await;
            if self.desk.may_commit_now() {
                return Ok(permit);
            }
        }
    }

    /// The side that a request that failed went to.
    pub(crate) fn side_of(&self, error: &Error) -> &Side {
        let source = match error.operation {
            Operation::Get | Operation::GetTags | Operation::GetNotifications => true,
            Operation::List | Operation::Head => error.bucket == self.source.bucket,
            Operation::Put
            | Operation::Copy
            | Operation::CreateUpload
            | Operation::UploadPart
            | Operation::CopyPart
            | Operation::CompleteUpload
            | Operation::AbortUpload
            | Operation::ListUploads
            | Operation::ListParts
            | Operation::Delete
            | Operation::DeleteMany => false,
        };
        if source { &self.source } else { &self.destination }
    }

    /// Waits until so many bytes may be held in memory.
    pub(crate) async fn memory(&self, bytes: u64) -> OwnedSemaphorePermit {
        self.meter.wait(WaitReason::Memory, self.engine.bytes.acquire(bytes)).await
    }

    /// The longer of the two sides' round trips.
    pub(crate) fn round_trip(&self) -> std::time::Duration {
        self.source.round_trip.shortest().max(self.destination.round_trip.shortest())
    }

    pub(crate) fn kinds(&self) -> Kinds {
        Kinds { source: self.source.etags(), destination: self.destination.etags() }
    }

    /// Notes what was learned of a side's bucket and tells the server.
    pub(crate) async fn learn(&self, side: &Side, change: impl FnOnce(&mut BucketFacts)) {
        if let Some(facts) = side.known.learn(change) {
            self.desk.learned(facts).await;
        }
    }

    /// Notes what ETags of a bucket are. Once some are opaque, all count as such: a bucket can hold both.
    pub(crate) async fn learn_etags(&self, side: &Side, kind: EtagKind) {
        self.learn(side, |facts| {
            if facts.etags != Some(EtagKind::Opaque) {
                facts.etags = Some(kind);
            }
        })
        .await;
    }

    /// Notes what an answer says of a bucket's encryption: with KMS, ETags are not MD5s.
    pub(crate) async fn learn_encryption(&self, side: &Side, encryption: Option<&str>) {
        if encryption.is_some_and(|encryption| encryption.starts_with("aws:kms")) {
            self.learn_etags(side, EtagKind::Opaque).await;
        }
    }

    /// Whether S3 is to be asked to copy by itself.
    pub(crate) fn server_side(&self) -> bool {
        self.one_place && !self.engine.refuses(&self.pair)
    }

    /// Whether S3 could copy by itself but for its refusal.
    pub(crate) fn server_side_refused(&self) -> bool {
        self.one_place && self.engine.refuses(&self.pair)
    }

    /// Whether the destination has refused lately to copy an object onto itself.
    pub(crate) fn copies_onto_itself_refused(&self) -> bool {
        self.engine.refuses(&self.destination_twice())
    }

    /// The destination refused to copy an object onto itself; for a while that is not asked for.
    pub(crate) fn refuse_copies_onto_itself(&self, code: &str) {
        if self.engine.refuse(&self.destination_twice()) {
            let bucket = &self.destination.bucket;
            tracing::warn!(
                code,
                bucket,
                "objects cannot be copied onto themselves; they are copied anew"
            );
        }
    }

    fn destination_twice(&self) -> Pair {
        let [_, destination] = &self.pair;
        [destination.clone(), destination.clone()]
    }

    /// S3 refused to copy by itself; bytes between these two buckets go through this agent for a while.
    pub(crate) fn no_server_side(&self, code: &str) {
        if self.engine.refuse(&self.pair) {
            tracing::warn!(
                code,
                source = self.source.bucket,
                destination = self.destination.bucket,
                "server-side copy was refused; streaming instead"
            );
        }
    }
}
