//! Profiles: the shipped ones load, wrong ones say what is wrong.

use std::path::Path;

use super::*;

#[test]
fn every_shipped_profile_loads_by_name_and_by_path() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles");
    let files = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(files, SHIPPED_PROFILES.len(), "a profile file is not shipped, or the reverse");
    for name in SHIPPED_PROFILES {
        let text = shipped_text(name).unwrap();
        let by_name = Profile::parse(text).unwrap_or_else(|e| panic!("{name}: {e}: {e:?}"));
        let path = folder.join(format!("{name}.toml"));
        assert_eq!(Profile::load(path.to_str().unwrap()).unwrap(), by_name);
        assert_eq!(Profile::load(name).unwrap(), by_name);
    }
}

#[test]
fn the_shipped_perfect_profile_is_the_default() {
    assert_eq!(Profile::shipped("perfect"), Some(Profile::default()));
}

#[test]
fn an_unknown_field_is_refused_by_name() {
    let error = Profile::parse("delay_ms = 1\nspeed = 3").unwrap_err();
    let ParseProfileError::Toml(source) = error else { panic!("{error:?}") };
    assert!(source.to_string().contains("speed"), "{source}");
}

#[test]
fn a_value_that_makes_no_link_is_refused() {
    let refused = |text| match Profile::parse(text) {
        Err(ParseProfileError::Invalid(why)) => why.to_string(),
        other => panic!("{text}: {other:?}"),
    };
    assert!(refused("loss_per_kib = 1.5").contains("loss_per_kib = 1.5"));
    assert!(refused("resets_per_minute = nan").contains("resets_per_minute"));
    assert!(refused("loss_per_kib = 0.1").contains("set stall_ms too"));
    assert!(refused("stall_ms = 9").contains("raise the cap"));
    assert!(refused("queue_bytes = 0").contains("queue_bytes = 0"));
    assert!(refused("delay_ms = 90000000").contains("longer than a day"));
    assert!(refused("outage_every_ms = 5").contains("outage_for_ms"));
}

#[test]
fn a_name_that_is_neither_shipped_nor_a_file_lists_the_choices() {
    let error = Profile::load("5g-dream").unwrap_err().to_string();
    assert!(error.contains("5g-dream") && error.contains("4g-bad"), "{error}");
}

#[test]
fn a_profile_survives_its_json_form() {
    for name in SHIPPED_PROFILES {
        let profile = Profile::shipped(name).unwrap();
        let json = serde_json::to_string(&profile).unwrap();
        assert_eq!(serde_json::from_str::<Profile>(&json).unwrap(), profile);
    }
}
