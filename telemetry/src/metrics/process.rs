//! What the system knows of this process, under the names that Prometheus' own clients use.

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use crate::Program;

/// Linux counts times of processes in ticks of 1/100 s, on all machines (`getconf CLK_TCK`).
const TICKS_PER_SECOND: f64 = 100.0;

/// What is in `/proc/self/status` and `/proc/self/stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Usage {
    resident: u64,
    virtual_: u64,
    cpu_seconds: f64,
    /// Since the machine was started.
    started: f64,
}

/// Observes them whenever metrics are read. Where there is no `/proc` they are left out.
pub(super) fn observe(meter: &Meter, program: Program) {
    meter
        .u64_observable_gauge("s3sync.build_info")
        .with_description("1, with the program and its version as labels")
        .with_callback(move |observer| {
            let version = KeyValue::new("version", program.version);
            observer.observe(1, &[KeyValue::new("program", program.name), version]);
        })
        .build();
    meter
        .u64_observable_gauge("process.resident_memory")
        .with_unit("By")
        .with_description("Resident memory of the process")
        .with_callback(|observer| {
            usage().into_iter().for_each(|usage| observer.observe(usage.resident, &[]));
        })
        .build();
    meter
        .u64_observable_gauge("process.virtual_memory")
        .with_unit("By")
        .with_description("Virtual memory of the process")
        .with_callback(|observer| {
            usage().into_iter().for_each(|usage| observer.observe(usage.virtual_, &[]));
        })
        .build();
    meter
        .f64_observable_counter("process.cpu")
        .with_unit("s")
        .with_description("CPU time that the process used, in user and in system mode")
        .with_callback(|observer| {
            usage().into_iter().for_each(|usage| observer.observe(usage.cpu_seconds, &[]));
        })
        .build();
    meter
        .f64_observable_gauge("process.start_time")
        .with_unit("s")
        .with_description("When the process was started, in seconds since 1970")
        .with_callback(|observer| {
            if let (Some(usage), Some(booted)) = (usage(), booted()) {
                observer.observe(booted + usage.started, &[]);
            }
        })
        .build();
    meter
        .u64_observable_gauge("process.open_fds")
        .with_description("File descriptors that the process has open")
        .with_callback(|observer| {
            if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
                // One of them is that of the folder itself.
                observer.observe((open.count() as u64).saturating_sub(1), &[]);
            }
        })
        .build();
}

fn usage() -> Option<Usage> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    parse(&status, &stat)
}

fn parse(status: &str, stat: &str) -> Option<Usage> {
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    // The second field is the program's name in parentheses, which may hold blanks and parentheses.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some(Usage {
        resident: kib("VmRSS:")? * 1024,
        virtual_: kib("VmSize:")? * 1024,
        cpu_seconds: (ticks(11)? + ticks(12)?) / TICKS_PER_SECOND,
        started: ticks(19)? / TICKS_PER_SECOND,
    })
}

/// When the machine was started, in seconds since 1970.
fn booted() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_process_are_read() {
        let status = "Name:\tx y\nVmPeak:\t 99 kB\nVmSize:\t 2048 kB\nVmRSS:\t    10 kB\n";
        let stat = "7 (x) y) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 3 0 12345 99";
        let expected =
            Usage { resident: 10_240, virtual_: 2_097_152, cpu_seconds: 3.0, started: 123.45 };
        assert_eq!(parse(status, stat), Some(expected));
        assert_eq!(parse("", stat), None);
        assert_eq!(parse(status, "7 (x) S"), None);
    }
}
