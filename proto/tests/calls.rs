//! Calls over a real connection to a server that only records and answers as told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use s3sync_proto::client::{
    AgentLink, ApiClient, Code, ConnectOptions, Precondition, Secret, WriteOptions,
};
use s3sync_proto::model::{
    Ack, EndpointSpec, FromAgent, Held, Invalid, Name, Timestamp, ToAgent, Verdict, Violation,
};
use s3sync_proto::pb::agent::v1 as agent_pb;
use s3sync_proto::pb::v1 as pb;
use s3sync_proto::wire::{self, UnknownMessage};
use s3sync_proto::{model, status};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::metadata::MetadataMap;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use crate::values::named;

/// Long enough that only a test that hangs meets it.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the server saw.
#[derive(Clone, Default)]
struct Seen {
    create: Arc<Mutex<Vec<pb::CreateEndpointRequest>>>,
    update: Arc<Mutex<Vec<pb::UpdateEndpointRequest>>>,
    metadata: Arc<Mutex<Vec<MetadataMap>>>,
}

/// Answers reads by the name that is asked for, and writes with what was written.
#[tonic::async_trait]
impl pb::endpoint_service_server::EndpointService for Seen {
    async fn get_endpoint(
        &self,
        request: Request<pb::GetEndpointRequest>,
    ) -> Result<Response<pb::Endpoint>, Status> {
        self.metadata.lock().unwrap().push(request.metadata().clone());
        match request.get_ref().name.as_str() {
            "endpoints/many" => {
                let violation = Violation::new("destinations[0].bucket", "ü".repeat(3000));
                Err(Invalid { violations: vec![violation; 3000] }.into())
            }
            "endpoints/odd" => Ok(Response::new(pb::Endpoint::default())),
            name => Err(status::status_about(
                tonic::Code::NotFound,
                status::reason::RESOURCE_NOT_FOUND,
                name,
                format!("{name} does not exist"),
            )),
        }
    }

    async fn list_endpoints(
        &self,
        _: Request<pb::ListEndpointsRequest>,
    ) -> Result<Response<pb::ListEndpointsResponse>, Status> {
        Err(Status::internal("not of interest"))
    }

    async fn create_endpoint(
        &self,
        request: Request<pb::CreateEndpointRequest>,
    ) -> Result<Response<pb::Endpoint>, Status> {
        let request = request.into_inner();
        self.create.lock().unwrap().push(request.clone());
        Ok(Response::new(request.endpoint.unwrap_or_default()))
    }

    async fn update_endpoint(
        &self,
        request: Request<pb::UpdateEndpointRequest>,
    ) -> Result<Response<pb::Endpoint>, Status> {
        let request = request.into_inner();
        self.update.lock().unwrap().push(request.clone());
        Ok(Response::new(request.endpoint.unwrap_or_default()))
    }

    async fn delete_endpoint(
        &self,
        _: Request<pb::DeleteEndpointRequest>,
    ) -> Result<Response<()>, Status> {
        Ok(Response::new(()))
    }

    async fn probe_endpoint(
        &self,
        _: Request<pb::ProbeEndpointRequest>,
    ) -> Result<Response<pb::ProbeEndpointResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

type Outgoing =
    std::pin::Pin<Box<dyn Stream<Item = Result<agent_pb::OpenSessionResponse, Status>> + Send>>;

/// Answers Hello with an assignment of unknown work and then Facts with an Ack; ends with Goodbye.
#[tonic::async_trait]
impl agent_pb::agent_service_server::AgentService for Seen {
    type OpenSessionStream = Outgoing;

    async fn open_session(
        &self,
        request: Request<Streaming<agent_pb::OpenSessionRequest>>,
    ) -> Result<Response<Outgoing>, Status> {
        let incoming = request.into_inner();
        let answers = incoming
            .map(|message| wire::from_agent(message.unwrap()).unwrap())
            .take_while(|message| *message != FromAgent::Goodbye)
            .map(|message| {
                if matches!(message, FromAgent::Hello(_)) {
                    use agent_pb::open_session_response::Message;
                    let odd =
                        agent_pb::Assignment { assignment_id: 7, epoch: 2, ..Default::default() };
                    return Ok(agent_pb::OpenSessionResponse {
                        message: Some(Message::Assignment(odd)),
                    });
                }
                Ok(wire::to_agent_to(ToAgent::Ack(Ack { sequence: 1, verdict: Verdict::Applied })))
            });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// A server on a port of its own; ends when it is dropped.
async fn serve(seen: Seen) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let served = Server::builder()
            .add_service(pb::endpoint_service_server::EndpointServiceServer::new(seen.clone()))
            .add_service(agent_pb::agent_service_server::AgentServiceServer::new(seen))
            .serve_with_incoming(TcpListenerStream::new(listener));
        served.await.unwrap();
    });
    (address, tasks)
}

fn options(address: SocketAddr) -> ConnectOptions {
    ConnectOptions { url: format!("http://{address}"), ..Default::default() }
}

fn client(address: SocketAddr) -> ApiClient {
    ApiClient::new(&options(address)).unwrap()
}

fn hello() -> FromAgent {
    FromAgent::Hello(model::Hello {
        protocol: (1, 1),
        features: Vec::new(),
        agent: named("a"),
        instance_id: "i".to_owned(),
        version: String::new(),
        labels: Default::default(),
        endpoints: Vec::new(),
        held: Vec::new(),
        capacity: 1,
        now: Timestamp::default(),
    })
}

#[tokio::test]
async fn token_and_trace_context_go_with_a_call() {
    let seen = Seen::default();
    let (address, _tasks) = serve(seen.clone()).await;
    let options = ConnectOptions { token: Some(Secret::new("t0ken")), ..options(address) };
    let credentials = options.credentials().with_traceparent(Some("00-1-2-01".to_owned()));
    let mut client = ApiClient::over(options.channel().unwrap(), credentials);
    client.get_endpoint(&named("x")).await.unwrap_err();
    let metadata = seen.metadata.lock().unwrap().pop().unwrap();
    assert_eq!(metadata.get("authorization").unwrap(), "Bearer t0ken");
    assert_eq!(metadata.get("traceparent").unwrap(), "00-1-2-01");
}

#[tokio::test]
async fn an_error_arrives_with_its_reason() {
    let (address, _tasks) = serve(Seen::default()).await;
    let error = client(address).get_endpoint(&named("x")).await.unwrap_err();
    assert_eq!((error.code, error.reason.as_str()), (Code::NotFound, "RESOURCE_NOT_FOUND"));
    assert_eq!(error.message, "endpoints/x does not exist");
    assert!(!error.unreachable());
}

#[tokio::test]
async fn even_the_most_violations_arrive() {
    let (address, _tasks) = serve(Seen::default()).await;
    let error = client(address).get_endpoint(&named("many")).await.unwrap_err();
    assert_eq!((error.code, error.reason.as_str()), (Code::InvalidArgument, "FIELD_INVALID"));
    assert_eq!(error.violations[0].field, "destinations[0].bucket");
    let last = error.violations.last().unwrap();
    assert!(last.description.contains("more problems"), "{last:?}");
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_an_error_of_the_server() {
    let (address, _tasks) = serve(Seen::default()).await;
    let error = client(address).get_endpoint(&named("odd")).await.unwrap_err();
    assert_eq!(error.code, Code::Internal);
    assert!(error.message.contains("region: is missing"), "{error}");
}

#[tokio::test]
async fn a_precondition_chooses_the_call() {
    let seen = Seen::default();
    let (address, _tasks) = serve(seen.clone()).await;
    let mut client = client(address);
    let name: Name = named("x");
    let spec = EndpointSpec { region: "r".to_owned(), ..Default::default() };
    let mut put = async |precondition, validate_only, id: Option<&str>| {
        let options = WriteOptions { validate_only, request_id: id.map(str::to_owned) };
        client.put_endpoint(&name, &spec, precondition, options).await.unwrap()
    };
    put(Precondition::Absent, true, Some("id")).await;
    put(Precondition::Exists(Some("e1".to_owned())), false, None).await;
    let made = put(Precondition::Any(None), true, None).await;
    assert_eq!((made.name.as_str(), &made.spec), ("x", &spec));

    let create = seen.create.lock().unwrap().pop().unwrap();
    assert_eq!(
        (create.endpoint_id.as_str(), create.validate_only, create.request_id.as_str()),
        ("x", true, "id")
    );
    let updates = seen.update.lock().unwrap();
    let said: Vec<_> = updates
        .iter()
        .map(|update| {
            let etag = update.endpoint.as_ref().unwrap().etag.as_str();
            (etag, update.allow_missing, update.validate_only)
        })
        .collect();
    assert_eq!(said, [("e1", false, false), ("", true, true)]);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = client(address).get_endpoint(&named("x")).await.unwrap_err();
    assert!(error.unreachable(), "{error:?}");
    // The cause is told, and once.
    assert_eq!(error.message.matches("onnection refused").count(), 1, "{error}");
    assert_eq!(error.message.matches("transport error").count(), 1, "{error}");
}

#[tokio::test]
async fn a_message_that_is_not_understood_does_not_end_the_stream() {
    let (address, _tasks) = serve(Seen::default()).await;
    let options = options(address);
    let mut link =
        AgentLink::open(options.channel().unwrap(), options.credentials(), hello()).await.unwrap();
    let odd = link.receive().await.unwrap().unwrap().unwrap_err();
    let UnknownMessage::Assignment { held, .. } = odd else { panic!("{odd:?}") };
    assert_eq!(held, Held { id: 7, epoch: 2 });
    assert!(link.send(FromAgent::SplitDecline { held, reason: String::new() }).await);
    let ack = ToAgent::Ack(Ack { sequence: 1, verdict: Verdict::Applied });
    assert_eq!(link.receive().await.unwrap(), Some(Ok(ack)));
    assert!(link.sender().send(FromAgent::Goodbye).await);
    assert_eq!(link.receive().await.unwrap(), None);
}

/// Whatever h2 was doing when the connection broke, for a caller the server is gone.
#[tokio::test]
async fn a_connection_that_breaks_in_the_middle_is_unreachable() {
    let (server, _tasks) = serve(Seen::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut between = JoinSet::new();
    between.spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = TcpStream::connect(server).await.unwrap();
        drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
    });
    let options = options(address);
    let mut link =
        AgentLink::open(options.channel().unwrap(), options.credentials(), hello()).await.unwrap();
    assert!(link.receive().await.unwrap().is_some());
    between.shutdown().await;
    let error = tokio::time::timeout(PATIENCE, link.receive()).await.unwrap().unwrap_err();
    assert!(error.unreachable(), "{error:?}");
}

#[tokio::test]
async fn only_this_host_is_spoken_to_in_the_clear() {
    let channel = |url: &str, insecure: bool| {
        let options = ConnectOptions {
            url: url.to_owned(),
            token: Some(Secret::new("t0ken")),
            insecure,
            ..Default::default()
        };
        options.channel().map(drop)
    };
    for url in
        ["http://127.0.0.1:7400", "http://localhost:7400", "http://[::1]:7400", "https://a.example"]
    {
        assert_eq!(channel(url, false), Ok(()), "{url}");
    }
    for url in [
        "http://a.example",
        "http://10.0.0.1:7400",
        "http://localhost.example",
        "http://127.0.0.1.example",
    ] {
        assert_eq!(channel(url, false).unwrap_err().code, Code::InvalidArgument, "{url}");
        assert_eq!(channel(url, true), Ok(()), "{url}");
    }
    for url in [
        "",
        "a.example:7400",
        "ftp://a.example",
        "https://a.example/path",
        "https://me:pass@a.example",
    ] {
        let error = channel(url, true).unwrap_err();
        assert_eq!(error.code, Code::InvalidArgument, "{url}");
        assert!(!error.message.contains("pass"), "{error}");
    }
}

#[tokio::test]
async fn authorities_that_are_none_are_refused() {
    let url = "https://a.example".to_owned();
    let options = ConnectOptions { url, ca: Some(b"junk".to_vec()), ..Default::default() };
    let error = options.channel().unwrap_err();
    assert_eq!(error.code, Code::InvalidArgument);
    assert!(error.message.contains("no certificate"), "{error}");
}

#[test]
fn a_secret_is_not_shown() {
    let secret = Some(Secret::new("t0ken"));
    let options = ConnectOptions { token: secret.clone(), ..Default::default() };
    for shown in
        [format!("{secret:?}"), format!("{options:?}"), format!("{:?}", options.credentials())]
    {
        assert!(!shown.contains("t0ken") && shown.contains("[hidden]"), "{shown}");
    }
}
