//! A real `gnomon-cloud` in a folder: it can be killed and started again on the same addresses.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::client::Api;
use crate::process::Program;

pub struct Cloud {
    data: PathBuf,
    http: String,
    mqtt: String,
    program: Option<Program>,
    pub api: Api,
}

impl Cloud {
    /// Starts a cloud with a fresh store on free ports.
    pub fn start(folder: &Path) -> Self {
        let data = folder.join("cloud");
        let (program, ready) = launch(&data, "127.0.0.1:0", "127.0.0.1:0");
        let http = ready["http"].as_str().unwrap().to_owned();
        let mqtt = ready["mqtt"].as_str().unwrap().to_owned();
        let token = std::fs::read_to_string(data.join("admin-token")).unwrap();
        let api = Api::new(format!("http://{http}"), token.trim().to_owned());
        Self { data, http, mqtt, program: Some(program), api }
    }

    /// Starts it again after [`Self::kill9`], on the same addresses and store.
    pub fn restart(&mut self) {
        self.program = Some(launch(&self.data, &self.http, &self.mqtt).0);
    }

    pub fn kill9(&mut self) {
        self.program.take().unwrap().kill9();
    }

    /// Ends it gracefully.
    pub fn stop(&mut self) -> Option<i32> {
        self.program.take().unwrap().stop()
    }

    pub fn mqtt(&self) -> &str {
        &self.mqtt
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    pub fn tail(&self) -> String {
        self.program.as_ref().map_or_else(|| "the cloud is down".to_owned(), Program::tail)
    }
}

fn launch(data: &Path, http: &str, mqtt: &str) -> (Program, Value) {
    let log = data.with_extension("log");
    let data = data.to_string_lossy().into_owned();
    let args = ["serve", "--data", &data, "--http", http, "--mqtt", mqtt];
    Program::start("gnomon-cloud", &args.map(str::to_owned), &log)
}
