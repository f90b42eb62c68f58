//! What an operator can get wrong, and what can be wrong with a database.

use sqlx::{Connection, MySqlPool, PgConnection, PgPool, SqlitePool};
use syncline::logs::is_hidden;
use syncline_tests::servers::{mariadb_database, postgres_database, sqlite_database};

use crate::{Run, command, syncline};

const SECRET: &str = "open-sesame";

#[test]
fn a_wrong_url_is_a_usage_error_and_shows_no_password() {
    for url in [
        "",
        "  ",
        "users.db",
        &format!("oracle://root:{SECRET}@127.0.0.1/x"),
        &format!("mysql://root:{SECRET}@127.0.0.1/"),
        &format!("mysql://root:{SECRET}@127.0.0.1/x?ssl-mode=perhaps"),
        &format!("postgres://root:{SECRET}@127.0.0.1:port/x"),
        &format!("postgres://root:{SECRET}@[bad/x"),
        &format!("postgres://root:{SECRET}@127.0.0.1/x?sslmode=perhaps"),
        "sqlite:users.db?mode=perhaps",
    ] {
        for args in ["doctor", "migrate up", "outbox lag --json"] {
            let run = syncline(url, args).expect(2);
            assert!(!run.stderr.contains(SECRET), "{}", run.stderr);
            assert!(run.stdout.is_empty(), "{}", run.stdout);
        }
    }
}

#[test]
fn an_unreachable_server_has_its_own_exit_code_and_shows_no_password() {
    let url = format!("mysql://root:{SECRET}@127.0.0.1:1/users");
    let run = syncline(&url, "doctor").expect(3);
    assert!(run.stderr.contains("cannot reach mysql://root@127.0.0.1:1/users"), "{}", run.stderr);
    assert!(!run.stderr.contains(SECRET), "{}", run.stderr);

    let url = format!("postgres://root:{SECRET}@127.0.0.1:1/users?password={SECRET}");
    let run = syncline(&url, "doctor").expect(3);
    assert!(
        run.stderr.contains("cannot reach postgres://root@127.0.0.1:1/users"),
        "{}",
        run.stderr
    );
    assert!(!run.stderr.contains(SECRET), "{}", run.stderr);
    let error = syncline(&url, "--json dead list").expect(3).error();
    assert_eq!(error["kind"], "unreachable");
    assert!(!error.to_string().contains(SECRET), "{error}");
    let help = syncline(&url, "--help").expect(0);
    assert!(help.stdout.contains("Exit codes") && !help.stdout.contains(SECRET), "{}", help.stdout);
}

#[test]
fn a_mistyped_file_name_makes_no_database() {
    let (directory, url) = sqlite_database();
    for args in ["migrate status", "migrate down", "doctor", "outbox tail", "dead list"] {
        let run = syncline(&url, args).expect(3);
        assert!(run.stderr.contains("there is no such file"), "{}", run.stderr);
    }
    let plain = url.replace("?mode=rwc", "");
    assert!(syncline(&plain, "migrate up").expect(3).stderr.contains("?mode=rwc"));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn usage_errors_are_json_for_programs() {
    let error = syncline("", "--json migrate sideways").expect(2).error();
    assert!(error["message"].as_str().unwrap().contains("sideways"), "{error}");
    syncline("", "migrate down --to -1").expect(2);
    syncline("", "migrate plan --to 1").expect(2);
    assert!(syncline("", "--version").expect(0).stdout.starts_with("syncline "));
}

#[test]
fn usage_errors_quote_nothing_that_a_terminal_obeys() {
    let hostile = "x\u{1b}[2J\u{9b}31m\u{202e}\u{200b}\r\nerror: forged";
    let option = format!("--{hostile}");
    let wrong: [&[&str]; 6] = [
        &["migrate", hostile],
        &["doctor", hostile],
        &["doctor", &option],
        &["doctor", "--fail-if", hostile],
        &["dead", "drop", hostile, "--yes"],
        &["saga", "check", "--have", hostile],
    ];
    for args in wrong {
        let said = |json: &str| {
            let run: Run = command("", json).args(args).output().unwrap().into();
            let said = run.expect(2).stderr;
            let hidden = said.chars().find(|c| *c != '\n' && is_hidden(*c));
            assert_eq!(hidden, None, "{args:?}: {said:?}");
            said
        };
        let plain = said("");
        assert!(plain.contains("\\u{1b}[2J") && plain.starts_with("error: "), "{plain}");
        assert!(!plain.contains("\nerror: forged"), "{plain}");
        assert_eq!(said("--json").lines().count(), 1);
    }
}

#[tokio::test]
async fn doctor_finds_a_file_that_cannot_be_written_or_is_none() {
    let (directory, url) = sqlite_database();
    syncline(&url, "migrate up").expect(0);
    let read_only = url.replace("mode=rwc", "mode=ro");
    let doctor = syncline(&read_only, "doctor").expect(8);
    assert!(doctor.stdout.contains("readonly database"), "{}", doctor.stdout);
    syncline(&read_only, "migrate status").expect(0);
    syncline(&read_only, "outbox lag").expect(0);

    let text = directory.path().join("notes.txt");
    std::fs::write(&text, "not a database, but long enough to be looked at as one ".repeat(40))
        .unwrap();
    let run = syncline(&format!("sqlite:{}", text.display()), "migrate up");
    assert!(matches!(run.code, 1 | 3), "{}", run.stderr);
    assert!(run.stderr.contains("not a database"), "{}", run.stderr);
}

/// In WAL mode SQLite makes files beside the database's, even to read.
#[cfg(unix)]
#[tokio::test]
async fn a_directory_that_cannot_be_written_is_named_when_that_is_why_nothing_can_be_read() {
    use std::{fs, os::unix::fs::PermissionsExt, os::unix::process::CommandExt, path::Path};

    let (directory, url) = sqlite_database();
    syncline(&url, "migrate up").expect(0);
    let pool = SqlitePool::connect(&url).await.unwrap();
    sqlx::query("PRAGMA journal_mode = WAL").execute(&pool).await.unwrap();
    pool.close().await;
    let advised = |run: Run, args: &str| {
        let said = run.stdout.clone() + &run.stderr;
        let words = ["-wal", "directory", "run as the user of the service"];
        assert!(words.iter().all(|word| said.contains(word)), "{args}: {said}");
        assert!(!said.contains("standby"), "{args}: {said}");
        run.code
    };

    // Something else has the name of the file that it needs.
    let wal = directory.path().join("test.db-wal");
    fs::create_dir(&wal).unwrap();
    for args in ["outbox lag", "status", "dead list --json"] {
        assert_eq!(advised(syncline(&url, args), args), 3, "{args}");
    }
    fs::remove_dir(&wal).unwrap();
    syncline(&url, "outbox lag").expect(0);

    let set =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    set(&directory.path().join("test.db"), 0o644);
    for left in ["test.db-wal", "test.db-shm"] {
        drop(fs::remove_file(directory.path().join(left)));
    }
    set(directory.path(), 0o555);
    // Root may write everywhere: then another user runs the program, from where that one can.
    let root = fs::write(directory.path().join("probe"), "").is_ok();
    let mut program = Path::new(env!("CARGO_BIN_EXE_syncline")).to_owned();
    if root {
        let copy = directory.path().join("syncline");
        fs::copy(&program, &copy).unwrap();
        set(&copy, 0o755);
        program = copy;
    }
    for args in ["outbox lag", "status", "dead list --json", "doctor"] {
        let mut command = std::process::Command::new(&program);
        command.args(args.split_whitespace()).env("DATABASE_URL", &url);
        if root {
            command.uid(65_534).gid(65_534);
        }
        let code = advised(command.output().expect("it starts").into(), args);
        assert!(code == 3 || args == "doctor", "{args}: {code}");
    }
    set(directory.path(), 0o755);
    syncline(&url, "outbox lag").expect(0);
}

#[tokio::test]
async fn a_writer_that_does_not_end_is_waited_for_and_then_named() {
    let (_directory, url) = sqlite_database();
    syncline(&url, "migrate up").expect(0);
    let pool = SqlitePool::connect(&url).await.unwrap();
    let writer = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let run = syncline(&url, "dead drop 1 --yes").expect(3);
    assert!(run.stderr.contains("locked"), "{}", run.stderr);
    drop(writer);
}

crate::on_servers!(a_lock_that_is_not_given_back_is_not_waited_for_for_long);

mod case {
    use std::time::{Duration, Instant};

    use sqlx::Executor;
    use syncline::transport::Receive;
    use syncline_tests::{kit::Kit, letters::numbered, relays::noting};

    use crate::{Open, syncline};

    pub(super) async fn a_lock_that_is_not_given_back_is_not_waited_for_for_long<DB: Open + Kit>(
        url: &str,
    ) where
        for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    {
        syncline(url, "migrate up").expect(0);
        let pool = DB::open(url).await;
        DB::prepare(&pool).await.unwrap();
        let consumer = noting("c", pool.clone()).build().unwrap();
        consumer.receive(numbered(3)).await.unwrap();
        let mut holder = syncline::begin(&pool).await.unwrap();
        (&mut *holder).execute("SELECT 1 FROM syncline_inbox FOR UPDATE").await.unwrap();
        let began = Instant::now();
        let skip = "inbox skip c --source /source --stream s --to 9 --log-ends 9 --yes";
        let run = syncline(url, skip).expect(3);
        let waited = began.elapsed();
        assert!(waited < Duration::from_secs(30), "{waited:?}: {}", run.stderr);
        holder.rollback().await.unwrap();
        syncline(url, skip).expect(0);
    }
}

#[tokio::test]
async fn doctor_names_missing_privileges_and_doubtful_settings() {
    let Some(url) = postgres_database().await else { return };
    syncline(&url, "migrate up").expect(0);
    let pool = PgPool::connect(&url).await.unwrap();
    let role = format!("reader_{}", uuid::Uuid::now_v7().simple());
    let sql = format!(
        "CREATE ROLE {role} LOGIN PASSWORD '{SECRET}'; \
         GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}; \
         GRANT INSERT ON syncline_outbox TO {role}; \
         ALTER ROLE {role} SET synchronous_commit = off"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&pool).await.unwrap();
    let at = url.find("://").unwrap() + 3;
    let host = url[at..].rsplit_once('@').map_or(&url[at..], |(_, host)| host);
    let reader = format!("postgres://{role}:{SECRET}@{host}");
    let doctor = syncline(&reader, "doctor --json").expect(8);
    assert!(!doctor.stdout.contains(SECRET), "{}", doctor.stdout);
    let doctor = doctor.json();
    let check = |name: &str| {
        let checks = doctor["checks"].as_array().unwrap();
        checks.iter().find(|check| check["check"] == name).expect(name).clone()
    };
    let missing = check("privileges");
    assert_eq!(missing["result"], "failed");
    let missing = missing["found"].as_str().unwrap().to_owned();
    for needed in ["INSERT on syncline_seal", "DELETE on syncline_held", "syncline_outbox_seq"] {
        assert!(missing.contains(needed), "{missing}");
    }
    assert!(!missing.contains("INSERT on syncline_outbox"), "{missing}");
    assert_eq!(check("synchronous_commit")["result"], "warning");
    assert_eq!(check("schema")["result"], "ok");
    assert_eq!(check("fsync")["found"], "on");
    let drop = format!("DROP OWNED BY {role}; DROP ROLE {role}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(drop)).execute(&pool).await.unwrap();
}

#[tokio::test]
async fn doctor_names_missing_privileges_on_mariadb() {
    let Some(url) = mariadb_database().await else { return };
    syncline(&url, "migrate up").expect(0);
    let pool = MySqlPool::connect(&url).await.unwrap();
    let user = format!("r{}", &uuid::Uuid::now_v7().simple().to_string()[16..]);
    let sql =
        format!("CREATE USER {user}@'%' IDENTIFIED BY '{SECRET}'; GRANT SELECT ON * TO {user}@'%'");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&pool).await.unwrap();
    let host = url.split_once('@').unwrap().1;
    let doctor = syncline(&format!("mysql://{user}:{SECRET}@{host}"), "doctor").expect(8);
    assert!(!doctor.stdout.contains(SECRET), "{}", doctor.stdout);
    for said in ["UPDATE on syncline_outbox", "durability", "max_allowed_packet", "schema"] {
        assert!(doctor.stdout.contains(said), "{}", doctor.stdout);
    }
    let drop = format!("DROP USER {user}@'%'");
    sqlx::raw_sql(sqlx::AssertSqlSafe(drop)).execute(&pool).await.unwrap();
}

#[tokio::test]
async fn a_wrong_database_name_or_password_is_the_servers_to_say() {
    let Some(url) = postgres_database().await else { return };
    let (server, _) = url.rsplit_once('/').unwrap();
    let run = syncline(&format!("{server}/no_such_database"), "doctor").expect(3);
    assert!(run.stderr.contains("does not exist"), "{}", run.stderr);
    assert!(!run.stderr.contains(" at line "), "a line of the server's own: {}", run.stderr);
    if let Some(url) = mariadb_database().await {
        let (server, _) = url.rsplit_once('/').unwrap();
        let run = syncline(&format!("{server}/no_such_database"), "doctor").expect(3);
        assert!(run.stderr.contains("no_such_database"), "{}", run.stderr);
    }
    let mut connection = PgConnection::connect(&url).await.unwrap();
    connection.ping().await.unwrap();
}

#[test]
fn a_check_that_failed_has_an_error_document() {
    let (_directory, url) = sqlite_database();
    syncline(&url, "migrate up").expect(0);
    syncline(&url, "migrate down --to 0 --yes").expect(0);
    let run = syncline(&url, "doctor --json").expect(4);
    assert_eq!(run.json()["ok"], serde_json::json!(false));
    let error = run.error();
    assert_eq!((&error["code"], &error["kind"]), (&4.into(), &"schema".into()));
    assert!(error["message"].as_str().unwrap().contains("stdout"), "{error}");
}
