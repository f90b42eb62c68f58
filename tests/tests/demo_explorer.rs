//! The crash explorer over the demo's registration, with the services' own tables and handlers.

use demo_login::{PROVISION, ProvisionLogin};
use demo_register::{Registration, registration};
use sqlx::{Sqlite, SqlitePool};
use syncline::{
    HandlerError,
    saga::End,
    testing::saga::{Databases, Explorer, Mutant, Service},
};

/// What the client has asked for, as the request writes it before the saga starts.
const REQUESTED: &str = "INSERT INTO registrations
    (user_id, saga, name, email, display_name, password_hash)
    VALUES ('ann', '-', 'Ann', 'ann@example.org', 'Annie', 'a hash')";

fn explorer() -> Explorer {
    let input = Registration {
        user_id: "ann".to_owned(),
        name: "Ann".to_owned(),
        email: "ann@example.org".to_owned(),
        display_name: Some("Annie".to_owned()),
    };
    let made = |service: Service, tables: &[(&str, &str)]| {
        tables.iter().fold(service, |service, (_, sql)| service.tables(*sql))
    };
    let register = made(Service::new("register"), <Sqlite as demo_register::Store>::TABLES);
    let login = made(Service::new("login"), <Sqlite as demo_login::Store>::TABLES);
    let saga = registration().expect("a sound definition");
    let explorer = Explorer::new(saga, register.tables(REQUESTED), &input)
        .expect("the input is JSON")
        .participant(login.handles(PROVISION, ProvisionLogin))
        .check(|databases, end| Box::pin(whole_or_not_at_all(databases, end)));
    match std::env::var_os("SYNCLINE_TEST_FULL") {
        Some(_) => explorer.orders(2_000).chances(5_000),
        None => explorer.courses(3).orders(3).chances(25),
    }
}

async fn whole_or_not_at_all(databases: Databases, end: End) -> Result<(), HandlerError> {
    async fn count(pool: &SqlitePool, sql: &'static str) -> Result<i64, HandlerError> {
        Ok(sqlx::query_scalar(sql).fetch_one(pool).await?)
    }
    let (a, b) = (databases.of("register")?, databases.of("login")?);
    let found = [
        count(a, "SELECT count(*) FROM users").await?,
        count(a, "SELECT count(*) FROM users WHERE status = 'active'").await?,
        count(a, "SELECT count(*) FROM user_versions").await?,
        count(a, "SELECT count(*) FROM display_names").await?,
        count(a, "SELECT count(*) FROM mailbox").await?,
        count(a, "SELECT count(*) FROM registrations").await?,
        count(b, "SELECT count(*) FROM accounts WHERE password_hash = 'a hash'").await?,
        count(b, "SELECT count(*) FROM accounts").await?,
    ];
    // What was asked for is an account then; else the request stays, refused.
    let expected = match end {
        End::Completed => [1, 1, 1, 1, 1, 0, 1, 1],
        _ => [0, 0, 0, 0, 0, 1, 0, 0],
    };
    match found == expected {
        true => Ok(()),
        false => Err(format!(
            "users, active ones, versions, display names, mails, requests, logins with the hash \
             and logins are {found:?}, not {expected:?}"
        )
        .into()),
    }
}

#[tokio::test]
async fn a_user_is_registered_at_both_services_or_at_none_whatever_goes_wrong() {
    match explorer().explore().await {
        Ok(report) => println!("{report}"),
        Err(violation) => panic!("{violation}"),
    }
}

#[tokio::test]
async fn a_registration_without_a_barrier_is_caught() {
    let broken = explorer().mutant(Mutant::NoBarrier).courses(4).orders(1).chances(0);
    match broken.explore().await {
        Ok(report) => panic!("it is not caught: {report}"),
        Err(violation) => println!("{violation}"),
    }
}
