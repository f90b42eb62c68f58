//! Which relay processes can carry what.

use std::time::Duration;

use sqlx::Pool;
use uuid::Uuid;

use super::support::{LEASE, eventually};
use crate::Storage;

const SHORT: Duration = Duration::from_millis(300);

pub(super) async fn a_member_is_known_until_its_time_runs_out_or_it_withdraws<DB: Storage>(
    pool: Pool<DB>,
) {
    let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let announce = async |holder, routes: &[&str], ttl| {
        let routes: Vec<_> = routes.iter().map(|route| (*route).to_owned()).collect();
        DB::announce(&pool, holder, &routes, ttl).await.expect("announce")
    };
    let member = |route: &str, holder| (route.to_owned(), holder);
    assert_eq!(announce(two, &["a", "b"], SHORT).await, [member("a", two), member("b", two)]);
    let all = announce(one, &["b", "c"], LEASE).await;
    let expected = [member("a", two), member("b", one), member("b", two), member("c", one)];
    assert_eq!(all, expected, "in order of route and holder");
    // What one announces again counts anew, and only that.
    announce(two, &["b"], LEASE).await;
    let left = [member("b", one), member("b", two), member("c", one)];
    let gone = async || (announce(one, &[], LEASE).await == left).then_some(());
    eventually("what was not announced again runs out", gone).await;
    DB::withdraw(&pool, one).await.expect("withdraw");
    assert_eq!(announce(two, &[], LEASE).await, [member("b", two)]);
    DB::withdraw(&pool, one).await.expect("a second time changes nothing");
    DB::withdraw(&pool, two).await.expect("withdraw");
    assert!(announce(two, &[], LEASE).await.is_empty());
}
