//! How long a file is asked for that somebody has locked.

use std::time::Duration;

use backon::ConstantBuilder;

/// A second: a lock outlives its owner for a moment where a child was between `fork` and `exec`
/// when the owner gave it up or died.
pub(crate) fn patience() -> ConstantBuilder {
    ConstantBuilder::new().with_delay(Duration::from_millis(10)).with_max_times(100)
}
