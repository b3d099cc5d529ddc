//! A real browser without a window: Chromium, through its driver.

use std::io::{BufRead, BufReader, Lines};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::common::capabilities::chromium::ChromiumLikeCapabilities;
use thirtyfour::{ChromeCapabilities, WebDriver};

/// Chromium with a profile of its own; both are gone when this is dropped.
#[derive(Debug)]
pub struct Browser {
    /// What is in it.
    pub tab: WebDriver,
    _driver: Driver,
    folder: TempDir,
    axe: PathBuf,
}

#[derive(Debug)]
struct Driver {
    process: Child,
    /// Open, as it would not stand that nobody listens.
    _said: Lines<BufReader<ChildStdout>>,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Browser {
    /// Starts it. Pages may run scripts or not, as `scripts` says; what a test runs always may.
    ///
    /// # Panics
    ///
    /// When there is no Chromium, no driver of its version, or `PLATFORM_TEST_AXE` names no
    /// axe.min.js. `./test` installs them all.
    pub async fn start(scripts: bool) -> Self {
        let axe = PathBuf::from(std::env::var_os("PLATFORM_TEST_AXE").expect(
            "PLATFORM_TEST_AXE is not set: call ./test, which fetches what tests/browser lists, or name axe.min.js",
        ));
        let folder = tempfile::Builder::new()
            .prefix("browser.")
            .tempdir()
            .unwrap();
        let (driver, port) = drive();
        let mut wanted = ChromeCapabilities::new();
        if let Some(chromium) = std::env::var_os("PLATFORM_TEST_CHROMIUM") {
            wanted.set_binary(chromium.to_str().unwrap()).unwrap();
        }
        let profile = format!(
            "--user-data-dir={}",
            folder.path().join("profile").display()
        );
        for argument in [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "--window-size=1280,1000",
            &profile,
        ] {
            wanted.add_arg(argument).unwrap();
        }
        let downloads = folder.path().join("downloads");
        let prefs = json!({
            "download.default_directory": downloads,
            "profile.managed_default_content_settings.javascript": if scripts { 1 } else { 2 },
        });
        wanted.add_experimental_option("prefs", prefs).unwrap();
        let tab = WebDriver::new(format!("http://127.0.0.1:{port}"), wanted)
            .await
            .unwrap_or_else(|error| panic!("Chromium does not start: {error}"));
        Self {
            tab,
            _driver: driver,
            folder,
            axe,
        }
    }

    /// What was downloaded under this name, once it is whole.
    ///
    /// # Panics
    ///
    /// When it does not come.
    pub async fn downloaded(&self, name: &str) -> PathBuf {
        let file = self.folder.path().join("downloads").join(name);
        let began = Instant::now();
        while !file.exists() {
            assert!(began.elapsed() < Duration::from_secs(60), "no {name} came");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        file
    }

    /// What axe-core finds wrong with the page, of serious or critical impact.
    ///
    /// # Panics
    ///
    /// When it cannot look.
    pub async fn barriers(&self) -> Vec<Value> {
        let axe = std::fs::read_to_string(&self.axe).unwrap();
        let look = format!(
            "{axe};
            const done = arguments[arguments.length - 1];
            axe.run(document).then(
                found => done({{ passes: found.passes.length, violations: found.violations.map(it => ({{
                    id: it.id, impact: it.impact, nodes: it.nodes.map(node => node.html) }})) }}),
                error => done({{ error: String(error) }}));"
        );
        let found = self.tab.execute_async(look, vec![]).await.unwrap();
        let found = found.json();
        assert!(found["passes"].as_u64() > Some(5), "{found}");
        let violations = found["violations"].as_array().unwrap().iter();
        let serious = violations.filter(|it| {
            let impact = it["impact"].as_str();
            !matches!(impact, Some("minor" | "moderate"))
        });
        serious.cloned().collect()
    }

    /// Ends it.
    ///
    /// # Panics
    ///
    /// When it does not answer any more.
    pub async fn close(self) {
        self.tab.quit().await.unwrap();
    }
}

/// The driver, on a port that it finds itself and tells.
fn drive() -> (Driver, u16) {
    let path = std::env::var_os("PLATFORM_TEST_CHROMEDRIVER");
    let path = path.unwrap_or_else(|| "chromedriver".into());
    let mut process = Command::new(&path)
        .arg("--port=0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!(
                "{}: {error}: call ./test, which installs it",
                path.display()
            )
        });
    let mut said = BufReader::new(process.stdout.take().unwrap()).lines();
    let port = said.by_ref().map_while(Result::ok).find_map(|line| {
        let (_, port) = line.split_once("started successfully on port ")?;
        port.trim_end_matches('.').parse().ok()
    });
    let driver = Driver {
        process,
        _said: said,
    };
    (driver, port.expect("chromedriver tells its port"))
}
