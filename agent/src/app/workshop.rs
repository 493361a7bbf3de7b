//! Opens the two sides of an assignment and puts a worker on it.

use std::sync::Arc;

use async_trait::async_trait;
use s3sync_proto::model::{Assignment, WorkError};

use crate::session::Workshop;
use crate::stores::Stores;
use crate::work::{Desk, Orders};
use crate::worker::{self, Engine};

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
}
