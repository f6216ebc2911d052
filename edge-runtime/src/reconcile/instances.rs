//! What runs, in the order of apps and slots, so that it can be walked beside what is desired.

use gnomon_schemas::id::AppName;

use super::model::{Instance, Observed};

/// Every instance, by slot and then by id.
#[derive(Debug)]
pub(super) struct Instances<'a>(Vec<&'a Instance>);

impl<'a> Instances<'a> {
    /// They come by ids, which say nothing of slots; that most comparisons are of numbers is what makes
    /// this cheap.
    pub(super) fn of(observed: &'a Observed) -> Self {
        let all = observed.instances.values();
        let mut all: Vec<_> = all.map(|it| (beginning(&it.slot.app), it)).collect();
        all.sort_by(|(a, one), (b, other)| a.cmp(b).then_with(|| one.slot.cmp(&other.slot)));
        Self(all.into_iter().map(|(_, it)| it).collect())
    }

    /// Each app that has any, with them.
    pub(super) fn by_app(&self) -> impl Iterator<Item = (&'a AppName, &[&'a Instance])> {
        let apps = self.0.chunk_by(|a, b| a.slot.app == b.slot.app);
        apps.filter_map(|own| Some((&own.first()?.slot.app, own)))
    }

    /// Those of one app.
    pub(super) fn of_app(&self, app: &AppName) -> &[&'a Instance] {
        let from = self.0.partition_point(|it| it.slot.app < *app);
        let rest = self.0.get(from..).unwrap_or_default();
        let until = rest.partition_point(|it| it.slot.app == *app);
        rest.get(..until).unwrap_or_default()
    }
}

/// The first letters of a name, as a number that compares as they do.
fn beginning(name: &AppName) -> u128 {
    let mut letters = [0; size_of::<u128>()];
    for (letter, byte) in letters.iter_mut().zip(name.as_str().bytes()) {
        *letter = byte;
    }
    u128::from_be_bytes(letters)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_beginnings_of_names_compare_as_the_names_unless_they_are_equal(
            a in "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", b in "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?"
        ) {
            let (a, b): (AppName, AppName) = (a.parse().unwrap(), b.parse().unwrap());
            let (one, other) = (beginning(&a), beginning(&b));
            prop_assert!(one == other || one.cmp(&other) == a.cmp(&b), "{a} {b}");
        }
    }
}
