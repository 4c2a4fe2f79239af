fn main() -> std::process::ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some(c) = vctl_agent::probe::self_test::child(&args) {
        return c;
    }
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .init();
    let t = std::time::Instant::now();
    let p = vctl_agent::probe::Probe::start(vctl_agent::probe::ProbeOptions {
        pin_dir: "/sys/fs/bpf/t1".into(),
        ring_bytes: 16 << 20,
        capture_all: false,
        failed_exec: true,
        log: false,
    });
    match p {
        Ok(mut p) => {
            println!("ok {:?} taken {}", t.elapsed(), p.taken_over);
            let t = std::time::Instant::now();
            println!("{:?} {:?}", p.watch_failed_execs(true), t.elapsed());
            let t = std::time::Instant::now();
            println!("{:?} {:?}", p.watch_failed_execs(false), t.elapsed());
            println!(
                "{}",
                std::fs::read_to_string("/proc/self/status")
                    .unwrap()
                    .lines()
                    .filter(|l| l.starts_with("VmRSS") || l.starts_with("VmHWM"))
                    .collect::<Vec<_>>()
                    .join(" ")
            );
        }
        Err(e) => {
            let mut e: &dyn std::error::Error = &e;
            loop {
                println!("{e}");
                match e.source() {
                    Some(s) => e = s,
                    None => break,
                }
            }
        }
    }
    std::process::ExitCode::SUCCESS
}
