//! Sessions of other character sets, and sessions that do not commit as sessions do.

use sqlx::{AssertSqlSafe, Executor, MySql, MySqlPool, mysql::MySqlPoolOptions};
use syncline::{
    Consumer, Error, Message, begin, enqueue, handler_fn, migrate,
    saga::{Outcome, SagaBuilder, Sagas},
    storage::{Base, Inspect, Level},
};
use syncline_tests::{kit::Kit, servers::mariadb_database};

use crate::{log, migrated};

/// A pool whose connections run `statement` first.
async fn set(pool: &MySqlPool, statement: &'static str) -> MySqlPool {
    let options = MySqlPoolOptions::new().max_connections(4).after_connect(move |connection, _| {
        Box::pin(async move { connection.execute(statement).await.map(drop) })
    });
    options.connect_with((*pool.connect_options()).clone()).await.unwrap()
}

#[tokio::test]
async fn a_message_is_stored_as_it_is_whatever_the_sessions_characters_are() {
    for statement in [
        "SET NAMES utf8mb4",
        "SET NAMES latin1",
        "SET NAMES cp932",
        "SET character_set_connection = latin1",
        "SET character_set_connection = ucs2",
        "SET collation_connection = cp1251_general_ci",
    ] {
        let Some(plain) = migrated().await else { return };
        let pool = set(&plain, statement).await;
        let text = " é 李 🔑 ' \\";
        let message = |key: &str| {
            let mut message = Message::json("t", &text).unwrap().key(key);
            message.headers.insert("h".to_owned(), text.to_owned());
            message
        };
        let mut tx = pool.begin().await.unwrap();
        let first = enqueue(&mut tx, &message("李")).await.unwrap();
        let second = message("王").idempotency_key("王");
        let _ = enqueue(&mut tx, &second).await.unwrap();
        let _ = enqueue(&mut tx, &message("🔑").idempotency_key("李")).await.unwrap();
        assert!(enqueue(&mut tx, &second).await.unwrap().repeated, "{statement}");
        tx.commit().await.unwrap();
        let rows = log(&plain).await;
        assert_eq!(rows[0].id, first.id, "{statement}");
        let keys: Vec<_> = rows.iter().map(|row| row.key.clone().unwrap()).collect();
        assert_eq!(keys, ["李", "王", "🔑"], "{statement}");
        for row in rows {
            assert_eq!(row.decode::<String>().unwrap(), text, "{statement}");
            assert_eq!(row.headers["h"], text, "{statement}");
        }
    }
}

#[tokio::test]
async fn a_session_that_would_lose_texts_or_commits_is_refused_by_name() {
    for (statement, setting) in [
        ("SET NAMES latin1", "character_set_client"),
        ("SET NAMES utf8mb3", "character_set_client"),
        ("SET character_set_results = latin1", "character_set_results"),
        ("SET character_set_results = NULL", "character_set_results"),
        ("SET character_set_connection = latin1", "character_set_connection"),
        ("SET autocommit = 0", "autocommit"),
        ("SET completion_type = 'CHAIN'", "completion_type"),
        ("SET completion_type = 'RELEASE'", "completion_type"),
        ("SET sql_safe_updates = 1", "sql_safe_updates"),
    ] {
        let Some(plain) = migrated().await else { return };
        let pool = set(&plain, statement).await;
        let handler = handler_fn(|_, _| Box::pin(async { Ok(syncline::Verdict::Done) }));
        let consumer = Consumer::builder("c", pool.clone()).handler("*", handler).build().unwrap();
        let refused = consumer.start().await.map(drop).unwrap_err();
        let mut saga = SagaBuilder::<MySql, ()>::new("s", 1);
        let step = saga.local("step", (), |_, _| Box::pin(async { Ok(Outcome::Done(())) }));
        step.pivot().add();
        let sagas = Sagas::builder("/a", pool.clone()).saga(saga.build().unwrap()).build();
        let sagas = sagas.unwrap().run().await;
        for error in [refused, sagas.map(drop).unwrap_err()] {
            let Error::Unfit { setting: named, .. } = error else { panic!("{error}") };
            assert_eq!(named, setting);
        }
        let findings = MySql::findings(&pool).await.unwrap();
        let found = findings.iter().find(|finding| finding.check == "session").unwrap();
        assert_eq!(found.level, Level::Failure, "{statement}");
        assert!(found.found.contains(setting), "{}", found.found);
        // The relay has sessions of its own.
        let own = <MySql as Base>::relay_pool(&pool, 1, std::sync::Arc::new(|_| ()));
        MySql::check_session(&own).await.unwrap();
    }
}

#[tokio::test]
async fn migrations_run_in_any_session_and_a_database_that_cannot_take_them_is_refused_first() {
    let modes = [
        "SET sql_mode = 'ORACLE'",
        "SET sql_mode = 'ANSI,NO_BACKSLASH_ESCAPES,HIGH_NOT_PRECEDENCE,IGNORE_SPACE'",
        "SET sql_mode = '', NAMES latin1",
        "SET autocommit = 0, completion_type = 'CHAIN', sql_safe_updates = 1",
        "SET completion_type = 'RELEASE', time_zone = '+13:00'",
    ];
    for statement in modes {
        let Some(url) = mariadb_database().await else { return };
        let plain = MySql::connect(&url, 2).await.unwrap();
        let pool = set(&plain, statement).await;
        let done = migrate(&pool).await;
        done.unwrap_or_else(|error| panic!("{statement}: {error}"));
        let call = "CALL syncline_enqueue('t', '李', '\"é\"', NULL, @id)";
        plain.execute(call).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        let mut tx = begin(&plain).await.unwrap();
        let _ = enqueue(&mut tx, &Message::json("t", &"é").unwrap().key("李")).await.unwrap();
        tx.commit().await.unwrap();
        let rows = log(&plain).await;
        assert_eq!(rows.len(), 2, "{statement}");
        let applied = MySql::applied_migrations(&pool).await.unwrap();
        let age = chrono::Utc::now() - applied[0].at;
        assert!(age.num_minutes().abs() < 5, "{statement}: {age}");
    }
    for characters in ["ucs2", "utf16", "utf32"] {
        let url = mariadb_database().await.unwrap();
        let pool = MySql::connect(&url, 1).await.unwrap();
        let alter = format!("ALTER DATABASE CHARACTER SET {characters}");
        pool.execute(AssertSqlSafe(alter)).await.unwrap();
        let refused = migrate(&pool).await.unwrap_err();
        assert!(refused.to_string().contains("character_set_database"), "{refused}");
        assert!(MySql::applied_migrations(&pool).await.unwrap_or_default().is_empty());
    }
}
