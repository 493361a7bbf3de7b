"""What the control plane promises of several agents and runs: limits, fairness, deletes. Cases of bench.py."""

import json
import os
import subprocess
import tempfile
import time

from bench import CHINA, WEST, Lab, call, usage

# Short, so that a dead agent's share is dealt anew soon.
TIMES = ["--heartbeat-interval", "1s", "--write-window", "4s", "--session-ttl", "8s"]
EXPIRES = 8
BUCKETS = ["source", "ours", "huge"]


class Cluster:
    """A server with some agents, and jobs from the west to China."""

    def __init__(self, demo, lab, folder, agents, times=()):
        self.demo, self.folder, self.agents = demo, folder, {}
        ready = os.path.join(folder, "ready.json")
        self.server = self.start("server", "server", "--data-dir", os.path.join(folder, "data"), "--listen", "127.0.0.1:0",
                                 "--http", "127.0.0.1:0", "--ready-file", ready, *times)
        while not os.path.exists(ready):
            time.sleep(0.05)
        self.url = "http://" + json.load(open(ready))["grpc"]
        for n in range(agents):
            self.add_agent(f"agent-{n}")
        self.apply("".join(
            f"---\nkind: Endpoint\nname: {name}\nregion: {region}\nurl: {lab.urls[name]}\npath_style: true\n"
            for name, region in [("west", "us-west-2"), ("china", "cn-north-1")]))
        while len(self.list("agent")) < agents:
            time.sleep(0.1)

    def start(self, name, *arguments):
        log = open(os.path.join(self.folder, f"{name}.log"), "a")
        return subprocess.Popen([self.demo, *arguments], stderr=log)

    def add_agent(self, name):
        config = os.path.join(self.folder, f"{name}.toml")
        # Deletes must be allowed by name.
        rule = '{{ bucket = "{}", verbs = ["list", "read", "write", "delete"] }}'
        allow = f'allow = [{", ".join(rule.format(bucket) for bucket in BUCKETS)}]\n'
        with open(config, "w") as file:
            file.write(f'server = "{self.url}"\nname = "{name}"\n')
            for endpoint, key in [("west", WEST), ("china", CHINA)]:
                file.write(f'[endpoints.{endpoint}]\naccess_key_id = "{key[0]}"\nsecret_access_key = "{key[1]}"\n{allow}')
        os.chmod(config, 0o600)
        self.agents[name] = self.start(name, "agent", "--config", config)

    def kill(self, name):
        agent = self.agents.pop(name)
        agent.kill()
        agent.wait()

    def ctl(self, *arguments):
        done = subprocess.run([self.demo, "ctl", "--server", self.url, *arguments], capture_output=True, text=True,
                              timeout=1_800)
        if done.returncode:
            raise SystemExit(f"{arguments}: {done.stderr}")
        return done.stdout

    def list(self, kind):
        return [json.loads(line) for line in self.ctl(kind, "list", "-o", "jsonl").splitlines()]

    def apply(self, text):
        path = os.path.join(self.folder, "documents.yaml")
        with open(path, "w") as file:
            file.write(text)
        self.ctl("apply", "-f", path)

    def job(self, name, source, destination, more=""):
        self.apply(f"kind: Job\nname: {name}\nsource: {{endpoint: west, {source}}}\n"
                   f"destinations: [{{endpoint: china, {destination}}}]\n{more}")

    def run(self, job):
        return json.loads(self.ctl("run", "get", job, "-o", "json"))

    def ended(self, job):
        return self.run(job)["state"] not in ("RUN_STATE_PENDING", "RUN_STATE_RUNNING", "PENDING", "RUNNING")

    def succeeded(self, job):
        run = self.run(job)
        assert run["state"].endswith("SUCCEEDED"), run
        return run

    def stop(self):
        for process in (*self.agents.values(), self.server):
            process.terminate()
        for process in (*self.agents.values(), self.server):
            process.wait(60)


def rates(lab, cluster, job, measure, after, victim):
    """What is used in each second of a run; after so many seconds an agent is killed."""
    seconds, before, begin = [], measure(lab.requests()), time.monotonic()
    while not cluster.ended(job):
        time.sleep(max(0.0, begin + len(seconds) + 1 - time.monotonic()))
        now = measure(lab.requests())
        seconds.append(now - before)
        before = now
        if len(seconds) == after:
            cluster.kill(victim)
    return seconds


def limit(name, demo, limit, setup, measure, allowed, after):
    """A limit over three agents, one of which dies: steady before, never above, and back when its session has expired."""
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(demo)
        cluster = Cluster(demo, lab, folder, 3, TIMES)
        try:
            setup(lab)
            cluster.job("bench", "bucket: source", "bucket: ours", f"limits: {{ {limit} }}\n")
            lab.reset()
            cluster.ctl("job", "run", "bench")
            seconds = rates(lab, cluster, "bench", measure, after, "agent-1")
            cluster.succeeded("bench")
        finally:
            cluster.stop()
            lab.process.terminate()
    mean = lambda some: sum(some) / max(len(some), 1)
    # Without the beginning, until listings are ahead, and without the end.
    steady, back = seconds[5:after], seconds[after + EXPIRES + 4:-5]
    most = max(mean(seconds[at:at + 10]) for at in range(max(len(seconds) - 10, 1)))
    result = {"case": name, "limit": allowed, "seconds": len(seconds), "three_agents": mean(steady), "two_agents": mean(back),
              "most_in_10_s": most}
    result["within_10_percent"] = (
        bool(steady and back) and all(0.9 <= mean(some) / allowed <= 1.1 for some in (steady, back)) and most <= 1.1 * allowed)
    return result | ({} if result["within_10_percent"] else {"by_second": seconds})


def limits(demo, scale):
    keys = {"prefix": "s/", "count": int(15_000 * scale), "size": 4096, "modified": 1_700_000_000_000_000}
    sink = lambda lab: call(f"{lab.admin}/china/sink/ours", "PUT", {"prefix": ""})

    def small(lab):
        call(f"{lab.admin}/west/generate/source", "PUT", keys)
        sink(lab)

    def large(lab):
        call(f"{lab.admin}/west/giants/source", "PUT", {"prefix": "l/", "count": int(1_200 * scale), "size": 1 << 20})
        sink(lab)

    after = max(int(25 * scale), 10)
    # A GET and a PUT for each object, and listings.
    yield limit("requests_per_second over three agents", demo, "requests_per_second: 500", small,
                lambda counts: sum(counts.values()), 500, after)
    yield limit("bandwidth over three agents", demo, "bandwidth: 20MiB/s", large,
                lambda counts: counts.get("PutObject", 0), 20, after)


def fairness(demo, scale):
    """Ten runs of 100 objects, alone and beside one of many that has begun."""
    huge = int(200_000 * scale)
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(demo)
        cluster = Cluster(demo, lab, folder, 2)
        try:
            call(f"{lab.admin}/west/buckets/huge", "PUT")
            call(f"{lab.admin}/china/buckets/huge", "PUT")
            call(f"{lab.admin}/west/generate/huge", "PUT",
                 {"prefix": "h/", "count": huge, "size": 4096, "modified": 1_700_000_000_000_000})
            call(f"{lab.admin}/china/sink/huge", "PUT", {"prefix": ""})
            cluster.job("huge", "bucket: huge", "bucket: huge")
            took = {}
            for phase in ("alone", "beside"):
                names = [f"{phase}-{n}" for n in range(10)]
                for name in names:
                    call(f"{lab.admin}/west/seed/source", "PUT", {"prefix": f"{name}/", "count": 100, "size": 4096})
                    place = f"bucket: {{}}, prefix: {name}/"
                    cluster.job(name, place.format("source"), place.format("ours"))
                if phase == "beside":
                    lab.reset()
                    cluster.ctl("job", "run", "huge")
                    while lab.requests().get("PutObject", 0) < huge // 50:
                        time.sleep(0.1)
                begin = time.monotonic()
                for name in names:
                    cluster.ctl("job", "run", name)
                open_runs, ends = set(names), []
                while open_runs:
                    for name in sorted(open_runs):
                        if cluster.ended(name):
                            cluster.succeeded(name)
                            ends.append(time.monotonic() - begin)
                            open_runs.discard(name)
                took[phase] = {"first": ends[0], "last": ends[-1]}
            still = not cluster.ended("huge")
            done = int(cluster.run("huge")["totals"].get("copied", 0))
            while not cluster.ended("huge"):
                time.sleep(0.5)
            cluster.succeeded("huge")
        finally:
            cluster.stop()
            lab.process.terminate()
    return {"case": f"ten runs of 100 objects beside one of {huge}", **took, "huge_went_on": still, "huge_had_copied": done}


def deletes(demo, scale):
    """A mirror that deletes many keys at once."""
    gone, kept = int(50_000 * scale), 1_000
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(demo)
        cluster = Cluster(demo, lab, folder, 1)
        try:
            for side, bucket in [("west", "source"), ("china", "ours")]:
                call(f"{lab.admin}/{side}/seed/{bucket}", "PUT", {"prefix": "kept/", "count": kept, "size": 16, "seed": 1})
            call(f"{lab.admin}/china/seed/ours", "PUT", {"prefix": "gone/", "count": gone, "size": 16, "seed": 1})
            policy = "deletes: {policy: mirror, max_percent: 100, max_count: 1000000}\n"
            cluster.job("bench", "bucket: source", "bucket: ours", policy)
            lab.reset()
            before, begin = usage(cluster.agents["agent-0"].pid), time.monotonic()
            cluster.ctl("job", "run", "bench", "--wait", "--quiet")
            wall = time.monotonic() - begin
            after = usage(cluster.agents["agent-0"].pid)
            run = cluster.succeeded("bench")
            assert int(run["totals"]["deleted"]) == gone, run["totals"]
            assert lab.digest("west", "source") == lab.digest("china", "ours"), "not a mirror"
            requests = lab.requests()
        finally:
            cluster.stop()
            lab.process.terminate()
    return {"case": f"{gone} deletes", "wall": wall, "deletes_per_second": gone / wall, "agent_cpu": after[0] - before[0],
            "agent_peak_mib": after[1], "requests": requests}
