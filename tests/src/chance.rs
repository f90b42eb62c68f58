//! Choices that are the same for the same seed, so that a schedule that failed can be repeated.

/// Numbers that look drawn (the generator is splitmix64).
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// One for each seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`.
    ///
    /// # Panics
    /// When `limit` is nought.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % limit as u64).expect("it is below a usize")
    }
}
