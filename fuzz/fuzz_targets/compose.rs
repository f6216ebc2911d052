//! Compose files: an app that is accepted is valid, and survives its normal form.
#![no_main]

use gnomon_schemas::app::AppSpec;
use gnomon_schemas::compose;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let nothing = |_: &str| None;
    let no_file = |_: &str| Err(std::io::Error::from(std::io::ErrorKind::NotFound));
    if let Ok(app) = compose::read(text, &nothing, &no_file) {
        app.validate().expect("the reader validates");
        let again = AppSpec::from_document(&app.to_value()).expect("the normal form reads back");
        assert_eq!(again.revision(), app.revision());
    }
});
