//! Instances by what an operator has of them: the beginning of an id, or a business key.

use sqlx::Pool;
use uuid::Uuid;

use crate::{Result, Storage, storage::SagaSummary};

/// Instances that `name` may mean: the one that has it as its id; else those whose id begins with it, with
/// or without hyphens, and those that were started with it as their key. The newest come first, at most
/// `limit` of them.
///
/// # Errors
/// [`Error::Database`](crate::Error::Database).
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn example(pool: sqlx::SqlitePool) -> syncline::Result<()> {
/// for one in syncline::saga::operate::find(&pool, "request-17", 10).await? {
///     println!("{}: {}", one.id, one.status);
/// }
/// # Ok(()) }
/// ```
pub async fn find<DB: Storage>(
    pool: &Pool<DB>,
    name: &str,
    limit: u32,
) -> Result<Vec<SagaSummary>> {
    if let Ok(id) = Uuid::try_parse(name)
        && let Some(found) = DB::saga(pool, id).await?
    {
        return Ok(vec![found]);
    }
    let mut found = DB::sagas_of_key(pool, name, limit.into()).await?;
    if let Some((low, high)) = beginning(name) {
        let begin = DB::sagas_between(pool, low, high, limit.into()).await?;
        let known: Vec<Uuid> = found.iter().map(|saga| saga.id).collect();
        found.extend(begin.into_iter().filter(|saga| !known.contains(&saga.id)));
    }
    found.sort_by_key(|saga| std::cmp::Reverse(saga.id));
    found.truncate(limit as usize);
    Ok(found)
}

/// The lowest and the highest id that begin with `text`; none when no id does.
fn beginning(text: &str) -> Option<(Uuid, Uuid)> {
    let digits: String = text.chars().filter(|character| *character != '-').collect();
    if !(1..=32).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let filled = |with: &str| {
        let all = digits.clone() + &with.repeat(32 - digits.len());
        u128::from_str_radix(&all, 16).ok().map(Uuid::from_u128)
    };
    Some((filled("0")?, filled("f")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_begin_with_hexadecimal_digits_and_nothing_else() {
        let id = "01920bf1-5c8a-7e31-9d3f-1c1f5d0a7c11";
        let whole = Uuid::try_parse(id).expect("an id");
        assert_eq!(beginning(id), Some((whole, whole)));
        for end in 1..id.len() {
            let (low, high) = beginning(&id[..end]).expect("a beginning");
            assert!(low <= whole && whole <= high, "{end}");
        }
        let (low, high) = beginning("01920BF1-5").expect("a beginning");
        assert_eq!(low.to_string(), "01920bf1-5000-0000-0000-000000000000");
        assert_eq!(high.to_string(), "01920bf1-5fff-ffff-ffff-ffffffffffff");
        let long = "0".repeat(33);
        for none in ["", "-", "request-17", "+1", "0x1", "\u{ff11}", long.as_str()] {
            assert_eq!(beginning(none), None, "{none:?}");
        }
    }
}
