//! Medians of paired runs.

/// Prints ours against the floor: the median of the ratios pair by pair, with their spread.
pub(crate) fn pairs(what: &str, unit: &str, ours: &[f64], floor: &[f64]) {
    let ratios: Vec<f64> = ours.iter().zip(floor).map(|(ours, floor)| ours / floor).collect();
    let (low, high) = (percentile(&ratios, 0), percentile(&ratios, 100));
    println!(
        "{what}: ours {:.0} {unit}, floor {:.0} {unit}, ratio {:.2} ({low:.2} to {high:.2}, {} pairs)",
        percentile(ours, 50),
        percentile(floor, 50),
        percentile(&ratios, 50),
        ratios.len()
    );
}

/// The `percent`-th percentile of `values`, by nearest rank.
pub(crate) fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or(f64::NAN)
}
