//! Medians of paired runs, and how sure they are.

/// The value at `share` (0 to 1) of the sorted `values`, by nearest rank; NaN of none.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// The middle value, or the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle), sorted.len() % 2) {
        (None, _) => f64::NAN,
        (Some(upper), 0) => (sorted[middle - 1] + upper) / 2.0,
        (Some(one), _) => *one,
    }
}

/// An interval that holds the true median with at least 95 %, whatever the distribution: the
/// order statistics that a sign test gives. None of fewer than six values.
pub(crate) fn median_interval(values: &[f64]) -> Option<(f64, f64)> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let n = sorted.len();
    // The chance that at most `k` of `n` fall below the median.
    let (mut term, mut tail, mut cut) = (0.5_f64.powi(i32::try_from(n).ok()?), 0.0, 0);
    for k in 0..n {
        tail += term;
        if tail > 0.025 {
            break;
        }
        cut = k + 1;
        term *= (n - k) as f64 / (k + 1) as f64;
    }
    (cut > 0).then(|| (sorted[cut - 1], sorted[n - cut]))
}

#[cfg(test)]
mod tests {
    use super::{median, median_interval, quantile};

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=1_000).rev().map(f64::from).collect();
        assert_eq!(quantile(&values, 0.5), 500.0);
        assert_eq!(quantile(&values, 0.999), 999.0);
        assert_eq!(quantile(&values, 1.0), 1_000.0);
        assert!(quantile(&[], 0.5).is_nan());
        assert_eq!((median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0, 2.0, 3.0])), (2.0, 2.5));
    }

    #[test]
    fn an_interval_of_the_median_is_that_of_the_sign_test() {
        let ten: Vec<f64> = (1..=10).map(f64::from).collect();
        // 2 * P(at most 1 of 10) = 0.021, and with 2 it would be 0.109.
        assert_eq!(median_interval(&ten), Some((2.0, 9.0)));
        assert_eq!(median_interval(&ten[..6]), Some((1.0, 6.0)));
        assert_eq!(median_interval(&ten[..5]), None);
    }
}
