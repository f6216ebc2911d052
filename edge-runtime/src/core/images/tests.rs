use super::*;
use crate::orchestrator::images::{Disk, FoundImage};

const START: Moment = Moment::from_millis(1_000);
const GRACE: Duration = Duration::from_hours(24);

fn found(name: &str, id: &str) -> FoundImage {
    FoundImage { id: id.to_owned(), names: [canonical(name)].into(), in_use: false }
}

fn survey<const N: usize>(images: [FoundImage; N]) -> ImageSurvey {
    ImageSurvey { images: images.into(), disk: Some(Disk { free: 90, total: 100 }) }
}

fn tight(survey: ImageSurvey) -> ImageSurvey {
    ImageSurvey { disk: Some(Disk { free: 1, total: 100 }), ..survey }
}

fn needed<const N: usize>(names: [&str; N]) -> Needed {
    names.map(|name| if name.starts_with("id") { name.to_owned() } else { canonical(name) }).into()
}

fn clear(image: &str, id: &str) -> Option<Effect> {
    Some(Effect::Clear { image: image.to_owned(), id: id.to_owned() })
}

/// The record of these images, each seen once with an id of its own.
fn owning<const N: usize>(names: [&str; N]) -> (Images, ImageSurvey) {
    let mut images = Images::default();
    names.iter().for_each(|name| images.fetched(name, format!("id-{name}")));
    let all = names.map(|name| found(name, &format!("id-{name}")));
    let survey = survey(all);
    assert_eq!(images.surveyed(START, &survey, &needed(names), GRACE), None);
    images.look_at = None;
    (images, survey)
}

/// The record as another run of the agent reads it.
fn after_restart(mut images: Images) -> Images {
    let rows = images.take().into_iter().filter_map(|(key, value)| Some((key, value?)));
    let mut other = Images::default();
    other.load(&rows.collect::<Vec<_>>());
    other
}

#[test]
fn an_image_goes_when_its_grace_is_over_and_not_before() {
    let (mut images, survey) = owning(["a:1"]);
    assert_eq!(images.review(START, &needed(["a:1"])), None, "nothing may go");
    assert_eq!(images.review(START, &needed([])), Some(Effect::Survey), "is the disk tight?");
    assert_eq!(images.surveyed(START, &survey, &needed([]), GRACE), None);
    let later = START + GRACE;
    assert_eq!(images.review(later, &needed([])), Some(Effect::Survey));
    assert_eq!(images.review(later, &needed([])), None, "one look at a time");
    assert_eq!(images.surveyed(later, &survey, &needed([]), GRACE), clear("a:1", "id-a:1"));
    images.cleared(later, "a:1", Ok(Cleared::Gone));
    assert!(images.is_empty());
    assert!(after_restart(images).is_empty());
}

#[test]
fn what_some_revision_may_need_by_name_or_id_stays_also_on_a_tight_disk() {
    let (mut images, survey) = owning(["busybox", "b:1", "c:1"]);
    let keep = needed(["busybox:latest", "id-b:1"]);
    assert_eq!(images.review(START, &keep), Some(Effect::Survey));
    let survey = tight(survey);
    assert_eq!(images.surveyed(START, &survey, &keep, GRACE), clear("c:1", "id-c:1"));
    images.cleared(START, "c:1", Ok(Cleared::Gone));
    let later = START + GRACE * 2;
    assert_eq!(images.surveyed(later, &survey, &keep, GRACE), None);
}

#[test]
fn being_needed_again_ends_the_grace() {
    let (mut images, survey) = owning(["a:1"]);
    images.review(START, &needed([]));
    images.missed(START);
    images.review(START + GRACE / 2, &needed(["a:1"]));
    images.missed(START);
    let later = START + GRACE;
    images.review(later, &needed([]));
    assert_eq!(images.surveyed(later, &survey, &needed([]), GRACE), None);
}

#[test]
fn on_a_tight_disk_they_go_at_once_the_one_that_was_unneeded_longest_first() {
    let (mut images, survey) = owning(["a:1", "b:1"]);
    images.review(START, &needed(["a:1"]));
    images.missed(START);
    let later = START + LOOK_EVERY;
    assert_eq!(images.review(later, &needed([])), Some(Effect::Survey));
    let survey = tight(survey);
    assert_eq!(images.surveyed(later, &survey, &needed([]), GRACE), clear("b:1", "id-b:1"));
    images.cleared(later, "b:1", Ok(Cleared::Gone));
    assert_eq!(images.review(later, &needed([])), Some(Effect::Survey), "is it enough?");
    assert_eq!(images.surveyed(later, &survey, &needed([]), GRACE), clear("a:1", "id-a:1"));
}

#[test]
fn a_pull_that_found_no_room_makes_room() {
    let (mut images, survey) = owning(["a:1", "b:1"]);
    images.review(START, &needed([]));
    images.missed(START);
    images.is_full(START);
    assert_eq!(images.review(START, &needed([])), Some(Effect::Survey));
    assert_eq!(images.surveyed(START, &survey, &needed([]), GRACE), clear("a:1", "id-a:1"));
    images.cleared(START, "a:1", Ok(Cleared::Gone));
    images.review(START, &needed([]));
    assert_eq!(images.surveyed(START, &survey, &needed([]), GRACE), clear("b:1", "id-b:1"));
}

#[test]
fn foreign_images_and_what_a_container_uses_are_left_alone() {
    let (mut images, _) = owning(["a:1", "b:1"]);
    let later = START + GRACE;
    images.review(START, &needed([]));
    images.missed(START);
    let used = FoundImage { in_use: true, ..found("a:1", "id-a:1") };
    let all = tight(survey([used, found("b:1", "id-another"), found("foreign:1", "id-f")]));
    assert_eq!(images.surveyed(later, &all, &needed([]), GRACE), None);
    let now = tight(survey([found("b:1", "id-b:1"), found("foreign:1", "id-f")]));
    assert_eq!(images.surveyed(later, &now, &needed([]), GRACE), None, "the name was taken over");
    assert!(images.is_empty(), "a is gone and b is somebody else's");
}

#[test]
fn the_record_outlives_the_agent_and_a_store_that_was_lost() {
    let (images, survey) = owning(["a:1"]);
    let mut images = after_restart(images);
    images.review(START, &needed([]));
    images.missed(START);
    let later = START + GRACE;
    assert_eq!(images.surveyed(later, &survey, &needed([]), GRACE), clear("a:1", "id-a:1"));
    images.load(&[]);
    assert_eq!(images.take().len(), 1, "it is written again");
    images.missed(START);
    images.load(&[(b"image/torn:1".to_vec(), b"{".to_vec())]);
    assert_eq!(images.owned.len(), 1, "what cannot be read is nobody's to remove");
}

#[test]
fn a_removal_that_fails_is_tried_again_later() {
    let (mut images, survey) = owning(["a:1"]);
    images.review(START, &needed([]));
    images.surveyed(START, &survey, &needed([]), Duration::ZERO);
    images.cleared(START, "a:1", Err("no".to_owned()));
    assert_eq!(images.review(START, &needed([])), None);
    assert_eq!(images.review(START + LOOK_EVERY, &needed([])), Some(Effect::Survey));
}
