//! AgentAdminService.

use s3sync_proto::pb::v1 as pb;
use s3sync_proto::pb::v1::agent_admin_service_server::AgentAdminService;
use s3sync_proto::wire;
use tonic::{Request, Response, Status};

use super::status::{missing, refused};
use super::{Context, page};

pub(super) struct Agents(pub(super) Context);

#[tonic::async_trait]
impl AgentAdminService for Agents {
    async fn get_agent(
        &self,
        request: Request<pb::GetAgentRequest>,
    ) -> Result<Response<pb::Agent>, Status> {
        let name = wire::agent_name(&request.get_ref().name)?;
        let agents = self.0.store.agents().await.map_err(refused)?;
        let agent = agents.into_iter().find(|agent| agent.name == name);
        agent
            .map(|agent| Response::new(wire::agent_to(agent)))
            .ok_or_else(|| missing(&request.get_ref().name))
    }

    async fn list_agents(
        &self,
        request: Request<pb::ListAgentsRequest>,
    ) -> Result<Response<pb::ListAgentsResponse>, Status> {
        let pb::ListAgentsRequest { page_size, page_token } = request.into_inner();
        let agents = self.0.store.agents().await.map_err(refused)?;
        let named = agents.into_iter().map(|agent| (agent.name.to_string(), wire::agent_to(agent)));
        let (agents, next_page_token) = page::by_name("agents", named, page_size, &page_token)?;
        Ok(Response::new(pb::ListAgentsResponse { agents, next_page_token }))
    }
}
