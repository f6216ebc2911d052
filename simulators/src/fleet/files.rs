//! Over how many processes a fleet is spread, so that none opens more files than it may. Pure.

/// What a site needs open at most: its connection and both ends of the link's own socket, and with
/// an emulated link two more.
const PER_SITE: u64 = 3;
const PER_EMULATED_SITE: u64 = 5;
/// What a process needs beside its sites.
const OTHERS: u64 = 200;
/// The most processes that a fleet is spread over without being asked for more.
pub const MOST_WORKERS: u32 = 16;

/// There are too few files to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FilesError {
    /// For the sites.
    #[error(
        "{sites} sites in {workers} processes need {needed} open files in each, and a process may have {limit}: raise it with `ulimit -n {needed}`, or run at most {most} sites"
    )]
    Sites {
        /// The sites asked for.
        sites: u32,
        /// The processes for them.
        workers: u32,
        /// What each needs.
        needed: u64,
        /// What is allowed.
        limit: u64,
        /// What fits.
        most: u64,
    },
    /// For the cloud.
    #[error(
        "the cloud needs {needed} open files for {sites} sites, and may have {limit}: raise it with `ulimit -n {needed}` before the cloud starts (LimitNOFILE= in a systemd unit)"
    )]
    Cloud {
        /// The sites asked for.
        sites: u32,
        /// What it needs.
        needed: u64,
        /// What is allowed.
        limit: u64,
    },
}

/// How many processes so many sites need, or whether they fit in as many as are asked for.
pub fn workers(
    sites: u32,
    is_emulated: bool,
    limit: u64,
    asked: Option<u32>,
) -> Result<u32, FilesError> {
    let each = if is_emulated { PER_EMULATED_SITE } else { PER_SITE };
    let room = limit.saturating_sub(OTHERS) / each;
    let enough = u64::from(sites).div_ceil(room.max(1));
    let enough = u32::try_from(enough).unwrap_or(u32::MAX).min(MOST_WORKERS);
    let workers = asked.unwrap_or(enough).max(1);
    let in_each = u64::from(sites.div_ceil(workers));
    if in_each <= room {
        return Ok(workers);
    }
    let (needed, most) = (in_each * each + OTHERS, room * u64::from(workers));
    Err(FilesError::Sites { sites, workers, needed, limit, most })
}

/// Whether a cloud with this limit can have so many sites.
pub fn cloud(sites: u32, limit: u64) -> Result<(), FilesError> {
    let needed = u64::from(sites) + OTHERS;
    if needed <= limit { Ok(()) } else { Err(FilesError::Cloud { sites, needed, limit }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_fleet_stays_in_one_process_and_a_large_one_is_spread() {
        assert_eq!(workers(100, false, 1_024, None), Ok(1));
        assert_eq!(workers(6_600, false, 20_000, None), Ok(1));
        assert_eq!(workers(10_000, false, 20_000, None), Ok(2));
        assert_eq!(workers(10_000, true, 20_000, None), Ok(3));
        assert_eq!(workers(10, false, 1_024, Some(4)), Ok(4));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_would() {
        let error = workers(1_000, false, 500, Some(1)).unwrap_err();
        assert!(error.to_string().contains("`ulimit -n 3200`"), "{error}");
        assert!(error.to_string().contains("at most 100 sites"), "{error}");
        let error = workers(50_000, false, 1_024, None).unwrap_err();
        assert!(error.to_string().contains("in 16 processes"), "{error}");
        assert_eq!(cloud(10_000, 20_000), Ok(()));
        let error = cloud(10_000, 1_024).unwrap_err();
        assert!(error.to_string().contains("ulimit -n 10200"), "{error}");
    }
}
