//! A headless Chromium, controlled through chromedriver.

use std::io::{BufRead, BufReader, Lines};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::common::capabilities::chromium::ChromiumLikeCapabilities;
use thirtyfour::{ChromeCapabilities, WebDriver};

/// A Chromium with its own profile. Dropping it ends the browser and deletes the profile.
#[derive(Debug)]
pub struct Browser {
    /// The browser's tab.
    pub tab: WebDriver,
    _driver: Driver,
    folder: TempDir,
    axe: PathBuf,
}

#[derive(Debug)]
struct Driver {
    process: Child,
    /// The driver's output, kept open: the driver would fail to write to a closed pipe.
    _said: Lines<BufReader<ChildStdout>>,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Browser {
    /// Starts the browser. `scripts` allows the scripts of pages; those of a test always run.
    ///
    /// # Panics
    ///
    /// If Chromium or a matching driver is missing, or `PLATFORM_TEST_AXE` is not the path of
    /// axe.min.js. `./test` installs all three.
    pub async fn start(scripts: bool) -> Self {
        let axe = PathBuf::from(std::env::var_os("PLATFORM_TEST_AXE").expect(
            "PLATFORM_TEST_AXE is not set: run the tests with ./test, which downloads axe-core, or set it to the path of axe.min.js",
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

    /// Waits for a complete download with this name, and returns its path.
    ///
    /// # Panics
    ///
    /// If there is none within 60 s.
    pub async fn downloaded(&self, name: &str) -> PathBuf {
        let file = self.folder.path().join("downloads").join(name);
        let began = Instant::now();
        while !file.exists() {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "{name} was not downloaded"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        file
    }

    /// The violations with serious or critical impact that axe-core finds in the page.
    ///
    /// # Panics
    ///
    /// If axe-core fails.
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

    /// Ends the browser.
    ///
    /// # Panics
    ///
    /// If the driver does not respond.
    pub async fn close(self) {
        self.tab.quit().await.unwrap();
    }
}

/// Starts the driver on a free port, which it prints.
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
                "{}: {error}: run the tests with ./test, which installs it",
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
    (driver, port.expect("chromedriver prints its port"))
}
