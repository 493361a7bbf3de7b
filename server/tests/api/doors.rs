//! What needs no .proto file, and which token it needs.

use s3sync_proto::pb::v1 as pb;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use super::*;

async fn reflect(
    server: &Server,
    token: Option<&str>,
    asked: MessageRequest,
) -> Result<ServerReflectionResponse, tonic::Status> {
    let channel = server.options(token).channel().unwrap();
    let credentials = server.options(token).credentials();
    let mut client = ServerReflectionClient::with_interceptor(channel, credentials);
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(asked) };
    let mut answers =
        client.server_reflection_info(tokio_stream::once(request)).await?.into_inner();
    Ok(answers.message().await?.expect("one answer to one question"))
}

fn services(answer: ServerReflectionResponse) -> Vec<String> {
    match answer.message_response {
        Some(MessageResponse::ListServicesResponse(list)) => {
            list.service.into_iter().map(|one| one.name).collect()
        }
        other => panic!("not a list: {other:?}"),
    }
}

#[tokio::test]
async fn reflection_lists_every_service_and_tells_what_they_take() {
    let server = server(Tokens::default()).await;
    let listed =
        services(reflect(&server, None, MessageRequest::ListServices("".into())).await.unwrap());
    for service in [
        pb::endpoint_service_server::SERVICE_NAME,
        pb::job_service_server::SERVICE_NAME,
        pb::agent_admin_service_server::SERVICE_NAME,
        s3sync_proto::pb::agent::v1::agent_service_server::SERVICE_NAME,
        "grpc.health.v1.Health",
    ] {
        assert!(listed.iter().any(|one| one == service), "{service} is not among {listed:?}");
        let asked = MessageRequest::FileContainingSymbol(service.to_owned());
        let answer = reflect(&server, None, asked).await.unwrap().message_response;
        let told = matches!(answer, Some(MessageResponse::FileDescriptorResponse(_)));
        assert!(told, "{service} is not described");
    }
}

#[tokio::test]
async fn health_and_reflection_open_to_either_token_and_to_no_other() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;
    let tokens = Tokens {
        api: vec![(name("alice"), Secret::new("the-api-token-1"))],
        agent: Some(Secret::new("the-agent-token")),
    };
    let server = server(tokens).await;
    for (token, allowed) in [
        (Some("the-api-token-1"), true),
        (Some("the-agent-token"), true),
        (Some("the-api-token-2"), false),
        (None, false),
    ] {
        let listed = reflect(&server, token, MessageRequest::ListServices("".into())).await;
        assert_eq!(listed.is_ok(), allowed, "reflection with {token:?}");
        let options = server.options(token);
        let mut health =
            HealthClient::with_interceptor(options.channel().unwrap(), options.credentials());
        let checked = health.check(HealthCheckRequest::default()).await;
        assert_eq!(checked.is_ok(), allowed, "health with {token:?}");
        if let Err(refused) = checked {
            assert_eq!(refused.code(), tonic::Code::Unauthenticated);
        }
    }
}
