//! The two services, as processes of their own.

use std::{
    fmt,
    fs::File,
    io::Read,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use tokio::process::{Child, Command};

use crate::report::Report;

const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(15);

/// Which way users take from A to B; the answers are always pushed back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// A pushes.
    Push,
    /// B pulls, and A needs not to know where B is.
    Pull,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Push { "push" } else { "pull" })
    }
}

/// One service: how it is started, and its process.
pub(crate) struct Service {
    pub(crate) name: &'static str,
    pub(crate) url: String,
    /// Its SQLite file.
    pub(crate) database: PathBuf,
    program: PathBuf,
    log: PathBuf,
    settings: Vec<(&'static str, String)>,
    /// What it is told in addition, when users are pushed and when they are pulled.
    of_way: [Vec<(&'static str, String)>; 2],
    process: Option<Child>,
}

/// The register and the login service, told of each other, in `dir`.
pub(crate) fn pair(dir: &Path) -> anyhow::Result<(Service, Service)> {
    let [first, second, ..] = random()?;
    let (one, other) = (free_port(first)?, free_port(second)?);
    let (a, b) = (one.local_addr()?.port(), other.local_addr()?.port());
    let secrets = (secret()?, secret()?);
    let token = token()?;
    let to = |port| ("PEER_URL", format!("http://127.0.0.1:{port}/syncline"));
    let mut register = Service::new("demo-register", dir, a)?;
    register.settings.push(("SECRET_IN", secrets.1.clone()));
    register.settings.push(("FEED_TOKEN", token.clone()));
    register.of_way = [vec![to(b), ("SECRET_OUT", secrets.0.clone())], Vec::new()];
    let mut login = Service::new("demo-login", dir, b)?;
    login.settings.extend([to(a), ("SECRET_OUT", secrets.1)]);
    let feed = format!("http://127.0.0.1:{a}/feed");
    let pulls = vec![("PEER_FEED", feed), ("PEER_TOKEN", token)];
    login.of_way = [vec![("SECRET_IN", secrets.0)], pulls];
    Ok((register, login))
}

/// Below the ports that systems give to outgoing connections: one of those could otherwise
/// take the port of a service that was killed.
fn free_port(from: u8) -> anyhow::Result<TcpListener> {
    (0..100)
        .map(|step| 20_000 + u16::from(from) * 40 + step)
        .find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok())
        .context("no free port from 20000 on")
}

fn secret() -> anyhow::Result<String> {
    Ok(format!("whsec_{}", BASE64.encode(random()?)))
}

fn token() -> anyhow::Result<String> {
    Ok(random()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn random() -> anyhow::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes).context("/dev/urandom")?;
    Ok(bytes)
}

impl Service {
    fn new(name: &'static str, dir: &Path, port: u16) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?.with_file_name(name);
        if !program.exists() {
            bail!("{} is missing: run script/demo, which builds it", program.display());
        }
        let database = dir.join(format!("{name}.db"));
        let settings = vec![
            ("LISTEN", format!("127.0.0.1:{port}")),
            ("DATABASE_URL", format!("sqlite://{}", database.display())),
            ("HASH_COST", "low".to_owned()),
        ];
        Ok(Self {
            name,
            url: format!("http://127.0.0.1:{port}"),
            database,
            program,
            log: dir.join(format!("{name}.log")),
            settings,
            of_way: Default::default(),
            process: None,
        })
    }

    /// Starts the process and waits until it is ready.
    pub(crate) async fn start(&mut self, http: &reqwest::Client, way: Way) -> anyhow::Result<()> {
        self.start_with(http, way, &[]).await
    }

    /// The same, without a way to the other service: what it would push there waits.
    pub(crate) async fn start_cut_off(
        &mut self,
        http: &reqwest::Client,
        way: Way,
    ) -> anyhow::Result<()> {
        // Nobody listens there.
        let nowhere = ("PEER_URL", "http://127.0.0.1:1/syncline".to_owned());
        self.start_with(http, way, &[nowhere]).await
    }

    async fn start_with(
        &mut self,
        http: &reqwest::Client,
        way: Way,
        more: &[(&'static str, String)],
    ) -> anyhow::Result<()> {
        let [push, pull] = &self.of_way;
        let of_way = if way == Way::Push { push } else { pull };
        let settings = self.settings.iter().chain(of_way).chain(more);
        let log = File::options().create(true).append(true).open(&self.log)?;
        let child = Command::new(&self.program)
            .envs(settings.map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // Ctrl-C in a terminal is for the story, which then ends its services.
            .process_group(0)
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

    /// Ends it with SIGTERM; that this works, in time, is a promise.
    pub(crate) async fn stop(&mut self, report: &mut Report) -> anyhow::Result<()> {
        let began = Instant::now();
        let status = self.terminate().await?;
        let seen = format!("{status} after {:.1?}", began.elapsed());
        report.promise(&format!("{} stops on SIGTERM", self.name), status.success(), seen);
        Ok(())
    }

    /// Ends it if it runs: with SIGTERM, or with SIGKILL if that does not help.
    pub(crate) async fn end(&mut self) {
        if self.process.is_some()
            && let Err(error) = self.terminate().await
        {
            eprintln!("{error:#}; it was killed");
        }
    }

    async fn terminate(&mut self) -> anyhow::Result<ExitStatus> {
        // Dropped on each way out, which kills a process that has not ended.
        let mut child = self.process.take().context("it does not run")?;
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
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
