#![allow(dead_code, clippy::print_stdout)]
mod guest;
fn main() -> anyhow::Result<()> {
    use guest::*;
    let cache = std::path::Path::new("target/bench/kernel");
    let kernel = kernel::Kernel::fetch(cache)?;
    println!("{kernel:?}");
    let mut image = image::Image::new()?;
    image.program(std::path::Path::new("target/debug/spawner"), "/bin/spawner")?;
    image.program(std::path::Path::new("/usr/sbin/bpftool"), "/bin/bpftool")?;
    let archive = image.finish("spawner --child /srv/bench/child --count 300 >/dev/null\necho \"@@none $(spawner --child /srv/bench/child --count 2000)\"\necho \"@@none $(spawner --child /srv/bench/child --count 2000)\"\nuname -r\nls /sys/kernel/btf\n");
    let start = std::time::Instant::now();
    let console = boot::run(
        &kernel,
        &archive,
        std::path::Path::new("target/bench/guest"),
        std::time::Duration::from_secs(300),
    )?;
    println!("{:?} {console:?}", start.elapsed());
    for v in console.values("none") {
        println!("{v}");
    }
    Ok(())
}
