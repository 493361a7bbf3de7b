"""Another service's way in: a client made from the .proto files, without any of our code."""

import json
import sys
import uuid

import grpc
from s3sync.v1 import endpoint_pb2, endpoint_pb2_grpc, job_pb2, job_pb2_grpc, run_pb2


def main():
    address, west, china = sys.argv[1:4]
    channel = grpc.insecure_channel(address)
    endpoints = endpoint_pb2_grpc.EndpointServiceStub(channel)
    jobs = job_pb2_grpc.JobServiceStub(channel)
    for name, region, url in [("usw2", "us-west-2", west), ("cnn1", "cn-north-1", china)]:
        endpoints.CreateEndpoint(endpoint_pb2.CreateEndpointRequest(
            endpoint_id=name,
            endpoint=endpoint_pb2.Endpoint(region=region, url=url, path_style=True),
        ))

    def place(endpoint, bucket, prefix):
        return job_pb2.Location(endpoint=endpoint, bucket=bucket, prefix=prefix)

    bad = job_pb2.Job(source=place("nowhere", "srcbucket", "srcfolder/"))
    try:
        jobs.CreateJob(job_pb2.CreateJobRequest(job_id="bad", job=bad))
        refused = None
    except grpc.RpcError as error:
        refused = error.code().name

    job = job_pb2.Job(
        source=place("usw2", "srcbucket", "srcfolder/"),
        destinations=[job_pb2.Destination(location=place("cnn1", "destbucket-cnn1", "destfolder/"))],
    )
    jobs.CreateJob(job_pb2.CreateJobRequest(job_id="media", job=job, request_id=str(uuid.uuid4())))
    request = job_pb2.RunJobRequest(name="jobs/media", request_id=str(uuid.uuid4()))
    run = jobs.RunJob(request)
    again = jobs.RunJob(request)
    kinds = []
    last = None
    for event in jobs.WatchRuns(run_pb2.WatchRunsRequest(run=run.name), timeout=120):
        kind = run_pb2.WatchRunsResponse.Kind.Name(event.kind)
        if not kinds or kinds[-1] != kind:
            kinds.append(kind)
        if event.HasField("run"):
            last = event.run
    failures = jobs.ListFailures(run_pb2.ListFailuresRequest(parent=run.name))
    print(json.dumps({
        "refused": refused,
        "same_run": run.name == again.name,
        "kinds": kinds,
        "state": run_pb2.RunState.Name(last.state),
        "copied": last.totals.copied,
        "failed": last.totals.failed,
        "failures": [
            [failure.key.decode(), failure.code, run_pb2.FailureClass.Name(getattr(failure, "class"))]
            for failure in failures.failures
        ],
        "services": reflected(channel),
    }))


def reflected(channel):
    """Names of the services, as the server itself tells them: a client needs no .proto file to find them."""
    list_services = channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=lambda raw: raw,
        response_deserializer=lambda raw: raw,
    )
    # ServerReflectionRequest{list_services: "*"}: field 7, length-delimited.
    answer = b"".join(list_services(iter([b"\x3a\x01*"]), timeout=20))
    names = ["s3sync.v1.EndpointService", "s3sync.v1.JobService", "s3sync.v1.AgentAdminService"]
    return [name for name in names if name.encode() in answer]


if __name__ == "__main__":
    main()
