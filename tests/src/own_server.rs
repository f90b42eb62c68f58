//! A database server of a test's own, which it may kill, stop and freeze.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Connection, Executor, MySql, Postgres};
use tempfile::TempDir;

use crate::{
    kit::Kit,
    servers::{new_name, skipped},
};

/// How long a server may take to start, with the recovery after a crash, or to stop.
const LIMIT: Duration = Duration::from_secs(90);

/// A database that has a server.
#[async_trait]
pub trait Served: Kit {
    /// Its name in `script/services`.
    const SERVICE: &'static str;
    /// The variable of `script/services` that has more of its options.
    const OPTIONS: &'static str;
    /// What makes it end its sessions and stop.
    const STOP: &'static str;

    /// The superuser's URL of a database at `port`.
    fn url(port: u16, database: &str) -> String;

    /// The database that is always there.
    const HOME: &'static str;

    /// Makes the database `name` on `server`; its tables are to be in `place`, if given.
    async fn create(server: &OwnServer<Self>, name: &str, place: Option<&Path>);
}

#[async_trait]
impl Served for Postgres {
    const SERVICE: &'static str = "postgres";
    const OPTIONS: &'static str = "SYNCLINE_POSTGRES_OPTIONS";
    const STOP: &'static str = "INT";
    const HOME: &'static str = "postgres";

    fn url(port: u16, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/{database}")
    }

    async fn create(server: &OwnServer<Self>, name: &str, place: Option<&Path>) {
        let mut statements = vec![format!("CREATE DATABASE {name} TEMPLATE template0")];
        if let Some(place) = place {
            let place = place.join(name);
            fs::create_dir(&place).expect("a directory for the tablespace");
            server.give(&place);
            statements = vec![
                format!("CREATE TABLESPACE {name} LOCATION '{}'", place.display()),
                format!("CREATE DATABASE {name} TEMPLATE template0 TABLESPACE {name}"),
            ];
        }
        let mut home = connect::<Self>(&server.url(Self::HOME)).await.expect("connect");
        for statement in statements {
            home.execute(AssertSqlSafe(statement)).await.expect("create a database");
        }
    }
}

#[async_trait]
impl Served for MySql {
    const SERVICE: &'static str = "mariadb";
    const OPTIONS: &'static str = "SYNCLINE_MARIADB_OPTIONS";
    const STOP: &'static str = "TERM";
    const HOME: &'static str = "mysql";

    fn url(port: u16, database: &str) -> String {
        format!("mysql://root@127.0.0.1:{port}/{database}")
    }

    async fn create(server: &OwnServer<Self>, name: &str, place: Option<&Path>) {
        if let Some(place) = place {
            // A database is a directory of the server's data, and a link to one is as good.
            let place = place.join(name);
            fs::create_dir(&place).expect("a directory for the tables");
            server.give(&place);
            let link = server.dir.path().join("server/data").join(name);
            std::os::unix::fs::symlink(&place, link).expect("a link to it");
            return;
        }
        let mut home = connect::<Self>(&server.url(Self::HOME)).await.expect("connect");
        let create = format!("CREATE DATABASE {name}");
        home.execute(AssertSqlSafe(create)).await.expect("create a database");
    }
}

async fn connect<DB: Served>(url: &str) -> sqlx::Result<DB::Connection> {
    DB::Connection::connect(url).await
}

/// A server in a temporary directory of its own, with its durability on. It is killed, and its
/// directory removed, when this is dropped.
pub struct OwnServer<DB: Served> {
    dir: TempDir,
    port: u16,
    child: Option<Child>,
    options: Option<String>,
    database: std::marker::PhantomData<DB>,
}

impl<DB: Served> OwnServer<DB> {
    /// Starts one, as `script/services` does; none when it was switched off by name.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start() -> Option<Self> {
        Self::launch(None).await
    }

    /// As [`OwnServer::start`], with more options, separated by spaces.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_with(options: &str) -> Option<Self> {
        Self::launch(Some(options.to_owned())).await
    }

    async fn launch(options: Option<String>) -> Option<Self> {
        if skipped(DB::SERVICE) {
            return None;
        }
        let dir = tempfile::tempdir().expect("a temporary directory");
        // The server's user is another one than ours, where we are root.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
        let database = std::marker::PhantomData;
        let mut server = Self { dir, port: free_port(), child: None, options, database };
        server.restart().await;
        Some(server)
    }

    /// The superuser's URL of one of its databases.
    pub fn url(&self, database: &str) -> String {
        DB::url(self.port, database)
    }

    /// The directory of its data.
    pub fn data(&self) -> PathBuf {
        self.home().join("data")
    }

    /// Makes a new, empty database and returns its URL; its tables are in `place`, if given.
    pub async fn database(&self, place: Option<&Path>) -> String {
        let name = new_name();
        DB::create(self, &name, place).await;
        self.url(&name)
    }

    /// `kill -9` of all its processes. Returns when none of them is left.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let rest = children(child.id());
        child.kill().expect("kill -9");
        child.wait().expect("wait");
        // PostgreSQL's other processes end by themselves, for they notice.
        let began = Instant::now();
        while rest.iter().any(|pid| running(*pid)) {
            if began.elapsed() > Duration::from_secs(5) {
                rest.iter().for_each(|pid| signal("KILL", *pid));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops it as an operator does; sessions that are open are ended.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        signal(DB::STOP, child.id());
        let began = Instant::now();
        while child.try_wait().expect("wait").is_none() {
            assert!(began.elapsed() < LIMIT, "{} does not stop", DB::SERVICE);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts it again, with the same data at the same port, and waits until it serves.
    pub async fn restart(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let began = Instant::now();
        self.spawn();
        while let Err(error) = connect::<DB>(&self.url(DB::HOME)).await {
            let child = self.child.as_mut().expect("it was started");
            let ended = child.try_wait().expect("wait");
            let late = began.elapsed() > LIMIT;
            assert!(
                ended.is_none() && !late,
                "{}: {ended:?}, {error}\n{}",
                DB::SERVICE,
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Stops it and starts it again with other options, separated by spaces.
    pub async fn restart_with(&mut self, options: &str) {
        self.stop();
        self.options = Some(options.to_owned());
        self.restart().await;
    }

    /// Nothing of it moves until [`OwnServer::thaw`].
    pub fn freeze(&self) {
        self.processes().iter().for_each(|pid| signal("STOP", *pid));
    }

    /// It goes on after [`OwnServer::freeze`].
    pub fn thaw(&self) {
        self.processes().iter().for_each(|pid| signal("CONT", *pid));
    }

    fn processes(&self) -> Vec<u32> {
        let main = self.child.as_ref().expect("it runs").id();
        [vec![main], children(main)].concat()
    }

    fn spawn(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../script/services");
        let said = fs::File::create(self.dir.path().join("start.log")).expect("a log");
        let child = Command::new(script)
            .envs(self.options.as_ref().map(|options| (DB::OPTIONS, options)))
            .args(["serve", DB::SERVICE])
            .arg(self.home())
            .arg(self.port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .expect("run script/services");
        self.child = Some(child);
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("server")
    }

    /// Lets the server's user write to `path`.
    fn give(&self, path: &Path) {
        let owner = fs::metadata(self.home()).expect("its directory");
        let (user, group) = {
            use std::os::unix::fs::MetadataExt;
            (owner.uid(), owner.gid())
        };
        std::os::unix::fs::chown(path, Some(user), Some(group)).expect("change the owner");
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("permissions");
    }

    /// What it said when it was started, and last.
    fn log(&self) -> String {
        let read = |name| fs::read_to_string(self.dir.path().join(name)).unwrap_or_default();
        let log = read("server.log");
        let lines: Vec<&str> = log.lines().rev().take(30).collect();
        let last: Vec<&str> = lines.into_iter().rev().collect();
        format!("{}{}", read("start.log"), last.join("\n"))
    }
}

impl<DB: Served> Drop for OwnServer<DB> {
    fn drop(&mut self) {
        // One that is frozen would not end by itself.
        if let Some(child) = &self.child {
            children(child.id()).iter().for_each(|pid| signal("CONT", *pid));
        }
        self.kill();
    }
}

/// A free port of this machine that nobody is given by chance while the server is down.
pub fn free_port() -> u16 {
    let mut seed = uuid::Uuid::now_v7().as_u128();
    loop {
        // Those from 32768 on are given to whoever connects.
        let port = 20_000 + u16::try_from(seed % 12_000).expect("small");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
        seed /= 7;
        if seed == 0 {
            seed = uuid::Uuid::now_v7().as_u128();
        }
    }
}

fn signal(name: &str, pid: u32) {
    // One that has ended needs no signal any more.
    let sent = Command::new("kill").args([format!("-{name}"), pid.to_string()]).output();
    drop(sent.expect("run kill"));
}

/// The state and the parent of a process; none when it is not there.
fn stat(pid: u32) -> Option<(String, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

fn running(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != "Z")
}

fn children(parent: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").expect("/proc is there").flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|(_, of)| of == parent)).collect()
}
