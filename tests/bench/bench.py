"""Benchmarks: wall time, CPU seconds and peak memory of all processes of each tool, requests by kind, ratios."""

import http.server
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

TICKS = os.sysconf("SC_CLK_TCK")
WEST = ("AKIAWEST", "west-secret")
CHINA = ("AKIACHINA", "china-secret")


def call(url, method="GET", body=None):
    data = json.dumps(body).encode() if body is not None else None
    with urllib.request.urlopen(urllib.request.Request(url, data=data, method=method)) as answer:
        return json.loads(answer.read())


class Lab:
    """Two endpoints in a process of their own."""

    def __init__(self, demo):
        self.process = subprocess.Popen(
            [demo, "lab", "--endpoint", "west=us-west-2", "--key", f"west={WEST[0]}:{WEST[1]}", "--bucket", "west=source",
             "--endpoint", "china=cn-north-1", "--key", f"china={CHINA[0]}:{CHINA[1]}", "--bucket", "china=ours",
             "--bucket", "china=rclone"],
            stdout=subprocess.PIPE, text=True)
        said = json.loads(self.process.stdout.readline())
        self.admin, self.urls = said["admin"], said["endpoints"]

    def reset(self):
        for side in self.urls:
            call(f"{self.admin}/{side}/counts", "DELETE")

    def requests(self):
        sums = {}
        for side in self.urls:
            for row in call(f"{self.admin}/{side}/counts"):
                sums[row["operation"]] = sums.get(row["operation"], 0) + row["count"]
        return sums

    def digest(self, side, bucket):
        return call(f"{self.admin}/{side}/digest/{bucket}")


def usage(pid):
    with open(f"/proc/{pid}/status") as file:
        peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS, peak / 1024


class Ours:
    """Server and one agent, as a user would run them."""

    def __init__(self, demo, lab, folder, environment=None, pages=None):
        self.demo, self.folder = demo, folder
        environment = os.environ | (environment or {})
        ready = os.path.join(folder, "ready.json")
        self.server = subprocess.Popen(
            [demo, "server", "--data-dir", os.path.join(folder, "data"), "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0",
             "--ready-file", ready], stderr=open(os.path.join(folder, "server.log"), "w"),
            env=environment)
        while not os.path.exists(ready):
            time.sleep(0.05)
        said = json.load(open(ready))
        self.url, self.pages = "http://" + said["grpc"], [said["http"]]
        config = os.path.join(folder, "agent.toml")
        with open(config, "w") as file:
            file.write(f'server = "{self.url}"\nname = "bench"\n')
            if pages:
                file.write(f'http = "{pages}"\n')
                self.pages.append(pages)
            for name, key in [("west", WEST), ("china", CHINA)]:
                file.write(f'[endpoints.{name}]\naccess_key_id = "{key[0]}"\nsecret_access_key = "{key[1]}"\n')
        os.chmod(config, 0o600)
        self.agent = subprocess.Popen([demo, "agent", "--config", config],
                                      stderr=open(os.path.join(folder, "agent.log"), "w"), env=environment)
        job = os.path.join(folder, "job.yaml")
        with open(job, "w") as file:
            for name, region in [("west", "us-west-2"), ("china", "cn-north-1")]:
                url = lab.urls[name]
                file.write(f"kind: Endpoint\nname: {name}\nregion: {region}\nurl: {url}\npath_style: true\n---\n")
            file.write("kind: Job\nname: bench\nsource: {endpoint: west, bucket: source}\n"
                       "destinations: [{endpoint: china, bucket: ours}]\n")
        self.ctl("apply", "-f", job)
        # What starting costs is not what working costs.
        deadline = time.monotonic() + 30
        while "AGENT_STATE_ONLINE" not in self.ctl("agent", "list", "-o", "json"):
            assert time.monotonic() < deadline, "the agent does not connect"
            time.sleep(0.05)

    def ctl(self, *arguments):
        return subprocess.run([self.demo, "ctl", "--server", self.url, *arguments], check=True, capture_output=True,
                              text=True).stdout

    def database(self):
        data = os.path.join(self.folder, "data")
        return sum(os.path.getsize(os.path.join(data, name)) for name in os.listdir(data))

    def run(self):
        before = [usage(self.server.pid), usage(self.agent.pid)]
        begin = time.monotonic()
        self.ctl("job", "run", "bench", "--wait", "--quiet")
        wall = time.monotonic() - begin
        after = [usage(self.server.pid), usage(self.agent.pid)]
        cpu = sum(a[0] - b[0] for a, b in zip(after, before))
        return {"wall": wall, "cpu": cpu, "agent_peak_mib": after[1][1], "server_peak_mib": after[0][1]}

    def stop(self):
        for process in (self.agent, self.server):
            process.send_signal(signal.SIGTERM)
        for process in (self.agent, self.server):
            process.wait(60)


def rclone(program, lab, folder):
    config = os.path.join(folder, "rclone.conf")
    with open(config, "w") as file:
        for name, key, region in [("west", WEST, "us-west-2"), ("china", CHINA, "cn-north-1")]:
            file.write(f"[{name}]\ntype = s3\nprovider = Other\nenv_auth = false\naccess_key_id = {key[0]}\n"
                       f"secret_access_key = {key[1]}\nendpoint = {lab.urls[name]}\nregion = {region}\n"
                       "force_path_style = true\nlist_version = 2\n")
    begin = time.monotonic()
    child = subprocess.Popen([program, "--config", config, "sync", "west:source", "china:rclone", "--transfers", "32",
                              "--checkers", "32", "--fast-list", "--checksum", "--s3-upload-concurrency", "4",
                              "--s3-chunk-size", "16M", "--log-level", "ERROR"])
    _, status, used = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"rclone failed: {status}")
    return {"wall": time.monotonic() - begin, "cpu": used.ru_utime + used.ru_stime, "peak_mib": used.ru_maxrss / 1024}


def against(name, demo, peer, seed):
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(demo)
        call(f"{lab.admin}/west/seed/source", "PUT", seed)
        ours = Ours(demo, lab, folder)
        result = {"case": name}
        try:
            for phase in ("first", "again"):
                lab.reset()
                mine = ours.run() | {"requests": lab.requests()}
                lab.reset()
                theirs = rclone(peer, lab, folder) | {"requests": lab.requests()}
                result[phase] = {"ours": mine, "rclone": theirs,
                                 "wall_ratio": theirs["wall"] / mine["wall"], "cpu_ratio": theirs["cpu"] / max(mine["cpu"], 0.01)}
            equal = lab.digest("west", "source")
            assert equal == lab.digest("china", "ours") == lab.digest("china", "rclone"), "the copies differ"
        finally:
            ours.stop()
            lab.process.terminate()
    return result


def scan(demo, count):
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(demo)
        space = {"prefix": "d/", "count": count, "modified": 1_700_000_000_000_000}
        for side, bucket in [("west", "source"), ("china", "ours")]:
            call(f"{lab.admin}/{side}/generate/{bucket}", "PUT", space)
        ours = Ours(demo, lab, folder)
        try:
            database = ours.database()
            lab.reset()
            result = ours.run() | {"requests": lab.requests(), "database_growth": ours.database() - database}
            result["keys_per_second"] = count / result["wall"]
            run = json.loads(ours.ctl("run", "get", "bench", "-o", "json"))
            result["totals"] = run["totals"]
        finally:
            ours.stop()
            lab.process.terminate()
    return {"case": f"scan of {count} keys in step", **result}


def memory(name, demo, seed, call_name, compare):
    """Peak memory of an agent; bytes are made at the source, verified and dropped at the destination."""
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(demo)
        call(f"{lab.admin}/west/{call_name}/source", "PUT", seed)
        call(f"{lab.admin}/china/sink/ours", "PUT", {"prefix": ""})
        ours = Ours(demo, lab, folder)
        try:
            lab.reset()
            result = ours.run() | {"requests": lab.requests()}
            run = json.loads(ours.ctl("run", "get", "bench", "-o", "json"))
            assert int(run["totals"]["copied"]) == seed["count"], run["totals"]
            if compare:
                copies = call(f"{lab.admin}/china/objects/ours")
                originals = call(f"{lab.admin}/west/objects/source")
                seen = [[(o["key"], o["size"], o["checksum"]) for o in objects] for objects in (originals, copies)]
                assert seen[0] == seen[1], "the copies differ"
            assert result["agent_peak_mib"] <= 400, result
        finally:
            ours.stop()
            lab.process.terminate()
    return {"case": name, **result}


class Sink(http.server.BaseHTTPRequestHandler):
    """A collector that takes everything and keeps nothing."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


def observed(demo, seed, on):
    """One run: with metrics read every second and sent, and 1 % of the traces, or with all of it off."""
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(demo)
        call(f"{lab.admin}/west/seed/source", "PUT", seed)
        over = threading.Event()
        if on:
            sink = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
            threading.Thread(target=sink.serve_forever, daemon=True).start()
            environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{sink.server_address[1]}",
                           "OTEL_METRIC_EXPORT_INTERVAL": "1000", "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
                           "OTEL_TRACES_SAMPLER_ARG": "0.01"}
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                pages = f"127.0.0.1:{free.getsockname()[1]}"
        else:
            environment, pages = {"OTEL_SDK_DISABLED": "true"}, None
        ours = Ours(demo, lab, folder, environment, pages)

        def scrape():
            while not over.wait(1):
                for address in ours.pages:
                    urllib.request.urlopen(f"http://{address}/metrics").read()

        if on:
            threading.Thread(target=scrape, daemon=True).start()
        try:
            result = ours.run()
            assert lab.digest("west", "source") == lab.digest("china", "ours"), "the copies differ"
        finally:
            over.set()
            ours.stop()
            lab.process.terminate()
            if on:
                sink.shutdown()
    return result


def overhead(demo, seed, rounds):
    """Rounds in turn, so that what else the machine does meets both; the median of the ratios of neighbours."""
    pairs = [(observed(demo, seed, False), observed(demo, seed, True)) for _ in range(rounds)]
    ratio = {name: statistics.median(off[name] / on[name] for off, on in pairs) for name in ("wall", "cpu")}
    result = {"case": f"{seed['count']} x {seed['size']} B, telemetry against none", "rounds": rounds,
              "throughput_ratio": ratio["wall"], "cpu_ratio": ratio["cpu"],
              "off": [off for off, _ in pairs], "on": [on for _, on in pairs]}
    result["reached"] = ratio["wall"] >= 0.97
    return result


def main():
    demo, peer = os.path.abspath(sys.argv[1]), sys.argv[2]
    wanted = sys.argv[3:] or ["small", "large", "scan"]
    if "small" in wanted:
        print(json.dumps(against("10,000 x 4 KiB", demo, peer, {"prefix": "s/", "count": 10_000, "size": 4096}), indent=1))
    if "large" in wanted:
        print(json.dumps(against("8 x 256 MiB", demo, peer, {"prefix": "l/", "count": 8, "size": 256 << 20}), indent=1))
    if "memory" in wanted:
        small = {"prefix": "s/", "count": 100_000, "size": 4096, "modified": 1_700_000_000_000_000}
        print(json.dumps(memory("100,000 x 4 KiB", demo, small, "generate", False), indent=1))
        giants = {"prefix": "g/", "count": 64, "size": int(os.environ.get("S3SYNC_BENCH_GIANT_MIB", 1024)) << 20}
        print(json.dumps(memory(f"64 x {giants['size'] >> 20} MiB", demo, giants, "giants", True), indent=1))
    if "overhead" in wanted:
        seed = {"prefix": "s/", "count": 10_000, "size": 4096}
        print(json.dumps(overhead(demo, seed, int(os.environ.get("S3SYNC_BENCH_ROUNDS", 7))), indent=1))
    if "scan" in wanted:
        print(json.dumps(scan(demo, 1_000_000), indent=1))
    # Smaller, to try them out.
    scale = float(os.environ.get("S3SYNC_BENCH_SCALE", 1))
    if "limits" in wanted:
        for result in control.limits(demo, scale):
            print(json.dumps(result, indent=1))
    if "fair" in wanted:
        print(json.dumps(control.fairness(demo, scale), indent=1))
    if "deletes" in wanted:
        print(json.dumps(control.deletes(demo, scale), indent=1))


if __name__ == "__main__":
    # It uses what is here.
    import control

    main()
