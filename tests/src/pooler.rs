//! PgBouncer, before the test server.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::{
    cut::Proxy,
    own_server::free_port,
    servers::{POSTGRES, skipped},
};

fn program() -> String {
    std::env::var("SYNCLINE_TEST_PGBOUNCER").unwrap_or_else(|_| "pgbouncer".to_owned())
}

/// Whether it tracks prepared statements, as of 1.21.
fn tracks(program: &str) -> bool {
    let said = Command::new(program).arg("--version").output().expect("its version").stdout;
    let said = String::from_utf8_lossy(&said).into_owned();
    let version = said.lines().next().and_then(|line| line.strip_prefix("PgBouncer "));
    let mut parts = version.expect("a version").split('.').map(|part| part.parse::<u32>());
    let mut part = || parts.next().and_then(Result::ok).unwrap_or_default();
    (part(), part()) >= (1, 21)
}

/// A PgBouncer of a test's own, before the test server. It ends when this is dropped.
pub struct Pooler {
    child: Child,
    port: u16,
    _dir: TempDir,
}

impl Pooler {
    /// Starts one that pools by `mode` and does not track prepared statements; none when it was
    /// switched off by name.
    ///
    /// # Panics
    /// When there is none, and it was not switched off.
    pub fn start(mode: &str) -> Option<Self> {
        // Older ones do not know the setting, and do not track them.
        let setting = if tracks(&program()) { "max_prepared_statements = 0\n" } else { "" };
        Self::start_with(mode, setting)
    }

    /// Starts one that pools by transaction and tracks prepared statements; none where it cannot.
    ///
    /// # Panics
    /// As [`Pooler::start`].
    pub fn tracking() -> Option<Self> {
        if !skipped("pgbouncer") && !tracks(&program()) {
            println!("skipped: this PgBouncer does not track prepared statements");
            return None;
        }
        Self::start_with("transaction", "max_prepared_statements = 200\n")
    }

    /// `url` by way of it.
    pub fn before(&self, url: &str) -> String {
        Proxy::url(url, self.port)
    }

    fn start_with(mode: &str, settings: &str) -> Option<Self> {
        if skipped("pgbouncer") {
            return None;
        }
        let program = program();
        let server = std::env::var(POSTGRES).expect("a server");
        let (_, address) = server.split_once('@').expect("a user");
        let (host, port) = address.split('/').next().expect("it").split_once(':').expect("a port");
        let dir = tempfile::tempdir().expect("a directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
        let (file, own) = (dir.path().join("pgbouncer.ini"), free_port());
        let configuration = format!(
            "[databases]\n* = host={host} port={port} user=postgres\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {own}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = {mode}\nignore_startup_parameters = extra_float_digits, options\n\
             default_pool_size = 6\n{settings}"
        );
        fs::write(&file, configuration).expect("its configuration");
        // It refuses to run as root.
        let root = fs::metadata("/proc/self").expect("this process").uid() == 0;
        let mut command = Command::new(if root { "setpriv" } else { program.as_str() });
        if root {
            let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
            command.args(nobody).arg(&program);
        }
        let child = command
            .arg(file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("PgBouncer, or SYNCLINE_TEST_SKIP=pgbouncer");
        Some(Self { child, port: own, _dir: dir })
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
