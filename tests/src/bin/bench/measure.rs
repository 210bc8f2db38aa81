//! CPU time and memory of this process, from `/proc`: Linux only.

use std::{error::Error, fs};

/// CPU seconds that this process has used so far, all threads, user and system; in steps of 10 ms.
pub(crate) fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    // proc(5): utime and stime are the 14th and 15th word, in ticks of which Linux shows programs 100 a second. The
    // second word is the program's name in parentheses, which may hold spaces.
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, words) = stat.rsplit_once(')').ok_or("/proc/self/stat is odd")?;
    let words: Vec<&str> = words.split_whitespace().collect();
    let ticks = |index: usize| -> Result<f64, Box<dyn Error>> {
        let word = words.get(index).ok_or("/proc/self/stat is short")?;
        Ok(word.parse::<f64>()?)
    };
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

/// Seconds since this process began, in steps of 10 ms.
pub(crate) fn wall_seconds() -> Result<f64, Box<dyn Error>> {
    // proc(5): the 22nd word is when the process began, in ticks since the machine did.
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, words) = stat.rsplit_once(')').ok_or("/proc/self/stat is odd")?;
    let begun = words.split_whitespace().nth(19);
    let begun: f64 = begun.ok_or("/proc/self/stat is short")?.parse()?;
    let uptime = fs::read_to_string("/proc/uptime")?;
    let now = uptime.split_whitespace().next();
    let now: f64 = now.ok_or("/proc/uptime is empty")?.parse()?;
    Ok(now - begun / 100.0)
}

/// The most memory that this process has had at any time, in MB.
pub(crate) fn peak_rss_mb() -> Result<f64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .ok_or("/proc/self/status has no VmHWM")?;
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024.0 / 1e6)
}
