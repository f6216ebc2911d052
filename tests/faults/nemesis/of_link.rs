//! What is done to the link of a site.

use std::time::Duration;

use gnomon_sim::link::Profile;
use gnomon_tests::eventually::let_pass;

use super::{Strike, until};
use crate::fault::Fault;
use crate::stage::link::{Link, Packets};

pub(super) fn strike(link: &Link, strike: &Strike<'_>) {
    strike.breaks();
    match strike.fault() {
        Fault::LinkOut => {
            link.down(strike.chance(2) == 0);
            strike.lasts();
            link.up();
        }
        Fault::LinkReset => link.reset(),
        Fault::LinkFlaps => {
            let pause = Duration::from_millis(100 + strike.chance(500));
            until(strike.planned.lasts, || {
                link.down(true);
                let_pass(pause);
                link.up();
                let_pass(pause * 2);
            });
        }
        Fault::LinkSlow | Fault::LinkLate | Fault::LinkStalls => {
            link.behave(&profile(strike));
            strike.lasts();
            link.behave(&Profile::perfect());
        }
        Fault::PacketsLost | Fault::UpLost | Fault::DownLost => {
            let packets = match strike.fault() {
                Fault::UpLost => Packets::Up,
                Fault::DownLost => Packets::Down,
                _ => Packets::Share(5 + strike.chance(36)),
            };
            link.lose(packets, true);
            strike.lasts();
            link.lose(packets, false);
        }
        Fault::CablePulled => {
            link.plug(false);
            strike.lasts();
            link.plug(true);
        }
        other => panic!("{other} is none of a link's"),
    }
}

fn profile(strike: &Strike<'_>) -> Profile {
    let mut profile = Profile::perfect();
    match strike.fault() {
        Fault::LinkSlow => {
            profile.rate_up_bytes_per_s = 2_000;
            profile.rate_down_bytes_per_s = 2_000;
        }
        Fault::LinkLate => {
            profile.delay_ms = 300 + strike.chance(2_700);
            profile.jitter_ms = profile.delay_ms / 4;
        }
        _ => {
            profile.loss_per_kib = 0.4;
            profile.loss_repeat = 0.4;
            profile.stall_ms = 300;
            profile.stall_cap_ms = 3_000;
        }
    }
    profile
}
