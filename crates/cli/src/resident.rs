//! Keeps only the needed part of the program's file in this process's memory.
//!
//! Bring-up runs through most of the program once: the command line, the quirk table, descriptors, every
//! service of MBIM, netlink. The kernel keeps each touched page of it mapped, and fifteen beside it
//! (`fault_around_bytes`), so that over 10 MiB of text and constants stand in a process that needs less than
//! one afterwards. They are unmapped when a session comes online, when bring-up has not quite ended, and
//! with each measurement of data use, a minute apart. Pages that are needed again come from the page cache.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ops::Range;

use rustix::mm::{Advice, madvise};

/// Unmaps the program's pages. Pages that are needed again are mapped again.
///
/// The function reads `/proc/self/smaps` and makes the system call `madvise`, a few milliseconds in
/// all. Other threads may run meanwhile; each pays a minor page fault for every 64 KiB that it uses
/// again.
pub fn let_go_of_the_program() {
    let smaps = match std::fs::read_to_string("/proc/self/smaps") {
        Ok(smaps) => smaps,
        Err(error) => {
            tracing::debug!("the program stays in memory: {error}");
            return;
        }
    };
    let own = let_go_of_the_program as *const () as usize;
    for range in only_read(&smaps, own) {
        let start = std::ptr::with_exposed_provenance_mut::<c_void>(range.start);
        // SAFETY: the mapping is one of the program's own file, which no code unmaps or makes
        // writable while the process runs, so that it is still the one in the list. It is private,
        // and no page of it is this process's own copy, so each comes from the file again unchanged.
        let gone = unsafe { madvise(start, range.len(), Advice::LinuxDontNeed) };
        if let Err(error) = gone {
            tracing::debug!("a part of the program stays in memory: {error}");
        }
    }
}

/// Returns the address ranges of private mappings of the file that stands at the address `own`, as far as this
/// process only reads them and no page is a copy of its own. `smaps` is the text of `/proc/PID/smaps`
/// (proc_pid_smaps(5)).
///
/// Relocated constants (`RELRO`) may not be written either, but they are copies, and would be lost.
fn only_read(smaps: &str, own: usize) -> Vec<Range<usize>> {
    let mappings = || smaps.lines().filter_map(Mapping::read);
    let Some(program) = mappings().find(|mapping| mapping.range.contains(&own)) else {
        return Vec::new();
    };
    let mut ranges = Vec::new();
    let mut candidate = None;
    for line in smaps.lines() {
        if let Some(count) = line.strip_prefix("Anonymous:") {
            let copies = count.split_whitespace().next() != Some("0");
            ranges.extend(candidate.take().filter(|_| !copies));
        } else if let Some(mapping) = Mapping::read(line) {
            candidate =
                (mapping.only_read && mapping.file == program.file).then_some(mapping.range);
        }
    }
    ranges
}

/// The first line of a mapping.
struct Mapping<'s> {
    range: Range<usize>,
    /// Whether the mapping is private and may not be written.
    only_read: bool,
    /// Device and inode, which are 0 for a mapping without a file.
    file: (&'s str, &'s str),
}

impl<'s> Mapping<'s> {
    /// Reads a line; `None` for one that begins no mapping.
    fn read(line: &'s str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let start = usize::from_str_radix(start, 16).ok()?;
        let end = usize::from_str_radix(end, 16).ok()?;
        let permissions = words.next()?;
        let file = (words.nth(1)?, words.next()?);
        Some(Self {
            range: start..end,
            only_read: file.1 != "0" && matches!(permissions, "r-xp" | "r--p"),
            file,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text is that of Linux 6.12, without the lines in between.
    const SMAPS: &str = "\
55d0c0000000-55d0c0200000 r--p 00000000 fe:01 1234                       /usr/bin/uwwan
Size:               2048 kB
Rss:                1676 kB
Anonymous:             0 kB
VmFlags: rd mr mw me sd
55d0c0200000-55d0c1000000 r-xp 00200000 fe:01 1234                       /usr/bin/uwwan
Anonymous:             0 kB
55d0c1000000-55d0c1080000 r--p 01000000 fe:01 1234                       /usr/bin/uwwan
Anonymous:           512 kB
55d0c1080000-55d0c1090000 rw-p 01080000 fe:01 1234                       /usr/bin/uwwan
Anonymous:             0 kB
55d0c2000000-55d0c2100000 rw-p 00000000 00:00 0                          [heap]
Anonymous:          1024 kB
55d0d0000000-55d0d0200000 r-xp 00000000 fe:01 1235                       /usr/lib/libc.so.6
Anonymous:             0 kB
7f0000000000-7f0000010000 r--s 00000000 00:06 99                         /dev/bus/usb/001/002
Anonymous:             0 kB
7f0000020000-7f0000030000 r--p 00000000 00:00 0 
Anonymous:             0 kB
7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0                          [vdso]
Anonymous:             0 kB
";

    #[test]
    fn only_what_comes_from_a_file_again_is_let_go_of() {
        let program = 0x55d0_c000_0000..0x55d0_c020_0000;
        let text = 0x55d0_c020_0000..0x55d0_c100_0000;
        assert_eq!(only_read(SMAPS, 0x55d0_c030_0000), [program, text]);
    }

    #[test]
    fn text_that_is_no_list_of_mappings_names_none() {
        for text in ["", "Anonymous: 0 kB\n", "1-2 r-xp\nAnonymous: 0 kB", "x-y"] {
            assert!(only_read(text, 1).is_empty(), "{text:?}");
        }
    }

    /// Returns how many KiB of files are mapped in this process.
    fn of_files() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssFile:"));
        let count = line.unwrap().split_whitespace().next().unwrap();
        count.parse().unwrap()
    }

    #[test]
    fn a_process_goes_on_with_less_of_its_program_in_memory() {
        let before = of_files();
        let_go_of_the_program();
        let after = of_files();
        assert!(after < before, "{before} KiB before, {after} KiB after");
    }
}
