//! The two services, as processes of their own.

use std::{
    fs::File,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use tokio::process::{Child, Command};
use uuid::Uuid;

const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(15);

/// One service: how it is started, and its process.
pub(crate) struct Service {
    pub(crate) name: &'static str,
    pub(crate) url: String,
    /// Its SQLite file.
    pub(crate) database: PathBuf,
    program: PathBuf,
    log: PathBuf,
    settings: Vec<(&'static str, String)>,
    process: Option<Child>,
}

/// The register and the login service, told of each other, in `dir`.
pub(crate) fn pair(dir: &Path) -> anyhow::Result<(Service, Service)> {
    let ports = (free_port()?, free_port()?);
    let secrets = (secret(), secret());
    let a = Service::new("demo-register", dir, ports, (&secrets.0, &secrets.1))?;
    let b = Service::new("demo-login", dir, (ports.1, ports.0), (&secrets.1, &secrets.0))?;
    Ok((a, b))
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn secret() -> String {
    // Two of version 7 have 148 random bits between them.
    let bytes = [Uuid::now_v7().into_bytes(), Uuid::now_v7().into_bytes()].concat();
    format!("whsec_{}", BASE64.encode(bytes))
}

impl Service {
    fn new(
        name: &'static str,
        dir: &Path,
        (port, peer): (u16, u16),
        (secret_out, secret_in): (&str, &str),
    ) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?.with_file_name(name);
        if !program.exists() {
            bail!("{} is missing: run script/demo, which builds it", program.display());
        }
        let database = dir.join(format!("{name}.db"));
        let settings = vec![
            ("LISTEN", format!("127.0.0.1:{port}")),
            ("DATABASE_URL", format!("sqlite://{}", database.display())),
            ("PEER_URL", format!("http://127.0.0.1:{peer}/syncline")),
            ("SECRET_OUT", secret_out.to_owned()),
            ("SECRET_IN", secret_in.to_owned()),
            ("HASH_COST", "low".to_owned()),
        ];
        Ok(Self {
            name,
            url: format!("http://127.0.0.1:{port}"),
            database,
            program,
            log: dir.join(format!("{name}.log")),
            settings,
            process: None,
        })
    }

    /// Starts the process and waits until it is ready.
    pub(crate) async fn start(&mut self, http: &reqwest::Client) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let child = Command::new(&self.program)
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.name))?;
        let child = self.process.insert(child);
        let began = Instant::now();
        while began.elapsed() < START {
            if let Some(status) = child.try_wait()? {
                bail!("{} ended at once ({status}); see {}", self.name, self.log.display());
            }
            let ready = http.get(format!("{}/readyz", self.url)).send().await;
            if ready.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("{} was not ready within {START:?}; see {}", self.name, self.log.display())
    }

    /// `kill -9`.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.process.take() {
            child.kill().await?;
        }
        Ok(())
    }

    /// SIGTERM, and how it ended.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        let mut child = self.process.take().context("it does not run")?;
        let id = child.id().context("it has ended before")?;
        let sent = Command::new("kill").args(["-TERM", &id.to_string()]).status().await?;
        if !sent.success() {
            bail!("SIGTERM could not be sent to {}", self.name);
        }
        let ended = tokio::time::timeout(STOP, child.wait()).await;
        ended
            .with_context(|| format!("{} did not stop within {STOP:?}", self.name))?
            .map_err(Into::into)
    }
}
