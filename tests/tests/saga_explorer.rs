//! The crash explorer over the order's saga and one whose pivot is another service's, and broken
//! sagas that it must catch.

#[path = "../../framework/examples/customers_orders/participants.rs"]
#[allow(dead_code, unreachable_pub)]
mod participants;
#[path = "../../framework/examples/customers_orders/saga.rs"]
#[allow(dead_code, unreachable_pub)]
mod saga;

use async_trait::async_trait;
use serde_json::{Value, json};
use sqlx::{Sqlite, SqlitePool, Transaction};
use syncline::{
    Envelope, HandlerError, Message,
    saga::{End, Outcome, Saga, SagaBuilder, SagaHandler},
    testing::saga::{Databases, Explorer, Mutant, Service},
};

use participants::{customers, shipping, warehouse};

/// Long campaigns are made when they are asked for.
fn explorer(saga: Saga<Sqlite>, orchestrator: Service, input: &impl serde::Serialize) -> Explorer {
    let explorer = Explorer::new(saga, orchestrator, input).expect("the input is JSON");
    match std::env::var_os("SYNCLINE_TEST_FULL") {
        Some(_) => explorer.orders(2_000).chances(5_000),
        None => explorer.courses(5).orders(3).chances(25),
    }
}

fn place_order() -> Explorer {
    let order = saga::Order {
        number: "4711".to_owned(),
        customer: "ada".to_owned(),
        item: "lamp".to_owned(),
        pieces: 2,
        total: 5_000,
    };
    let orders = Service::new("orders").tables(saga::TABLES);
    explorer(saga::place_order().expect("a sound definition"), orders, &order)
        .participant(
            Service::new("customers")
                .tables(customers::TABLES)
                .handles("credit.reserve", customers::Credit),
        )
        .participant(
            Service::new("warehouse")
                .tables(warehouse::TABLES)
                .handles("stock.reserve", warehouse::Stock),
        )
        .participant(
            Service::new("shipping")
                .tables(shipping::TABLES)
                .handles("shipment.book", shipping::Booking)
                .handles("shipment.dispatch", shipping::Departure),
        )
        .check(|databases, end| Box::pin(order_is_whole_or_gone(databases, end)))
}

async fn number(pool: &SqlitePool, sql: &'static str) -> Result<i64, HandlerError> {
    Ok(sqlx::query_scalar(sql).fetch_one(pool).await?)
}

async fn order_is_whole_or_gone(databases: Databases, end: End) -> Result<(), HandlerError> {
    let credit = "SELECT credit FROM customers WHERE name = 'ada'";
    let credit = number(databases.of("customers")?, credit).await?;
    let stock = "SELECT pieces FROM stock WHERE item = 'lamp'";
    let stock = number(databases.of("warehouse")?, stock).await?;
    let sent = "SELECT count(*) FROM shipments WHERE status = 'sent'";
    let sent = number(databases.of("shipping")?, sent).await?;
    let approved = "SELECT count(*) FROM orders WHERE status = 'approved'";
    let approved = number(databases.of("orders")?, approved).await?;
    let open = "SELECT count(*) FROM orders WHERE status = 'pending'";
    let open = number(databases.of("orders")?, open).await?;
    let expected = match end {
        End::Completed => (5_000, 98, 1, 1, 0),
        _ => (10_000, 100, 0, 0, 0),
    };
    match (credit, stock, sent, approved, open) {
        found if found == expected => Ok(()),
        found => Err(format!("credit, stock, sent, approved, open are {found:?}").into()),
    }
}

/// Applies an entry into its service's book, and strikes it out.
struct Book;

#[async_trait]
impl SagaHandler<Sqlite> for Book {
    async fn apply(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        command: &Envelope,
    ) -> Result<Outcome<Value>, HandlerError> {
        let topic = &command.topic;
        let made = sqlx::query("INSERT INTO book (topic) VALUES (?)").bind(topic);
        Ok(Outcome::Done(json!(made.execute(&mut **tx).await?.last_insert_rowid())))
    }

    async fn compensate(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        _command: &Envelope,
        applied: &Value,
    ) -> Result<(), HandlerError> {
        let struck = sqlx::query("DELETE FROM book WHERE id = ?").bind(applied.as_i64());
        struck.execute(&mut **tx).await?;
        Ok(())
    }
}

const BOOK: &str = "CREATE TABLE book (id INTEGER PRIMARY KEY, topic TEXT NOT NULL)";

/// Two bookings one after the other, and a payment that decides, at another service.
fn trip() -> Explorer {
    let command = |topic: &'static str| move |_| Ok(Message::json(topic, &())?);
    let mut saga = SagaBuilder::<Sqlite, ()>::new("trip", 1);
    let book = |saga: &mut SagaBuilder<Sqlite, ()>, name: &str, topic: &'static str| {
        saga.remote::<_, i64>(name, (), move |_| Ok(Message::json(topic, &())?)).compensated().add()
    };
    book(&mut saga, "flight", "flight.book");
    book(&mut saga, "hotel", "hotel.book");
    saga.remote::<_, i64>("pay", (), command("bank.pay")).pivot().add();
    saga.remote::<_, i64>("tickets", (), command("flight.issue")).retriable().add();
    let saga = saga.build().expect("a sound definition");
    explorer(saga, Service::new("trips"), &())
        .participant(
            Service::new("air")
                .tables(BOOK)
                .handles("flight.book", Book)
                .handles("flight.issue", Book),
        )
        .participant(Service::new("hotels").tables(BOOK).handles("hotel.book", Book))
        .participant(Service::new("bank").tables(BOOK).handles("bank.pay", Book))
        .check(|databases, end| {
            Box::pin(async move {
                let expected = if end == End::Completed { (2, 1, 1) } else { (0, 0, 0) };
                let entries = "SELECT count(*) FROM book";
                let found = (
                    number(databases.of("air")?, entries).await?,
                    number(databases.of("hotels")?, entries).await?,
                    number(databases.of("bank")?, entries).await?,
                );
                match found == expected {
                    true => Ok(()),
                    false => Err(format!("the books have {found:?} entries").into()),
                }
            })
        })
}

#[tokio::test]
async fn an_order_is_placed_or_taken_back_whatever_goes_wrong() {
    match place_order().explore().await {
        Ok(report) => println!("{report}"),
        Err(violation) => panic!("{violation}"),
    }
}

#[tokio::test]
async fn a_trip_is_paid_and_booked_or_neither_whatever_goes_wrong() {
    match trip().explore().await {
        Ok(report) => println!("{report}"),
        Err(violation) => panic!("{violation}"),
    }
}

/// What the explorer says of a broken saga.
async fn caught(explorer: Explorer, mutant: Mutant) -> String {
    match explorer.mutant(mutant).courses(4).orders(1).chances(0).explore().await {
        Ok(report) => panic!("{mutant:?} is not caught: {report}"),
        Err(violation) => {
            println!("{mutant:?}: {violation}");
            violation.problem
        }
    }
}

#[tokio::test]
async fn a_reversed_order_of_compensations_is_caught() {
    let problem = caught(place_order(), Mutant::ReversedOrder).await;
    assert!(problem.contains("was compensated before"), "{problem}");
    let problem = caught(trip(), Mutant::ReversedOrder).await;
    assert!(problem.contains("was compensated before"), "{problem}");
}

#[tokio::test]
async fn a_reply_that_is_acknowledged_before_its_commit_is_caught() {
    let problem = caught(place_order(), Mutant::EarlyAck).await;
    assert!(problem.contains("acknowledged before it was stored"), "{problem}");
}

#[tokio::test]
async fn a_missing_barrier_is_caught() {
    let problem = caught(place_order(), Mutant::NoBarrier).await;
    assert!(problem.contains("had an effect after its end"), "{problem}");
}

#[tokio::test]
async fn timers_that_are_lost_with_their_process_are_caught() {
    let problem = caught(place_order(), Mutant::TimersLost).await;
    assert!(problem.contains("no timer is armed"), "{problem}");
}

#[tokio::test]
async fn compensations_that_are_skipped_after_one_failed_are_caught() {
    let problem = caught(place_order(), Mutant::SkipsAfterFailure).await;
    assert!(problem.contains("was not compensated"), "{problem}");
}

#[tokio::test]
async fn a_pivot_whose_fate_is_guessed_is_caught() {
    let problem = caught(trip(), Mutant::GuessesPivot).await;
    assert!(problem.contains("should have ended Completed"), "{problem}");
}
