//! What the system allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::contestants::Problem;

/// Descriptors that a process has beside its connections.
const OTHERS: u64 = 64;

/// Raises the limit on open files as far as it may, and fails if so many connections still do not fit.
///
/// # Errors
/// The limit is too low, and may not be raised.
pub fn raise_descriptors(connections: usize) -> Result<(), Problem> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // What is allowed then is looked at below.
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: limit.maximum,
                maximum: limit.maximum,
            },
        );
    }
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let needed = connections as u64 + OTHERS;
    if needed > allowed {
        return Err(format!(
            "{connections} connections need {needed} open files, and a process may have {allowed} here: raise \
             `ulimit -n`, or ask for fewer connections with `--to`"
        )
        .into());
    }
    Ok(())
}

/// Fails if the system has fewer ports than there are to be connections from one address to one other.
///
/// # Errors
/// There are too few.
pub fn check_ports(connections: usize) -> Result<(), Problem> {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")?;
    let ports = ports(&range).ok_or("the kernel does not say which ports it has")?;
    if connections > ports {
        return Err(format!(
            "{connections} connections need as many ports, and this system has {ports}: widen \
             net.ipv4.ip_local_port_range, or ask for fewer connections with `--to`"
        )
        .into());
    }
    Ok(())
}

/// How many ports lie between two, as the kernel writes them.
fn ports(range: &str) -> Option<usize> {
    let mut numbers = range.split_whitespace().map(str::parse::<usize>);
    let (low, high) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some((high + 1).saturating_sub(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_the_range_are_ports() {
        assert_eq!(ports("32768\t60999\n"), Some(28_232));
        assert_eq!(ports("1024"), None);
    }

    #[test]
    fn more_connections_than_files_are_refused_with_what_to_do() {
        let refused = raise_descriptors(usize::MAX / 2).expect_err("nobody has so many");
        assert!(refused.to_string().contains("ulimit -n"), "{refused}");
    }
}
