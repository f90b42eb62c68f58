//! Customers and orders: a saga over four services, each with its own SQLite database, in one
//! process. Three orders are placed: one goes through, one is over the customer's limit, one cannot
//! be shipped.
//!
//! ```sh
//! cargo run -p syncline --example customers_orders --all-features
//! ```

mod participants;
mod saga;

use std::{error::Error, path::Path, sync::Arc, time::Duration};

use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use syncline::{
    Consumer, Relay, Route, Stream,
    consumer::ConsumerBuilder,
    message::SAGA_REPLY,
    saga::Sagas,
    transport::{Subscriber, in_process, in_process::InProcessPublisher},
};
use tokio_util::sync::CancellationToken;

use participants::{customers, shipping, warehouse};
use saga::Order;

type Anything<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Anything<()> {
    let folder = tempfile::tempdir()?;
    let stop = CancellationToken::new();

    // The orders' service runs the saga; the answers of the others come to its consumer.
    let orders = database(folder.path(), "orders", saga::TABLES).await?;
    let sagas = Sagas::builder("/orders", orders.clone()).saga(saga::place_order()?).build()?;
    let replies =
        Consumer::builder("orders", orders.clone()).batch_handler(SAGA_REPLY, sagas.replies());
    let to_orders = listen(replies, &stop).await?;

    // Each of the others applies commands, and sends its answers back.
    let credit = database(folder.path(), "customers", customers::TABLES).await?;
    let consumer = Consumer::builder("customers", credit.clone())
        .participant("credit.reserve", customers::Credit);
    let to_customers = listen(consumer, &stop).await?;
    let stock = database(folder.path(), "warehouse", warehouse::TABLES).await?;
    let consumer = Consumer::builder("warehouse", stock.clone())
        .participant("stock.reserve", warehouse::Stock);
    let to_warehouse = listen(consumer, &stop).await?;
    let shipments = database(folder.path(), "shipping", shipping::TABLES).await?;
    let consumer = Consumer::builder("shipping", shipments.clone())
        .participant("shipment.book", shipping::Booking)
        .participant("shipment.dispatch", shipping::Departure);
    let to_shipping = listen(consumer, &stop).await?;

    let mut relays = vec![
        Relay::builder("/orders", orders.clone())
            .stream(Stream::new("credit").topic("credit.*"))
            .stream(Stream::new("stock").topic("stock.*"))
            .stream(Stream::new("shipments").topic("shipment.*"))
            .route(Route::new("customers", "credit", to_customers))
            .route(Route::new("warehouse", "stock", to_warehouse))
            .route(Route::new("shipping", "shipments", to_shipping))
            .start()
            .await?,
    ];
    for (name, pool) in [("customers", &credit), ("warehouse", &stock), ("shipping", &shipments)] {
        let relay = Relay::builder(format!("/{name}"), pool.clone())
            .stream(Stream::new("replies").topic(SAGA_REPLY))
            .route(Route::new("orders", "replies", to_orders.clone()));
        relays.push(relay.start().await?);
    }
    let engine = sagas.run().await?;

    for (number, customer, pieces) in [("1", "ada", 2), ("2", "ben", 3), ("3-overseas", "ada", 1)] {
        let order = Order {
            number: number.to_owned(),
            customer: customer.to_owned(),
            item: "lamp".to_owned(),
            pieces,
            total: 1_500 * pieces,
        };
        println!("{customer} orders {pieces} lamps for {} (order {number})", order.total);
        // One transaction of the orders' service: the saga begins when it has committed.
        let mut tx = syncline::begin(&orders).await?;
        let started = sagas.start(&mut tx, "place-order", number, &order).await?;
        tx.commit().await?;
        started.committed();
        println!("  the order is {}", decided(&orders, number).await?);
        show(&credit, "  credit left", "SELECT name || ' ' || credit FROM customers").await?;
        show(&stock, "  lamps left", "SELECT pieces || '' FROM stock").await?;
        show(&shipments, "  shipments", "SELECT tracking || ' ' || status FROM shipments").await?;
    }

    engine.stop().await;
    for relay in relays {
        relay.stop().await;
    }
    stop.cancel();
    Ok(())
}

/// A service's database, with Syncline's tables and its own.
async fn database(folder: &Path, name: &str, tables: &'static str) -> Anything<SqlitePool> {
    let options = SqliteConnectOptions::new()
        .filename(folder.join(name))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let pool = SqlitePoolOptions::new().connect_with(options).await?;
    syncline::migrate(&pool).await?;
    sqlx::raw_sql(tables).execute(&pool).await?;
    Ok(pool)
}

/// Lets a consumer take in what is published in this process, and try again what has failed; returns
/// where to publish it.
async fn listen(
    consumer: ConsumerBuilder<sqlx::Sqlite>,
    stop: &CancellationToken,
) -> Anything<InProcessPublisher> {
    let (publisher, subscriber) = in_process::channel(16);
    let consumer = consumer.build()?;
    let consuming = consumer.start().await?;
    let taking_in = Box::new(subscriber).run(Arc::new(consumer), stop.clone());
    tokio::spawn(async move {
        drop(taking_in.await);
        consuming.stop().await;
    });
    Ok(publisher)
}

/// What has become of an order, once the saga has come so far.
async fn decided(orders: &SqlitePool, number: &str) -> Anything<String> {
    let status = "SELECT status FROM orders WHERE number = ? AND status <> 'pending'";
    for _ in 0..600 {
        let found = sqlx::query_scalar(status).bind(number).fetch_optional(orders).await?;
        if let Some(status) = found {
            return Ok(status);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(format!("order {number} is still pending after 30 s").into())
}

async fn show(pool: &SqlitePool, what: &str, sql: &'static str) -> Anything<()> {
    let lines: Vec<String> = sqlx::query_scalar(sql).fetch_all(pool).await?;
    println!("{what}: {}", if lines.is_empty() { "none".to_owned() } else { lines.join(", ") });
    Ok(())
}
