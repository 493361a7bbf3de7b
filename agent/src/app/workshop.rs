//! Opens the two sides of an assignment and puts a worker on it.

use std::sync::Arc;

use async_trait::async_trait;
use s3sync_proto::model::{
    Answer, Ask, Assignment, KeyExplanation, PlanAsk, PlanPart, Share, Watch, WorkError,
};

use s3sync_telemetry::traces;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::session::Workshop;
use crate::stores::Stores;
use crate::watch;
use crate::work::{Desk, Orders, WatchDesk};
use crate::worker::{self, Engine};
use crate::{explain, probe, setup, survey};

/// See the module.
pub(super) struct EngineWorkshop {
    pub(super) stores: Stores,
    pub(super) engine: Arc<Engine>,
}

#[async_trait]
impl Workshop for EngineWorkshop {
    async fn work(
        &self,
        assignment: Assignment,
        desk: Arc<dyn Desk>,
        orders: Orders,
    ) -> Result<(), WorkError> {
        let sides = self.stores.open_sides(&assignment)?;
        worker::run(assignment, sides, desk, orders, Arc::clone(&self.engine)).await;
        Ok(())
    }

    async fn watch(
        &self,
        watch: Watch,
        desk: Arc<dyn WatchDesk>,
        orders: Orders,
    ) -> Result<(), WorkError> {
        let queue = self.stores.open_queue(&watch.spec, &watch.endpoint)?;
        watch::follow(watch, queue, desk, orders).await;
        Ok(())
    }

    fn share(&self, shares: &[Share], until: Instant) {
        self.engine.share(shares, until);
    }

    fn keep_shares(&self, until: Instant) {
        self.engine.keep_shares(until);
    }

    async fn answer(&self, ask: Ask) -> Answer {
        match ask {
            Ask::Explain(work) => match self.explain(*work).await {
                Ok(explained) => Answer::Explained(Box::new(explained)),
                Err(error) => Answer::Refused(error),
            },
            Ask::Plan(ask) => match self.survey(*ask).await {
                Ok(part) => Answer::Planned(Box::new(part)),
                Err(error) => Answer::Refused(error),
            },
            Ask::Activity(run) => Answer::Active(Box::new(self.engine.activity(&run))),
            Ask::Probe(probe) => {
                let span = tracing::info_span!("probe");
                probe::probe(&self.stores, &self.engine, probe).instrument(span).await
            }
            Ask::Setup(ask) => {
                let span = tracing::info_span!("check");
                setup::look(&self.stores, &self.engine, *ask).instrument(span).await
            }
        }
    }
}

impl EngineWorkshop {
    async fn explain(&self, work: Assignment) -> Result<KeyExplanation, WorkError> {
        let sides = self.stores.open_sides(&work)?;
        let span = tracing::info_span!("explain", run = %work.run);
        traces::adopt(&span, &work.traceparent);
        explain::explain(work, sides, Arc::clone(&self.engine)).instrument(span).await
    }

    async fn survey(&self, ask: PlanAsk) -> Result<PlanPart, WorkError> {
        let sides = self.stores.open_sides(&ask.work)?;
        let span = tracing::info_span!("plan", run = %ask.work.run);
        traces::adopt(&span, &ask.work.traceparent);
        survey::survey(ask, sides, Arc::clone(&self.engine)).instrument(span).await
    }
}
