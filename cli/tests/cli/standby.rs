//! A server that takes no writes says so, and is no server that cannot be reached.

use sqlx::{AssertSqlSafe, Connection, Executor, MySql, MySqlConnection, Postgres};
use syncline_tests::own_server::OwnServer;

use crate::syncline;

fn refused(url: &str, command: &str) {
    let run = syncline(url, command).expect(1);
    assert!(run.stderr.contains("standby or a replica"), "{command}: {}", run.stderr);
    assert!(run.stderr.contains("primary"), "{command}: {}", run.stderr);
}

fn lag_says_it(url: &str) {
    let run = syncline(url, "outbox lag").expect(0);
    assert!(run.stdout.contains("this server is a standby"), "{}", run.stdout);
    assert_eq!(syncline(url, "outbox lag --json").expect(0).json()["standby"], true);
    let doctor = syncline(url, "doctor").expect(8);
    assert!(doctor.stdout.contains("connect to the primary"), "{}", doctor.stdout);
    let doctor = syncline(url, "doctor --json").expect(8).json();
    let checks = doctor["checks"].as_array().expect("checks");
    let writes = checks.iter().find(|check| check["check"] == "writes").expect("it is checked");
    assert_eq!(writes["result"], "failed", "{writes}");
    let found = writes["found"].as_str().expect("a text");
    assert!(found.contains("this server is a standby"), "{writes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_of_postgres_is_named() {
    let Some(mut server) = OwnServer::<Postgres>::start().await else { return };
    let url = server.database(None).await;
    syncline(&url, "migrate up").expect(0);
    assert_eq!(syncline(&url, "outbox lag --json").expect(0).json()["standby"], false);
    server.stop();
    std::fs::write(server.data().join("standby.signal"), "").expect("make it a standby");
    server.restart().await;
    lag_says_it(&url);
    for command in ["outbox trim --yes", "route pause r", "stream rebase --head --yes"] {
        refused(&url, command);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_of_mariadb_is_named() {
    let Some(server) = OwnServer::<MySql>::start().await else { return };
    let root = server.database(None).await;
    syncline(&root, "migrate up").expect(0);
    let mut connection = MySqlConnection::connect(&root).await.expect("connect");
    // A user with READ_ONLY ADMIN writes all the same.
    let statements = [
        "CREATE USER service@'%'",
        "GRANT ALL ON `syncline%`.* TO service@'%'",
        "GRANT PROCESS ON *.* TO service@'%'",
        "SET GLOBAL read_only = 1",
    ];
    for statement in statements {
        connection.execute(AssertSqlSafe(statement)).await.expect(statement);
    }
    let url = root.replace("root@", "service@");
    lag_says_it(&url);
    for command in ["route pause r", "stream rebase --head --yes"] {
        refused(&url, command);
    }
}
