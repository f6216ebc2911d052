//! What is done to the cloud.

use gnomon_tests::eventually::let_pass;
use nix::sys::signal::Signal;

use super::Strike;
use crate::fault::Fault;
use crate::history::Event;
use crate::stage::cloud::Cloud;

const STORM: u32 = 3;

pub(super) fn strike(cloud: &mut Cloud, strike: &Strike<'_>) {
    strike.breaks();
    match strike.fault() {
        Fault::CloudKilled => {
            cloud.kill9();
            strike.lasts();
            cloud.restart();
        }
        Fault::CloudStorm => {
            for _ in 0..STORM {
                cloud.kill9();
                let_pass(strike.planned.lasts / STORM / 4);
                cloud.restart();
                let_pass(strike.planned.lasts * 3 / STORM / 4);
            }
        }
        Fault::CloudFrozen => {
            cloud.signal(Signal::SIGSTOP);
            strike.lasts();
            cloud.signal(Signal::SIGCONT);
        }
        Fault::CloudPowerCut => {
            cloud.cut_power();
            strike.lasts();
            cloud.restart();
        }
        Fault::CloudDiskFull => {
            cloud.fill_disk();
            let_pass(strike.planned.lasts / 2);
            if strike.chance(2) == 0 {
                // As bad as it gets: it must start where there is no room.
                cloud.kill9();
                cloud.restart();
            }
            let_pass(strike.planned.lasts / 2);
            cloud.free_disk();
        }
        Fault::CloudRestored => {
            let era = cloud.restore();
            strike.recorder.record(Event::Restored { era });
            strike.lasts();
            cloud.restart();
        }
        other => panic!("{other} is none of the cloud's"),
    }
}
