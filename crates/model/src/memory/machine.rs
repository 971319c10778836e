//! Memory of the machine, and the limits that its cgroups set for this process.

use super::MachineMemory;

/// Bytes assumed where the system reports nothing.
const UNKNOWN: u64 = 8 << 30;

impl MachineMemory {
    /// The memory that the system reports, or less where a cgroup of this process allows less; 8 GiB where nothing is
    /// reported.
    pub fn detect() -> Self {
        Self { total: reported().unwrap_or(UNKNOWN) }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn reported() -> Option<u64> {
    linux::memory(std::path::Path::new("/"))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn reported() -> Option<u64> {
    use sysinfo::{MemoryRefreshKind, RefreshKind, System};
    let ram = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    Some(System::new_with_specifics(ram).total_memory()).filter(|bytes| *bytes > 0)
}

/// Files of Linux: `/proc/meminfo`, and the limits of cgroups of version 1 and 2.
#[cfg(any(target_os = "linux", target_os = "android", test))]
mod linux {
    use std::fs::read_to_string;
    use std::path::{Component, Path, PathBuf};

    /// The smaller of the machine's memory and the limits of this process's cgroups. `root` stands for `/`.
    pub(super) fn memory(root: &Path) -> Option<u64> {
        let text = |path: &str| read_to_string(root.join(path)).unwrap_or_default();
        let (cgroups, mounts) = (text("proc/self/cgroup"), text("proc/self/mountinfo"));
        let limits = mounts.lines().filter_map(Mount::parse).filter_map(|mount| {
            let path = cgroups.lines().find_map(|line| mount.version.path(line))?;
            mount.limit(root, path)
        });
        limits.chain(total(&text("proc/meminfo"))).min()
    }

    /// `MemTotal` of `/proc/meminfo`.
    fn total(meminfo: &str) -> Option<u64> {
        let kib = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        kib.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    }

    /// Version of a cgroup hierarchy.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Version {
        V1,
        V2,
    }

    impl Version {
        /// The path that a line of `/proc/self/cgroup` gives: `5:memory:/a` in version 1, `0::/a` in version 2.
        fn path(self, line: &str) -> Option<&str> {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?);
            let found = match self {
                Self::V1 => controllers.split(',').any(|name| name == "memory"),
                Self::V2 => controllers.is_empty(),
            };
            found.then_some(path)
        }

        fn limit_file(self) -> &'static str {
            match self {
                Self::V1 => "memory.limit_in_bytes",
                Self::V2 => "memory.max",
            }
        }
    }

    /// A mounted hierarchy that may limit memory.
    #[derive(Debug, PartialEq, Eq)]
    struct Mount {
        version: Version,
        /// The cgroup that is mounted.
        top: PathBuf,
        /// Folder that it is mounted on.
        point: PathBuf,
    }

    impl Mount {
        /// Reads a line of `/proc/self/mountinfo`: `30 23 0:26 TOP POINT rw - TYPE cgroup rw,memory`.
        fn parse(line: &str) -> Option<Self> {
            let (before, after) = line.split_once(" - ")?;
            let (mut before, mut after) = (before.split(' ').skip(3), after.split(' '));
            let version = match (after.next()?, after.nth(1).unwrap_or_default()) {
                ("cgroup2", _) => Version::V2,
                ("cgroup", options) if options.split(',').any(|option| option == "memory") => Version::V1,
                _ => return None,
            };
            Some(Self { version, top: unescape(before.next()?), point: unescape(before.next()?) })
        }

        /// The smallest limit of the cgroup at `path` and its ancestors, as far as they are mounted.
        fn limit(&self, root: &Path, path: &str) -> Option<u64> {
            let point = root.join(self.point.strip_prefix("/").unwrap_or(&self.point));
            // inside a container the path may be the host's, which is not mounted: the top is the container's cgroup
            let below = Path::new(path).strip_prefix(&self.top).unwrap_or(Path::new(""));
            let plain = below.components().all(|part| matches!(part, Component::Normal(_)));
            let below = if plain { below } else { Path::new("") };
            let limit = |below: &Path| {
                let text = read_to_string(point.join(below).join(self.version.limit_file())).ok()?;
                // version 2 writes `max` where there is none
                text.trim().parse::<u64>().ok().filter(|bytes| *bytes > 0)
            };
            below.ancestors().filter_map(limit).min()
        }
    }

    /// Decodes the octal escapes of a path, such as `\040` for a space.
    fn unescape(path: &str) -> PathBuf {
        let mut out = String::new();
        let mut rest = path;
        while let Some(at) = rest.find('\\') {
            let code = rest.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok());
            out.push_str(&rest[..at]);
            match code {
                Some(code) => out.push(char::from(code)),
                None => out.push('\\'),
            }
            rest = &rest[at + if code.is_some() { 4 } else { 1 }..];
        }
        out.push_str(rest);
        out.into()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        const MIB: u64 = 1 << 20;

        /// A machine of 16 GiB with these files.
        fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
            let root = tempfile::tempdir().unwrap();
            let meminfo = ("proc/meminfo", "MemTotal:       16777216 kB\nMemFree: 1 kB\n");
            for (path, text) in files.iter().chain([&meminfo]) {
                let path = root.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            root
        }

        fn mib(files: &[(&str, &str)]) -> u64 {
            memory(machine(files).path()).unwrap() / MIB
        }

        const V2: (&str, &str) = (
            "proc/self/mountinfo",
            "22 28 0:20 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n\
             30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
        );

        #[test]
        fn a_machine_without_cgroups_has_its_own_memory() {
            assert_eq!(mib(&[]), 16384);
            assert_eq!(memory(Path::new("/nowhere/at/all")), None);
        }

        #[test]
        fn the_smallest_limit_of_the_ancestors_holds() {
            let own = ("proc/self/cgroup", "0::/user.slice/run.scope\n");
            let files = [
                V2,
                own,
                ("sys/fs/cgroup/user.slice/memory.max", "2147483648\n"),
                ("sys/fs/cgroup/user.slice/run.scope/memory.max", "max\n"),
                ("sys/fs/cgroup/other.slice/memory.max", "1048576\n"),
            ];
            assert_eq!(mib(&files), 2048, "the parent's, not a stranger's");
            let tighter =
                [&files[..], &[("sys/fs/cgroup/user.slice/run.scope/memory.max", "1073741824")]].concat();
            assert_eq!(mib(&tighter), 1024);
            let looser = [&files[..2], &[("sys/fs/cgroup/user.slice/memory.max", "99999999999999")]].concat();
            assert_eq!(mib(&looser), 16384, "a limit above the machine's memory");
        }

        #[test]
        fn the_cgroup_of_a_container_is_at_the_mount() {
            let limit = ("sys/fs/cgroup/memory.max", "536870912\n");
            for own in ["0::/\n", "0::/docker/abc\n", "0::/../../outside\n"] {
                assert_eq!(mib(&[V2, ("proc/self/cgroup", own), limit]), 512, "{own}");
            }
        }

        #[test]
        fn limits_of_version_1_are_read() {
            let mounts = "31 25 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                          33 25 0:29 /docker/abc /mnt/a\\040b rw - cgroup cgroup rw,memory\n";
            let own = "4:cpu,cpuacct:/docker/abc\n3:hugetlb,memory:/docker/abc/job\n0::/init\n";
            let files = [
                ("proc/self/mountinfo", mounts),
                ("proc/self/cgroup", own),
                ("mnt/a b/job/memory.limit_in_bytes", "268435456\n"),
                ("mnt/a b/memory.limit_in_bytes", "9223372036854771712\n"),
                ("sys/fs/cgroup/cpu/memory.limit_in_bytes", "1048576\n"),
            ];
            assert_eq!(mib(&files), 256);
            assert_eq!(mib(&files[..2]), 16384, "no file, no limit");
        }

        #[test]
        fn torn_files_count_as_absent() {
            let files = [V2, ("proc/self/cgroup", "0\n\n0:\n"), ("sys/fs/cgroup/memory.max", "12x")];
            assert_eq!(mib(&files), 16384);
            assert_eq!(total("MemTotal: many kB"), None);
            assert_eq!(unescape("a\\04"), Path::new("a\\04"));
        }
    }
}
