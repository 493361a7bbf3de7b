//! The domain types. They hold only what is valid as far as one value alone can tell; rules that need more than one
//! resource (does the endpoint exist, do jobs overlap) are the server's.

mod agent;
mod ask;
mod audit;
mod counters;
mod endpoint;
mod events;
mod failure;
mod filter;
mod invalid;
mod job;
mod key;
mod name;
mod plan;
mod queue;
mod run;
mod setup;
mod time;
mod usage;
mod view;
mod work;

pub use agent::{Agent, AgentEndpoint, AgentState, AllowRule, Verb};
pub use ask::{
    AgentProbe, Answer, Ask, CheckState, CopyWay, DestinationExplanation, DirtyKey, DirtyState,
    EndpointProbe, Explanation, FEATURE_ASK, KeyExplanation, KeyVerdict, NextStep, ObjectState,
    PlaceProbe, Presence, Probe, ProbeCheck, Question, ShownChecksum,
};
pub use audit::{
    AuditCall, AuditEntry, AuditOutcome, MAX_AUDIT_REASON_BYTES, MAX_AUDIT_REQUEST_BYTES,
};
pub use counters::Counters;
pub use endpoint::{BucketFacts, Endpoint, EndpointSpec, EtagKind};
pub use events::{
    Dirty, EventBatch, EventKind, FEATURE_EVENTS, Following, Gap, MAX_EVENT_BYTES_PER_BATCH,
    MAX_EVENTS_PER_BATCH, MAX_UNREADABLE_PER_BATCH, News, ObjectEvent, QueueState, QueueStatus,
    SPARE_KEY_WORKS, UnreadableMessage, Watch,
};
pub use failure::{Failure, FailureClass, FailureGroup, WorkError};
pub use filter::{KeyMatch, MAX_PATTERN_BYTES, MAX_PATTERNS, Matcher, pattern_problem};
pub use invalid::{Invalid, Violation};
pub use job::{
    CompareMode, DeleteMode, DeletePolicy, Destination, Encryption, Filter, Job, JobSpec, LastRun,
    Limits, Location, MAX_DESTINATIONS, OverlapPolicy, Schedule, Timing, Warning,
};
pub use key::{Key, KeyRange, MAX_KEY_BYTES, moves_text};
pub use name::{MAX_NAME_CHARS, Name, NotAName, RunName};
pub use plan::{
    DestinationPlan, Difference, FEATURE_PLAN, JobPlan, MAX_SAMPLES, PlanAsk, PlanPart, PlanTally,
    PlannedKeys,
};
pub use queue::{MAX_RECEIVERS_PER_QUEUE, Queue, QueueSpec};
pub use run::{
    DeleteReview, DeleteShare, DestinationProgress, MAX_DELETE_SAMPLES, Run, RunState, Trigger,
};
pub use setup::{
    BucketSetup, FEATURE_SETUP, Notification, NotificationTarget, Notifications, QueueAttributes,
    QueueCheck, QueueSetup, Setup, SetupAsk, SetupPlace, SetupStep,
};
pub use time::Timestamp;
pub use usage::{
    Activity, EndpointLoad, FEATURE_ACTIVITY, Happening, Operation, RequestSide, RequestUsage,
    RunReport, TimelineEntry, Usage, WaitReason, WaitUsage,
};
pub use view::{HeldRange, MAX_HELD_SHOWN, RangeState, RangeStrip, RunAgent, RunStage, RunView};
pub use work::{
    Ack, Assignment, DeleteWork, ExtraKey, Extras, FEATURE_CAREFUL, FEATURE_COMPARE,
    FEATURE_DELETES, FEATURE_EVENT_DELETES, FEATURE_KEYS, FEATURE_LIMITS, FromAgent, Held, Hello,
    Lease, MAX_DELETING, MAX_KEY_BYTES_PER_WORK, MAX_KEYS_PER_WORK, MAX_OBJECT_BYTES,
    MAX_OPENED_WITH, MAX_PARTS, MAX_TRACE_LINKS, Outcome, Share, Shares, SplitProposal, State,
    Suspicion, ToAgent, Upload, UploadIntent, UploadPlan, Verdict, Welcome, Work, WorkReport,
};
