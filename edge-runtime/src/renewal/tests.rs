//! When a certificate is renewed, by the calendar of a node that may be wrong.

use proptest::prelude::*;

use super::*;

const DAY: u64 = 24 * 60 * 60;

fn at(seconds: u64) -> Moment {
    Moment::from_millis(seconds * 1000)
}

fn ninety_days(place: u16) -> Renewal {
    Renewal::new(Validity { begins_s: 1000 * DAY, ends_s: 1090 * DAY }, place)
}

#[test]
fn it_is_renewed_after_two_thirds_of_its_life_and_a_bit() {
    assert_eq!(ninety_days(0).due_s(), 1060 * DAY);
    assert_eq!(ninety_days(u16::MAX).due_s(), 1060 * DAY + 90 * DAY / 12);
    let renewal = ninety_days(0);
    assert_eq!(renewal.next(at(0), 1060 * DAY), Next::Renew);
    assert_eq!(renewal.next(at(0), 1060 * DAY - 9), Next::Wait(Duration::from_secs(9)));
    assert_eq!(renewal.next(at(0), 0), Next::Wait(Duration::from_hours(1)), "a clock may be set");
    assert_eq!(renewal.next(at(0), 2000 * DAY), Next::Renew, "the clock may be ahead");
}

#[test]
fn a_clock_that_is_years_ahead_does_not_renew_without_end() {
    let mut renewal = ninety_days(7);
    assert_eq!(renewal.next(at(5), 9000 * DAY), Next::Renew);
    renewal.renewed(at(5), ninety_days(9));
    let mut asked = 0;
    for hour in 0..24 * 40 {
        asked += u32::from(renewal.next(at(5 + hour * 3600), 9000 * DAY) == Next::Renew);
    }
    assert_eq!(asked, 24 * 10, "not in the first thirty days");
}

#[test]
fn a_failure_is_waited_for_and_then_tried_again() {
    let mut renewal = ninety_days(0);
    renewal.failed(at(100), Duration::from_mins(1));
    assert_eq!(renewal.next(at(100), 1061 * DAY), Next::Wait(Duration::from_mins(1)));
    assert_eq!(renewal.next(at(160), 1061 * DAY), Next::Renew);
}

#[test]
fn a_thousand_nodes_that_joined_together_spread_over_the_window() {
    let mut parts = [0; 4];
    for number in 0..1000_u32 {
        let place = Sha256::digest(number.to_be_bytes());
        let due = ninety_days(u16::from_be_bytes([place[0], place[1]])).due_s() - 1060 * DAY;
        parts[usize::try_from(due * 4 / (90 * DAY / 12 + 1)).unwrap()] += 1;
    }
    assert!(parts.iter().all(|count| (180..320).contains(count)), "{parts:?}");
}

#[test]
fn the_same_certificate_gives_the_same_moment_after_each_start() {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2026, 4, 1);
    let pem = params.self_signed(&key).unwrap().pem();
    let (one, other) = (Renewal::of(&pem).unwrap(), Renewal::of(&pem).unwrap());
    assert_eq!(one, other);
    assert_eq!(one.validity().life(), Duration::from_hours(90 * 24));
    assert_eq!(Renewal::of("no certificate"), None);
}

proptest! {
    #[test]
    fn it_is_due_within_its_window_and_well_before_the_end(
        begins_s in 0..u64::from(u32::MAX), life in 12..10_000_000_u64, place: u16,
    ) {
        let renewal = Renewal::new(Validity { begins_s, ends_s: begins_s + life }, place);
        let due = renewal.due_s() - begins_s;
        prop_assert!(due >= life * 2 / 3 && due <= life * 3 / 4, "{due} of {life}");
        let (first, longest) = renewal.waits();
        prop_assert!(first <= longest);
        prop_assert!(life < 100 || longest.as_secs() * 10 < life);
    }

    #[test]
    fn a_wait_is_never_longer_than_a_look_at_the_clock(date_s: u64, now in 0..u64::MAX / 2000) {
        match ninety_days(3).next(at(now), date_s) {
            Next::Renew => {}
            Next::Wait(wait) => prop_assert!(!wait.is_zero() && wait <= LONGEST),
        }
    }
}

#[test]
fn once_it_has_run_out_it_is_asked_for_more_often() {
    let (renewal, hours) = (ninety_days(0), Duration::from_hours(5));
    assert_eq!(renewal.pause(hours, 1089 * DAY), hours);
    assert_eq!(renewal.pause(hours, 1091 * DAY), Duration::from_mins(15));
    assert_eq!(renewal.pause(Duration::from_secs(3), 1091 * DAY), Duration::from_secs(3));
}
